"""Laws of alignments and scores over random Unicode: brute-force oracles, bounds, symmetries, padding of text."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from probe import measures
from probe.alignment import check_gold, chunks, links_from_map, read_gold, span_links, write_gold
from probe.attention_map import AttentionMap
from probe.data import Example
from probe.errors import DataError
from probe.gold import Gold
from probe.metrics import MapMetric, link_counts, score_map
from probe.tables import safe_cell
from probe.ties import best_position_free, pair_classes
from probe.tokenization import PairTokenizer
from tests.aligned import FINGERPRINTS, axis, make_gold, make_map
from tests.strategies import law, texts
from tests.tokenizers_zoo import BY_NAME

LAW = law(60)
Span = tuple[int, int]
METHODS = ("argmax", "mutual", "itermax", "threshold")


# --- oracles: straight from the definitions, quadratic, without any of the code under test ---


def has_eos(spans: list[Span]) -> bool:
    return bool(spans) and spans[-1][0] == spans[-1][1]


def oracle_links(student: list[Span], teacher: list[Span]) -> tuple[set, set]:
    """Every pair of tokens, byte by byte."""
    sure, possible = set(), set()
    for (i, (a, b)), (j, (c, d)) in product(enumerate(student), enumerate(teacher)):
        roles = (i == len(student) - 1 and has_eos(student), j == len(teacher) - 1 and has_eos(teacher))
        if any(roles):
            same_start = overlap = all(roles)
        else:
            same_start, overlap = a == c, bool(set(range(a, b)) & set(range(c, d)))
        if same_start:
            sure.add((i, j))
        if same_start or overlap:
            possible.add((i, j))
    return sure, possible


def oracle_chunks(student: list[Span], teacher: list[Span]) -> list[tuple[list[int], list[int]]]:
    """Cut the text at every byte that no token of either side strictly contains; group the tokens by their cut."""
    sides = [spans[: len(spans) - has_eos(spans)] for spans in (student, teacher)]
    every = [span for side in sides for span in side]
    size = max((end for _, end in every), default=0)
    cuts = [byte for byte in range(size + 1) if not any(start < byte < end for start, end in every)]
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for which, side in enumerate(sides):
        for index, (start, _) in enumerate(side):
            groups.setdefault(max(cut for cut in cuts if cut <= start), ([], []))[which].append(index)
    found = [groups[cut] for cut in sorted(groups)]
    last = ([len(student) - 1] if has_eos(student) else [], [len(teacher) - 1] if has_eos(teacher) else [])
    return found + [last] if any(last) else found


# --- strategies ---


# Strategies that composites draw from are made once: making and checking them costs as much as drawing.
KINDS = st.sampled_from(("one", "one", "one", "two", "gap", "empty"))
TEXTS, DIRECTIONS, SEEDS, SIZES = (
    texts(max_parts=4),
    st.sampled_from(("t2s", "s2t")),
    st.integers(0, 2**32 - 1),
    st.integers(0, 20),
)
SHAPES = st.tuples(st.sampled_from((1, 8, 40)), st.sampled_from((1, 12)), st.sampled_from((0, 1e-9, 100)))
PLACES = st.lists(st.integers(0, 2**16), max_size=8)  # anywhere in a text or span, after division by its size
LINKS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 2**16), st.booleans()), max_size=12)


@st.composite
def spans_of(draw: st.DrawFn, size: int) -> list[Span]:
    """A random partition of ``size`` bytes, some pieces dropped, some doubled (shared), some empty; EOS or not."""
    cuts = sorted({0, size, *(place % (size + 1) for place in draw(PLACES))})
    spans: list[Span] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        kinds = {"one": [(start, end)], "two": [(start, end)] * 2, "gap": [], "empty": [(start, start), (start, end)]}
        spans += kinds[draw(KINDS)]
    return [*spans, (size, size)] if draw(st.booleans()) else spans


@st.composite
def span_pairs(draw: st.DrawFn) -> tuple[list[Span], list[Span]]:
    size = draw(SIZES)
    return draw(spans_of(size)), draw(spans_of(size))


def pieces_at(text: str, places: list[int]) -> list[str]:
    cuts = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]


@st.composite
def maps(draw: st.DrawFn, *, direction: str | None = None) -> AttentionMap:
    """A map of a random text cut at random; weights random, all tied, one-hot or full of ties."""
    text = draw(TEXTS)
    student, teacher = (axis(text, pieces_at(text, draw(PLACES))) for _ in range(2))
    way = direction or draw(DIRECTIONS)
    power, digits, added = draw(SHAPES)
    raw = np.random.default_rng(draw(SEEDS)).random((len(student), len(teacher))) ** power
    raw = np.round(raw, digits) + added
    sums = raw.sum(axis=1 if way == "t2s" else 0, keepdims=True)
    weights = np.where(sums > 0, raw / np.where(sums > 0, sums, 1), 1 / raw.shape[1 if way == "t2s" else 0])
    return make_map(student, teacher, weights, text=text, direction=way)


@st.composite
def golds(draw: st.DrawFn, amap: AttentionMap) -> Gold:
    """Gold with random links on the map's tokens."""
    n, m = len(amap.student), len(amap.teacher)
    links = {(i % n, j % m): sure for i, j, sure in draw(LINKS)}
    return replace(make_gold(amap), sure=frozenset(one for one in links if links[one]), possible=frozenset(links))


# --- spans ---


@LAW
@given(span_pairs())
def test_span_rule_equals_the_oracle(pair):
    assert span_links(*pair) == oracle_links(*pair)


@LAW
@given(span_pairs())
def test_chunks_equal_the_oracle(pair):
    assert [(list(c.student), list(c.teacher)) for c in chunks(*pair)] == oracle_chunks(*pair)


@LAW
@given(span_pairs())
def test_span_rule_is_symmetric(pair):
    one, two = span_links(*pair), span_links(*reversed(pair))
    assert one == tuple({(i, j) for j, i in part} for part in two)


@LAW
@given(span_pairs(), st.integers(1, 1000))
def test_spans_may_be_shifted_together(pair, shift):
    moved = [[(start + shift, end + shift) for start, end in spans] for spans in pair]
    assert span_links(*moved) == span_links(*pair)
    assert chunks(*moved) == chunks(*pair)


@LAW
@given(span_pairs())
def test_chunks_partition_both_sides_and_hold_every_link(pair):
    found = chunks(*pair)
    assert [i for c in found for i in c.student] == list(range(len(pair[0])))
    assert [j for c in found for j in c.teacher] == list(range(len(pair[1])))
    sure, possible = span_links(*pair)
    assert sure <= possible <= {link for c in found for link in product(c.student, c.teacher)}


@LAW
@given(span_pairs())
def test_a_tokenization_against_itself_has_no_split_chunk(pair):
    spans = pair[0]
    assume(len(set(spans)) == len(spans))  # no shared characters
    assert {(i, i) for i in range(len(spans))} <= span_links(spans, spans)[0]
    assert all(len(c.student) == len(c.teacher) for c in chunks(spans, spans))


@cache
def pair_tokenizer(student: str, teacher: str) -> PairTokenizer:
    return PairTokenizer(BY_NAME[student].tokenizer, BY_NAME[teacher].tokenizer)


@pytest.mark.parametrize("student", sorted(BY_NAME))
@law(30, cases=len(BY_NAME))
@given(st.sampled_from(sorted(BY_NAME)), texts(max_parts=3), texts(min_parts=1, max_parts=6).filter(bool))
def test_tokenizers_against_the_oracles(student, teacher, prompt, output):
    pair = pair_tokenizer(student, teacher).encode([Example("x", prompt, (output,))])[0]
    spans = list(pair.student.axis.spans), list(pair.teacher.axis.spans)
    assert span_links(*spans) == oracle_links(*spans)
    assert [(list(c.student), list(c.teacher)) for c in chunks(*spans)] == oracle_chunks(*spans)
    assert (len(spans[0]) - 1, len(spans[1]) - 1) in span_links(*spans)[0]  # EOS with EOS


# --- links from a map ---


@LAW
@given(maps(), st.sampled_from(METHODS))
def test_links_stay_inside(amap, method):
    found = links_from_map(amap.weights, method, direction=amap.direction)
    assert all(0 <= i < len(amap.student) and 0 <= j < len(amap.teacher) for i, j in found)


@LAW
@given(maps())
def test_argmax_gives_each_row_one_link(amap):
    found = links_from_map(amap.weights, direction=amap.direction)
    side, rows = (0, amap.student) if amap.direction == "t2s" else (1, amap.teacher)
    assert sorted(link[side] for link in found) == list(range(len(rows)))


@LAW
@given(maps())
def test_mutual_links_are_in_both_argmaxes_and_in_itermax(amap):
    mutual = links_from_map(amap.weights, "mutual")
    assert mutual <= links_from_map(amap.weights) & links_from_map(amap.weights, direction="s2t")
    assert mutual <= links_from_map(amap.weights, "itermax")


@LAW
@given(maps(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_gives_fewer_links(amap, one, two):
    low, high = sorted((one, two))
    loose, strict = (links_from_map(amap.weights, "threshold", threshold=t) for t in (low, high))
    both = links_from_map(amap.weights, "both-directions", other=amap.weights, threshold=low)
    assert strict <= loose == both


# --- scores ---


@LAW
@given(st.data())
def test_scores_are_in_range(data):
    amap = data.draw(maps())
    score = score_map(amap, data.draw(golds(amap)))
    unit = (
        *("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "reciprocal_rank", "chunk_accuracy"),
        *("entropy", "ceiling_sure", "ceiling_possible", "average_precision", "coverage", "collapse", "diagonality"),
        *("precision", "recall", "f1", "aer"),
    )
    for name in unit:
        value = getattr(score, name)
        assert np.isnan(value) or -1e-6 <= value <= 1 + 1e-6, (name, value)
    assert score.n_tied <= score.n_positions <= score.n_rows >= score.n_sure
    assert abs(np.nan_to_num(score.offset)) < max(amap.weights.shape)


@LAW
@given(st.data())
def test_sure_never_beats_possible_on_the_same_positions(data):
    amap = data.draw(maps())
    rows = score_map(amap, data.draw(golds(amap))).positions
    both = ~np.isnan(rows.top1_sure)
    assert (rows.top1_sure[both] <= rows.top1_possible[both] + 1e-9).all()
    assert (rows.gold_mass_sure[both] <= rows.gold_mass_possible[both] + 1e-9).all()
    assert ((rows.offset == 0) >= (rows.top1_possible == 1)).all()


@LAW
@given(st.data())
def test_turning_map_and_gold_changes_nothing(data):
    amap = data.draw(maps(direction="t2s"))
    gold = data.draw(golds(amap))
    turned = make_map(amap.teacher, amap.student, amap.weights.T, text=amap.text, direction="s2t")
    flipped = replace(
        gold,
        student_tokens=gold.teacher_tokens,
        teacher_tokens=gold.student_tokens,
        sure=frozenset((j, i) for i, j in gold.sure),
        possible=frozenset((j, i) for i, j in gold.possible),
    )
    one, two = score_map(amap, gold), score_map(turned, flipped)
    for name in (
        "top1_possible",
        "gold_mass_sure",
        "reciprocal_rank",
        "chunk_accuracy",
        "offset",
        "entropy",
        "f1",
        "aer",
    ):
        assert getattr(one, name) == pytest.approx(getattr(two, name), nan_ok=True), name


@LAW
@given(st.data())
def test_reversing_rows_and_columns_changes_no_hit(data):
    amap = data.draw(maps())
    gold = np.zeros(amap.weights.shape, dtype=bool)
    gold[tuple(np.array(sorted({(0, 0), *data.draw(golds(amap)).possible})).T)] = True
    weights = amap.weights.astype(np.float64)
    for measure in (
        lambda w, g: np.sort((measures.heaviest_shares(w) * g).sum(axis=1)),
        lambda w, g: np.sort(measures.reciprocal_rank(w, g)),
        measures.average_precision,
        lambda w, g: measures.collapse(w),
        lambda w, g: measures.diagonality(w + 1e-9),
    ):
        assert measure(weights, gold) == pytest.approx(measure(weights[::-1, ::-1], gold[::-1, ::-1]))


@LAW
@given(maps())
def test_gold_as_a_map_is_perfect(amap):
    gold = make_gold(amap)
    cells = np.zeros(amap.weights.shape)
    cells[tuple(np.array(sorted(gold.possible)).T)] = 1
    dim = 1 if amap.direction == "t2s" else 0
    assume(cells.sum(axis=dim).all())
    score = score_map(replace(amap, weights=(cells / cells.sum(axis=dim, keepdims=True)).astype(np.float32)), gold)
    perfect = (score.top1_possible, score.gold_mass_possible, score.chunk_accuracy, score.average_precision)
    assert perfect == pytest.approx((1, 1, 1, 1))
    assert score.offset == 0 and score.precision == 1


@LAW
@given(maps(), st.floats(1e-3, 1e3))
def test_measures_that_rank_ignore_scale(amap, scale):
    weights = amap.weights.astype(np.float64) + 1e-9
    gold = weights > np.median(weights)
    assume(gold.any())
    assert measures.row_entropy(weights * scale) == pytest.approx(measures.row_entropy(weights), abs=1e-9)
    assert measures.diagonality(weights * scale) == pytest.approx(measures.diagonality(weights), abs=1e-9)


@LAW
@given(st.data())
def test_average_precision_of_distinct_weights_is_the_mean_precision_at_hits(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    weights = rng.permutation(12).reshape(3, 4) / 66
    gold = rng.random((3, 4)) < 0.4
    assume(gold.any())
    order = np.argsort(-weights, axis=None)
    hits = gold.ravel()[order]
    by_hand = np.mean([hits[: k + 1].mean() for k in np.flatnonzero(hits)])
    assert measures.average_precision(weights, gold) == pytest.approx(by_hand)


@LAW
@given(st.data())
def test_position_free_maps_never_beat_the_ceiling(data):
    amap = data.draw(maps())
    gold = data.draw(golds(amap))
    sides = (amap.student, amap.teacher) if amap.direction == "t2s" else (amap.teacher, amap.student)
    rows, columns = (pair_classes(side.ids) for side in sides)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    weights = rng.random((rows.max() + 1, columns.max() + 1))[rows][:, columns]
    weights = weights / weights.sum(axis=1, keepdims=True)
    weights = weights if amap.direction == "t2s" else weights.T
    score = score_map(replace(amap, weights=weights.astype(np.float32)), gold)
    for degree, kind in product(("sure", "possible"), ("top1", "gold_mass")):
        value, ceiling = getattr(score, f"{kind}_{degree}"), getattr(score, f"ceiling_{degree}")
        assert np.isnan(value) or value <= ceiling + 1e-6


@LAW
@given(st.data())
def test_the_ceiling_is_one_where_nothing_is_tied(data):
    amap = data.draw(maps())
    rows = score_map(amap, data.draw(golds(amap))).positions
    free = ~rows.tied & ~np.isnan(rows.ceiling_possible)
    assert (rows.ceiling_possible[free] == 1).all()


@LAW
@given(st.lists(st.integers(0, 3), max_size=12))
def test_pair_classes_group_equal_pairs(ids):
    classes = pair_classes(ids)
    inputs = [None, *ids[:-1]]
    for i, j in product(range(len(ids)), repeat=2):
        assert (classes[i] == classes[j]) == ((inputs[i], ids[i]) == (inputs[j], ids[j]))


@LAW
@given(st.data())
def test_merging_classes_never_raises_the_ceiling(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    gold = rng.random((5, 6)) < 0.3
    apart = best_position_free(gold, np.arange(5), np.arange(6)).credit.sum()
    merged = best_position_free(gold, np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 3, 3])).credit.sum()
    assert merged <= apart == gold.any(axis=1).sum()


@LAW
@given(st.data())
def test_link_scores_are_consistent(data):
    amap = data.draw(maps())
    gold = data.draw(golds(amap))
    for method in METHODS:
        score = MapMetric(links=method, threshold=0.2).score(amap, gold)
        found = links_from_map(amap.weights, method, direction=amap.direction, threshold=0.2)
        assert score.links == link_counts(found, gold.sure, gold.possible)
        assert min(score.precision, score.recall) - 1e-9 <= score.f1 <= max(score.precision, score.recall) + 1e-9
        if gold.sure == gold.possible and found:
            assert score.aer == pytest.approx(1 - score.f1)  # with one kind of link AER is 1 - F1


# --- gold files and cells ---


@LAW
@given(st.data())
def test_gold_survives_every_format(tmp_path_factory, data):
    amap = data.draw(maps())
    gold = data.draw(golds(amap))
    folder = tmp_path_factory.getbasetemp()
    write_gold(folder / "g.jsonl", [gold])
    assert read_gold(folder / "g.jsonl") == {gold.id: gold}
    assume(gold.possible)
    for suffix in ("pharaoh", "naacl"):
        write_gold(folder / f"g.{suffix}", [gold])
        back = read_gold(folder / f"g.{suffix}")[gold.id]
        assert (back.sure, back.possible) == (gold.sure, gold.possible)


@LAW
@given(st.data())
def test_gold_with_another_token_is_refused(data):
    amap = data.draw(maps())
    gold = make_gold(amap)
    check_gold(gold, amap.student, amap.teacher, FINGERPRINTS, text=amap.text)
    at = data.draw(st.integers(0, len(gold.teacher_tokens) - 1))
    changed = (*gold.teacher_tokens[:at], "another", *gold.teacher_tokens[at + 1 :])
    with pytest.raises(DataError, match=f"first difference at index {at}: wanted 'another'"):
        check_gold(replace(gold, teacher_tokens=changed), amap.student, amap.teacher, FINGERPRINTS, text=amap.text)


@LAW
@given(st.text(st.characters(), max_size=20))
def test_no_cell_is_a_formula(value):
    cell = safe_cell(value)
    cell.encode("utf-8")
    assert "\x00" not in cell
    assert cell.lstrip()[:1] not in tuple("=+-@＝＋－＠") or cell == ""
