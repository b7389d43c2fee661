"""The field's own aligners, written again from their public behaviour: two sides of one text in, weighted links out."""

from probe.aligners.registry import ALIGNERS, MAP_ALIGNERS, Aligner, aligner_named

__all__ = ["ALIGNERS", "MAP_ALIGNERS", "Aligner", "aligner_named"]
