"""One text, two tokenizers: PairedTokens with byte spans of the response, and the display form of a token."""

from __future__ import annotations

from dataclasses import dataclass

from probe.attention_map import TokenAxis


@dataclass(frozen=True)
class TokenizedSide:
    """One side's token sequence for prompt + response + EOS.

    Attributes:
        ids: the whole sequence, [BOS?] + prompt + response + EOS.
        start: index p of the first response position: its input is ids[p], its target ids[p + 1].
        axis: the response targets (ids[start + 1:]), with display forms, pieces and byte spans.
    """

    ids: tuple[int, ...]
    start: int
    axis: TokenAxis

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input ids x_i of the response positions."""
        return self.ids[self.start : -1]

    @property
    def targets(self) -> tuple[int, ...]:
        """Target ids y_i of the response positions; EOS is the last."""
        return self.ids[self.start + 1 :]


@dataclass(frozen=True)
class PairedTokens:
    """Both sides' tokens of one example, over the same response text."""

    example_id: str
    category: str
    prompt: str
    text: str
    student: TokenizedSide
    teacher: TokenizedSide
    truncated: bool
