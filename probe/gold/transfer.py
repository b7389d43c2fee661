"""Gold moves from one pair of tokenizers to another: its links, read as statements on bytes, said of the new tokens.

The text is the same, so a byte is a byte on both sides. Let i, j be old tokens and a, b new ones (student, teacher).

- **Same tokens.** Where i and a stand at the same bytes, and j and b, the link moves as it is.
- **Possible.** An old link whose tokens share bytes says that these bytes belong together: a and b are possible where
  they share one of them. So a link that was removed by hand stays away. An old link whose tokens share no byte (made by
  hand) says that i as a whole belongs to j: every piece of i is possible with every piece of j.
- **Sure.** A sure link says that i and j begin the same thing: a and b are sure where a begins as i does, and b as j.
- **Sure within.** Where a and b begin together at a byte at which an old side has no beginning, the gold could not say
  it; they are sure where the old tokens that hold this byte are linked.
- EOS pairs by role. A token without bytes (a marker that was put in front) links by its beginning alone.

"Begin" is by the first byte, as in the span rule, or by the content, behind the white space in front (see
:func:`beginning_of`). What no rule reaches is counted, with the reason.

Laws: moving to the same tokens is the identity; moved sure links are possible; gold by the span rule moves into the new
pair's span rule, and is all of it where the old tokens of both sides cover every byte; moving to a refinement and back
is the identity where no tokens share a place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from probe.gold.places import Begin, Correspondence, Place, correspond, overlapping, places
from probe.gold.record import Gold, Link

CUT, EMPTY, UNCOVERED = "behind the cut", "a token without bytes", "no new token there"
REASONS = (CUT, EMPTY, UNCOVERED)


@dataclass(frozen=True)
class Moved:
    """New links, and what became of the old ones.

    ``exact``: old links both of whose tokens are the same ones; ``lost``: old links that no new one stands for, with
    one of ``REASONS``; ``weakened``: old sure links that are only possible now, for a new token begins before them;
    ``within``: new sure links at beginnings that the old tokens did not have.
    """

    sure: frozenset[Link]
    possible: frozenset[Link]
    exact: int
    lost: Mapping[Link, str]
    weakened: frozenset[Link]
    within: frozenset[Link]


def move_links(
    sure: frozenset[Link], possible: frozenset[Link], student: Correspondence, teacher: Correspondence
) -> Moved:
    """The links of old tokens as links of new ones, by the rules above. O(tokens + links and what they become)."""
    found: set[Link] = set()
    strong: set[Link] = set()
    lost: dict[Link, str] = {}
    weakened = set()
    for i, j in sorted(possible):
        heirs = set(_heirs(student, teacher, i, j))
        begun = {(a, b) for a in student.begun[i] for b in teacher.begun[j]} if (i, j) in sure else set()
        if not heirs | begun:
            lost[i, j] = _reason(student, teacher, i, j)
        elif (i, j) in sure and not begun:
            weakened.add((i, j))
        found |= heirs
        strong |= begun
    within = {link for link in _begun_within(student, teacher, possible) if link not in strong}
    exact = sum(student.same[i] is not None and teacher.same[j] is not None for i, j in possible)
    strong |= within
    return Moved(
        frozenset(strong), frozenset(found | strong), exact, lost, frozenset(weakened), frozenset(within)
    )  # fmt: skip


def _heirs(student: Correspondence, teacher: Correspondence, i: int, j: int) -> Iterator[Link]:
    """The new pairs that are possible because the old link (i, j) is."""
    old_i, old_j = student.old[i], teacher.old[j]
    if old_i.start == old_i.end or old_j.start == old_j.end:
        yield from ((a, b) for a in student.begun[i] for b in teacher.begun[j])
        return
    low, high = max(old_i.start, old_j.start), min(old_i.end, old_j.end)
    if low >= high:
        yield from ((a, b) for a in student.heirs[i] for b in teacher.heirs[j])
        return
    rows, columns = _holding(student, i, low, high), _holding(teacher, j, low, high)
    for row, column in overlapping([span for _, span in rows], [span for _, span in columns]):
        yield rows[row][0], columns[column][0]


def _holding(side: Correspondence, old: int, low: int, high: int) -> list[tuple[int, tuple[int, int]]]:
    """The heirs of an old token that hold bytes of [low, high), each with the bytes of it that they hold."""
    heirs = side.heirs[old]
    found = []
    for k in range(bisect_right(heirs, low, key=lambda new: side.new[new].end), len(heirs)):
        place = side.new[heirs[k]]
        if place.start >= high:
            break
        found.append((heirs[k], (max(place.start, low), min(place.end, high))))
    return found


def _reason(student: Correspondence, teacher: Correspondence, i: int, j: int) -> str:
    sides = ((student, student.old[i]), (teacher, teacher.old[j]))
    if any(place.start >= max((new.end for new in side.new), default=0) for side, place in sides):
        return CUT
    return EMPTY if any(place.start == place.end for _, place in sides) else UNCOVERED


def _begun_within(student: Correspondence, teacher: Correspondence, possible: frozenset[Link]) -> Iterator[Link]:
    """New pairs that begin together where an old side has no beginning, inside old tokens that are linked."""
    starts: dict[int, list[int]] = {}
    for b, place in enumerate(teacher.new):
        starts.setdefault(place.begin, []).append(b)
    told = [{k for news in side.begun for k in news} for side in (student, teacher)]
    holders = (_Holders(student), _Holders(teacher))
    for a, place in enumerate(student.new):
        for b in starts.get(place.begin, ()):
            if a in told[0] and b in told[1]:
                continue
            held = (holders[0].of(a, place.first), holders[1].of(b, teacher.new[b].first))
            if any((i, j) in possible for i in held[0] for j in held[1]):
                yield a, b


class _Holders:
    """The old tokens of one side that hold a byte, by bisection."""

    def __init__(self, side: Correspondence) -> None:
        self._old = side.old
        self._ends = [place.end for place in side.old]
        self._same = {a: i for i, a in enumerate(side.same) if a is not None}

    def of(self, new: int, byte: int) -> list[int]:
        """Old tokens that hold ``byte``; for a new token that is an old one with bytes, no other than that."""
        same = self._same.get(new)
        if same is not None and self._old[same].start < self._old[same].end:
            return [same] if self._old[same].start <= byte < self._old[same].end else []
        found = []
        for i in range(bisect_left(self._ends, byte + 1), len(self._old)):
            if self._old[i].start > byte:
                break
            if byte < self._old[i].end:
                found.append(i)
        return found


# --- one example ---


@dataclass(frozen=True)
class Texts:
    """One side's tokens of a text: display forms, and spans where they are known (``None`` where not)."""

    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int], ...] | None = None


def side_correspondence(text: str, old: Texts, new_text: str, new: Texts, begin: Begin) -> Correspondence | None:
    """Old and new tokens of one side; None where the old ones cannot be placed in their text."""
    there = places(new_text, new.tokens, new.spans, begin)
    if there is None:
        return None
    if old.tokens == new.tokens and text == new_text:
        here: tuple[Place, ...] | None = there
    else:
        here = places(text, old.tokens, old.spans, begin)
    return None if here is None else correspond(here, there)


def beginning_of(golds: Iterable[Gold]) -> tuple[Begin, int, int]:
    """How the gold itself lets tokens begin, and how many of its links say "start" and how many say "content".

    They are counted where the two differ: overlapping tokens that begin together by one of them alone, and are sure
    by that one. A draw is for "start", the span rule's.
    """
    votes: dict[Begin, int] = {"start": 0, "content": 0}
    for gold in golds:
        starts, contents = _begins(gold, "start"), _begins(gold, "content")
        if starts is None or contents is None:
            continue
        for i, j in gold.possible:
            start, content = (student[i] == teacher[j] for student, teacher in (starts, contents))
            if start != content:
                votes["start" if start == ((i, j) in gold.sure) else "content"] += 1
    return ("content" if votes["content"] > votes["start"] else "start"), votes["start"], votes["content"]


def _begins(gold: Gold, begin: Begin) -> tuple[list[int], list[int]] | None:
    """Where the tokens of both sides begin; None where they cannot be placed."""
    student, teacher = (places(gold.text, tokens, begin=begin) for tokens in (gold.student_tokens, gold.teacher_tokens))
    if not student or not teacher:
        return None
    return [place.begin for place in student], [place.begin for place in teacher]
