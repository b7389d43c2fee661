"""NeMo RL's two alignments: dynamic programming over canonical tokens (before), character offsets (now)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probe.aligners.cells import Group, byte_ends, group_cells, has_eos
from probe.text.axis import TokenAxis
from probe.text.spans import Span, byte_offsets

MATCH, GAP, COMBINED, MOST = 3.0, -1.5, 1.5, 4  # NeMo's own: exact match, gap, a combination per token, its length
Cluster = tuple[int, int, list[int]]  # start, end, tokens


def nemo_offsets(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """NeMo RL of mid 2026 (``align_by_offsets_cluster``): clusters of tokens with one span, walked by their ends.

    A group must start at the same place on both sides; what starts where the other side has no start is dropped. Where
    one side runs out inside a group, the whole of it is dropped. Special tokens pair by role. A token's offsets are the
    characters that its bytes touch: tokens that cut a character overlap, and one of them may be dropped. NeMo repairs
    some of these by a table of broken byte sequences, and then checks the decoded texts: neither is here.
    """
    sides = [_clusters(_touched(text, axis)) for axis in (student, teacher)]
    groups = _strict_walk(*sides)
    if has_eos(student) and has_eos(teacher):
        groups.append(([len(student) - 1], [len(teacher) - 1]))
    return group_cells(groups, student, teacher)


def _touched(text: str, axis: TokenAxis) -> list[Span]:
    """The characters that each token's bytes touch, as byte intervals: what a tokenizer gives as raw offsets.

    An added space marker claims the first character behind it; the EOS has an empty span.
    """
    borders = np.array(byte_offsets(text))
    size, ends, found = len(axis) - has_eos(axis), byte_ends(text, axis), []
    for index, (start, end) in enumerate(axis.spans[:size]):
        if index and axis.spans[index - 1] == (start, end) and ends[index - 1] < ends[index]:
            start = ends[index - 1]
        low = int(np.searchsorted(borders, start, "right")) - 1
        high = min(int(np.searchsorted(borders, max(ends[index], start + 1))), len(text))
        found.append((int(borders[low]), int(borders[high])))
    return [*found, *axis.spans[size:]]


def _clusters(spans: Sequence[Span]) -> list[Cluster]:
    """Runs of tokens that share exactly one span; empty spans (the EOS) stand outside."""
    found: list[Cluster] = []
    for index, (start, end) in enumerate(spans):
        if start == end:
            continue
        if found and found[-1][:2] == (start, end):
            found[-1][2].append(index)
        else:
            found.append((start, end, [index]))
    return found


def _strict_walk(left: Sequence[Cluster], right: Sequence[Cluster]) -> list[Group]:
    groups: list[Group] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i][0] != right[j][0]:
            i, j = (i + 1, j) if left[i][0] < right[j][0] else (i, j + 1)
            continue
        first_i, first_j = i, j
        while left[i][1] != right[j][1]:
            i, j = (i + 1, j) if left[i][1] < right[j][1] else (i, j + 1)
            if i == len(left) or j == len(right):
                return groups
        i, j = i + 1, j + 1
        groups.append((_tokens(left[first_i:i]), _tokens(right[first_j:j])))
    return groups


def _tokens(clusters: Sequence[Cluster]) -> list[int]:
    return [index for _, _, tokens in clusters for index in tokens]


def nemo_dp(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """NeMo RL of early 2026 (``TokenAligner``): the best path of matches, gaps and combinations of up to four tokens.

        D(i, j) = max of  D(i−1, j−1) ± 3 (equal or not),   D(i−1, j) − 1.5,   D(i, j−1) − 1.5,
                          D(i−1, j−k) + 1.5 k where token i is the k tokens before j joined (k = 2…4), and the reverse

    Pairs whose texts differ are masked out of NeMo's loss, so they are dropped here. Of equal values the first in this
    order wins. NeMo also cuts long texts in pieces of 128 and at unique 3-grams, repairs pairs afterwards and has
    tables of broken byte sequences: none of that is here. Canonical tokens are our display forms, the EOS by role.
    """
    names = [_canonical(axis) for axis in (student, teacher)]
    return group_cells(_best_path(*names), student, teacher)


def _canonical(axis: TokenAxis) -> list[str]:
    return ["‹eos›" if has_eos(axis) and k == len(axis) - 1 else token for k, token in enumerate(axis.tokens)]


def _best_path(left: Sequence[str], right: Sequence[str]) -> list[Group]:
    """Matched groups of the best path; the value of each cell by anti-diagonals, its candidates in NeMo's order."""
    n, m = len(left), len(right)
    moves = [(1, 1), (1, 0), (0, 1), *((1, k) for k in range(2, MOST + 1)), *((k, 1) for k in range(2, MOST + 1))]
    gains = [_gain(left, right, rows, columns) for rows, columns in moves]
    value, move = np.full((n + 1, m + 1), -np.inf), np.zeros((n + 1, m + 1), dtype=int)
    value[:, 0], value[0, :] = GAP * np.arange(n + 1), GAP * np.arange(m + 1)
    for total in range(2, n + m + 1):
        i = np.arange(max(1, total - m), min(n, total - 1) + 1)
        j = total - i
        found = np.full((len(moves), len(i)), -np.inf)
        for number, ((rows, columns), gain) in enumerate(zip(moves, gains, strict=True)):
            fits = (i >= rows) & (j >= columns)
            at_i, at_j = i[fits], j[fits]
            found[number, fits] = value[at_i - rows, at_j - columns] + gain[at_i - 1, at_j - 1]
        move[i, j] = found.argmax(axis=0)
        value[i, j] = found.max(axis=0)
    groups: list[Group] = []
    i_at, j_at = n, m
    while i_at and j_at:
        rows, columns = moves[move[i_at, j_at]]
        if rows and columns and (rows + columns > 2 or left[i_at - 1] == right[j_at - 1]):
            groups.append((range(i_at - rows, i_at), range(j_at - columns, j_at)))
        i_at, j_at = i_at - rows, j_at - columns
    return groups[::-1]


def _gain(left: Sequence[str], right: Sequence[str], rows: int, columns: int) -> np.ndarray:
    """What a move that ends at tokens (i, j) adds [left, right]; −∞ where the joined tokens are not equal."""
    if rows + columns == 1:
        return np.full((len(left), len(right)), GAP)
    mine, theirs = _joined(left, rows), _joined(right, columns)
    known = {name: number for number, name in enumerate(dict.fromkeys([*mine, *theirs]))}
    numbers = [np.array([known[name] for name in side]) for side in (mine, theirs)]
    equal = numbers[0][:, None] == numbers[1][None, :]
    if rows + columns == 2:
        return np.where(equal, MATCH, -MATCH)
    return np.where(equal, COMBINED * max(rows, columns), -np.inf)


def _joined(names: Sequence[str], size: int) -> list[str]:
    """The ``size`` tokens that end at each token, joined; a name that no token has where there are not so many."""
    return ["".join(names[k - size + 1 : k + 1]) if k + 1 >= size else f"\0{size}" for k in range(len(names))]
