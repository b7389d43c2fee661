"""Probe cross-model attention in cross-tokenizer distillation (DSKD-CMA, DSKD-CMA-GA)."""

__version__ = "0.1.0"
