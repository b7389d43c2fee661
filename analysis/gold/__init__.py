"""The probe set and its manual alignments: texts, prefill, corrections, and the tools that join and show them."""
