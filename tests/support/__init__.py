"""What several tests use: made-up models, tokenizers, texts, pages and runs. Nothing here is a test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the checkout
