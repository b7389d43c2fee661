"""Gold of many examples onto the tokens of another pair, with a count of what could not move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from probe.errors import DataError
from probe.gold.places import EOS, Begin
from probe.gold.reading import check_same_tokens, first_difference
from probe.gold.record import Gold
from probe.gold.sources import TextTokens, TokenSource
from probe.gold.transfer import Moved, Texts, move_links, side_correspondence

NO_TEXT = "its id is not among the new texts"
LONGER = "its text was cut where the new one goes on"
NO_PLACE = "its tokens do not spell the text"


@dataclass(frozen=True)
class ExampleMove:
    """What became of one example: its new gold, or None and ``left_out``, the reason; and counts of its old links."""

    id: str
    links: int
    sure: int
    gold: Gold | None = None
    left_out: str = ""
    exact: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)  # reason -> links
    weakened: int = 0
    within: int = 0
    unlinked: tuple[int, int] = (0, 0)  # new student and teacher tokens without a link

    @property
    def losses(self) -> int:
        """Links that did not move, or moved as possible where they were sure."""
        return (self.links if self.gold is None else sum(self.lost.values())) + self.weakened


def move_gold(
    golds: Mapping[str, Gold], new: TokenSource, begin: Begin, old: TokenSource | None = None
) -> list[ExampleMove]:
    """Move every example; ``old`` gives spans of the gold's own tokens where their display forms cannot.

    An example that cannot move as a whole is left out, with the reason: no text of its id, a text that was cut for the
    gold and goes on in the new tokens, tokens that cannot be placed.

    Raises:
        DataError: an example on another text than the new tokens, or on other tokens than ``old`` has, naming the first
            difference; none that could move.
    """
    moves = [_move(gold, new, begin, old) for gold in golds.values()]
    if all(move.gold is None for move in moves):
        reasons = Counter(move.left_out for move in moves)
        said = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        raise DataError(f"none of {len(moves)} examples could move: {said}. {_advice(reasons, new)}")
    return moves


def _advice(reasons: Counter[str], new: TokenSource) -> str:
    if NO_PLACE in reasons:
        return "Say where the old tokens lie: --old-maps, or --old-student and --old-teacher."
    return f"{new.name} has ids like {next(iter(new.texts), 'none')!r}; give the texts that the gold was made on."


def _move(gold: Gold, new: TokenSource, begin: Begin, old: TokenSource | None) -> ExampleMove:
    move = ExampleMove(gold.id, len(gold.possible), len(gold.sure))
    if gold.id not in new.texts:
        return replace(move, left_out=NO_TEXT)
    if not (gold.student_tokens and gold.teacher_tokens):
        raise DataError(
            f"gold {gold.id!r} has no tokens that could be placed. Convert it to JSONL with its texts first."
        )
    text = new.texts[gold.id]
    if not _same_beginning(gold, text, new.name):
        return replace(move, left_out=LONGER)
    spans = _old_spans(gold, old)
    pairs = [
        side_correspondence(gold.text, Texts(tokens, known), text.text, Texts(axis.tokens, axis.spans), begin)
        for tokens, known, axis in (
            (gold.student_tokens, spans[0], text.student), (gold.teacher_tokens, spans[1], text.teacher),
        )
    ]  # fmt: skip
    if pairs[0] is None or pairs[1] is None:
        return replace(move, left_out=NO_PLACE)
    return _described(move, gold, text, new, begin, move_links(gold.sure, gold.possible, pairs[0], pairs[1]))


def _same_beginning(gold: Gold, text: TextTokens, place: str) -> bool:
    """Whether the gold's text holds the new one; False where the gold's was cut. Raises DataError for another text."""
    if gold.text == text.text or (text.truncated and gold.text.startswith(text.text)):
        return True
    if text.text.startswith(gold.text) and gold.student_tokens[-1] != EOS and gold.teacher_tokens[-1] != EOS:
        return False
    at = first_difference(gold.text, text.text)
    raise DataError(
        f"gold {gold.id!r} is for another text than {place} has: first difference at character {at}: wanted "
        f"{gold.text[at : at + 20]!r}, found {text.text[at : at + 20]!r}. Links move between tokens of one text."
    )


def _old_spans(gold: Gold, old: TokenSource | None) -> tuple[tuple[tuple[int, int], ...] | None, ...]:
    if old is None or gold.id not in old.texts:
        return None, None
    text = old.texts[gold.id]
    known = Gold(
        gold.id, text.text, text.student.tokens, text.teacher.tokens, *old.fingerprints, frozenset(), frozenset()
    )
    check_same_tokens(gold, known, old.name)
    return text.student.spans, text.teacher.spans


def _described(
    move: ExampleMove, gold: Gold, text: TextTokens, new: TokenSource, begin: Begin, moved: Moved
) -> ExampleMove:
    """The move with its new gold; gold that is on these tokens already stays as it is, its note too."""
    tokens = (text.student.tokens, text.teacher.tokens)
    made = Gold(gold.id, text.text, *tokens, *new.fingerprints, moved.sure, moved.possible, gold.annotator, gold.note)
    if made != gold:
        how = f"moved by bytes from tokenizers {gold.student_tokenizer or '?'}, {gold.teacher_tokenizer or '?'}"
        lost = f"{len(moved.lost)} links lost, {len(moved.weakened)} weakened"
        note = f"{how}, beginnings by {begin}: {lost}, {len(moved.within)} sure within"
        made = replace(made, note="; ".join(filter(None, (gold.note, note))))
    linked = [{link[side] for link in moved.possible} for side in (0, 1)]
    return replace(
        move,
        gold=made,
        exact=moved.exact,
        lost=dict(Counter(moved.lost.values())),
        weakened=len(moved.weakened),
        within=len(moved.within),
        unlinked=(len(text.student) - len(linked[0]), len(text.teacher) - len(linked[1])),
    )
