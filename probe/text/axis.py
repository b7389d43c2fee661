"""The axis of a map: the response targets of one side, in order, with their pieces, ids and byte spans."""

from __future__ import annotations

from dataclasses import dataclass

from probe.errors import DataError


@dataclass(frozen=True)
class TokenAxis:
    """The response targets of one side, in order; EOS is the last.

    Attributes:
        tokens: display forms (readable, unambiguous).
        pieces: raw vocabulary pieces.
        ids: target ids.
        spans: half-open byte intervals [start, end) of the response text; EOS is [len, len).

    Raises:
        DataError: the four tuples do not have one length.
    """

    tokens: tuple[str, ...]
    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        lengths = (len(self.tokens), len(self.pieces), len(self.ids), len(self.spans))
        if len(set(lengths)) != 1:
            raise DataError(
                "an axis needs as many tokens as pieces, ids and spans; "
                "got {} tokens, {} pieces, {} ids, {} spans.".format(*lengths)
            )

    def __len__(self) -> int:
        return len(self.ids)
