"""Hypothesis draws the same examples at every run, so that the gate says the same thing twice.

Search further with `PROBE_LAWS=600 HYPOTHESIS_PROFILE=search pytest tests/test_tokenization_properties.py`.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
