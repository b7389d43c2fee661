"""Word alignments of published corpora, by hand; what positions are counted from; links to NULL, counted or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probe.__main__ import main
from probe.errors import DataError
from probe.gold.reading import Gold, gold_hash, read_gold, read_on_texts
from probe.maps.attention_map import AttentionMap
from probe.scoring.metrics import LinkCounts, MapMetric, with_nulls
from probe.text.axis import TokenAxis

XLWA = (
    "Viral cases rise .\tI casi virali crescono .\t0-2 1-0 1-1 2-3 3-4\t\t\t\n"
    "\n"
    "They are .\tSono .\t1-0 2-1\n"
)  # fmt: skip
WA = """<?xml version="1.0"?>
<file>
 <s id="pcedt-1">
  <english>Pierre & Vinken joins .</english>
  <czech>Pierre a Vinken přijde .</czech>
  <sure>1-1 3-3 4-4 5-5</sure>
  <possible>2-2</possible>
 </s>
 <s id="pcedt-2">
  <english>No</english>
  <czech>Ne</czech>
  <sure></sure>
  <possible>1-1</possible>
 </s>
</file>
"""
CLEAR = {
    "records": [
        {"source": ["n40001001001"], "target": ["40001001001", "40001001003"], "meta": {"id": "40001001.001"}},
        {"source": ["n40001001002"], "target": ["40001001002"]},
        {"source": ["400010020011"], "target": ["40001002001", "40001003001"]},
    ]
}
PUD = [{"7": ["3"], "9": ["9", "10"], "X": ["34", "5"], "33": ["X"]}, {"1": ["1"]}]


def read(tmp_path: Path, text: str, form: str, **options) -> dict[str, Gold]:
    path = tmp_path / f"links.{form}"
    path.write_text(text, encoding="utf-8")
    return read_on_texts(path, form, None, **options)


def links(golds: dict[str, Gold]) -> dict[str, tuple[list, list]]:
    return {name: (sorted(one.sure), sorted(one.possible - one.sure)) for name, one in golds.items()}


def test_xlwa_counts_from_zero_and_holds_its_words(tmp_path) -> None:
    found = read(tmp_path, XLWA, "xlwa")
    assert links(found) == {
        "links-1": ([(0, 2), (1, 0), (1, 1), (2, 3), (3, 4)], []), "links-3": ([(1, 0), (2, 1)], []),
    }  # fmt: skip
    assert found["links-3"].student_tokens == ("They", "are", ".") and found["links-3"].teacher_tokens == ("Sono", ".")


def test_wa_counts_from_one_with_two_levels_and_is_no_xml(tmp_path) -> None:
    found = read(tmp_path, WA, "wa")
    assert links(found) == {
        "pcedt-1": ([(0, 0), (2, 2), (3, 3), (4, 4)], [(1, 1)]), "pcedt-2": ([], [(0, 0)]),
    }  # fmt: skip
    assert found["pcedt-1"].student_tokens[1] == "&" and found["pcedt-1"].teacher_tokens[3] == "přijde"


def test_clear_has_a_verse_an_example_and_no_links_between_verses(tmp_path) -> None:
    found = read(tmp_path, json.dumps(CLEAR), "clear")
    assert links(found) == {"40001001": ([(0, 0), (0, 2), (1, 1)], []), "40001002": ([(0, 0)], [])}


def test_pud_numbers_its_sentences_and_leaves_out_words_without_partner(tmp_path) -> None:
    found = read(tmp_path, json.dumps(PUD), "pud")
    assert links(found) == {"1": ([(6, 2), (8, 8), (8, 9)], []), "2": ([(0, 0)], [])}


@pytest.mark.parametrize(
    ("form", "text", "base", "wanted"),
    [
        ("pharaoh", "a\t1-1 2p3\n", 1, ([(0, 0)], [(1, 2)])),
        ("pharaoh", "a\t0-0\n", 0, ([(0, 0)], [])),
        ("naacl", "a 0 1\na 1 0 P\n", 0, ([(0, 1)], [(1, 0)])),
        ("xlwa", "b c\td\t1-1 2-1\n", 1, ([(0, 0), (1, 0)], [])),
        ("wa", WA[: WA.index("</s>") + 5].replace("5-5", "0-0"), 0, ([(0, 0), (1, 1), (3, 3), (4, 4)], [(2, 2)])),
    ],
)  # fmt: skip
def test_the_base_can_be_said(form, text, base, wanted, tmp_path) -> None:
    (found,) = links(read(tmp_path, text, form, base=base)).values()
    assert found == wanted


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("xlwa", "a b\tc\n", "links.xlwa:1: wanted 'source words<TAB>target words<TAB>0-0 1-2 …', found 'a b"),
        ("xlwa", "a b\tc\t0-0\tmore\n", "links.xlwa:1: wanted"),
        ("xlwa", "a b\tc\t0-0 1-1\n", "links.xlwa:1: student 1, teacher 1 .* outside the 2 student and 1 teacher"),
        ("xlwa", "a\tb\t0-0\nc\td\t0\n", "links.xlwa:2: .*'0' is no link"),
        ("wa", WA.replace("1-1 3-3", "0-1"), "links.wa:6: .*counted from 1; '0-1' is no link"),
        ("wa", WA[: WA.index("</s>")], "links.wa:3: the sentence 'pcedt-1' has no end"),
        ("wa", WA.replace("<sure></sure>", ""), r"links.wa:9: wanted <s id=…> with .*found \['czech', 'english'"),
        ("clear", "[]", "links.clear: wanted a JSON object with the list 'records'"),
        ("clear", '{"records": [{"source": ["x"], "target": []}]}', "links.clear, record 0: wanted a word id BBCCC"),
        ("clear", '{"records": [{"source": ["010010010012"], "target": []}]}', "record 0: .*parts"),
        ("clear", '{"records": [{"source": "40001001001"}]}', "record 0: wanted lists of word ids"),
        ("pud", "{}", "links.pud: wanted a JSON list of objects"),
        ("pud", '[{"1": ["2-3"]}]', "links.pud, sentence 1: wanted the id of a word, counted from 1, .*found '2-3'"),
        ("pud", '[{"0": ["1"]}]', "sentence 1: wanted the id of a word"),
        ("pud", "[" * 100_000, "links.pud: broken JSON"),
    ],
)
def test_errors_name_the_place(form, text, message, tmp_path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, form)


# --- NULL, by hand: two student and three teacher words ---

NAACL = "a 1 1\na 0 2 S\na 2 0 P\n"


def test_links_to_null_are_refused_dropped_or_kept(tmp_path) -> None:
    path = tmp_path / "gold.naacl"
    path.write_text(NAACL)
    with pytest.raises(DataError, match=r"gold.naacl:2: position 0 \(NULL\) .*--nulls dropped, or counted"):
        read_gold(path)
    dropped, kept = (read_gold(path, nulls=how)["a"] for how in ("dropped", "counted"))
    assert dropped.possible == kept.possible == {(0, 0)} and not dropped.nulls
    assert kept.sure_nulls == {(-1, 1)} and kept.nulls == {(-1, 1), (1, -1)}
    assert gold_hash([dropped]) != gold_hash([kept])


def test_null_is_a_place_like_any_other_where_it_is_counted(tmp_path) -> None:
    """Gold: 0-0 sure, NULL-1 sure; NULL-2 (in no link) and 1-NULL possible. Found: 0-0, 1-1, so NULL-2."""
    path = tmp_path / "gold.naacl"
    path.write_text(NAACL)
    gold = read_gold(path, nulls="counted")["a"]
    assert with_nulls({(0, 0), (1, 1)}, gold, (2, 3)) == LinkCounts(
        predicted=3, sure=2, possible=4, hit_sure=1, hit_possible=2
    )
    axes = [TokenAxis(tuple("xyz"[:n]), tuple("xyz"[:n]), tuple(range(n)), tuple((k, k + 1) for k in range(n)))
            for n in (2, 3)]  # fmt: skip
    weights = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    amap = AttentionMap("a", "", "c", "m", "t2s", "none", "xyz", *axes, weights)
    score = MapMetric(nulls="counted").score(amap, gold)
    assert score.precision == pytest.approx(2 / 3) and score.recall == 1 / 2
    assert score.aer == pytest.approx(1 - (1 + 2) / (3 + 2))
    assert MapMetric().score(amap, gold).links == LinkCounts(2, 1, 1, 1, 1)  # without NULL: 0-0 alone


def test_the_signature_says_what_became_of_null() -> None:
    how = {"method": "m", "direction": "t2s", "normalisation": "none", "gold": "abc"}
    plain = MapMetric().signature(**how)
    assert "nulls" not in plain
    for nulls in ("dropped", "counted"):
        assert MapMetric(nulls=nulls).signature(**how) == plain.replace("|gold", f"|nulls:{nulls}|gold")


def test_convert_from_corpora(tmp_path, capsys) -> None:
    for name, text in (("it.tsv", XLWA), ("cz.wa", WA), ("mark.json", json.dumps(CLEAR)), ("gold.naacl", NAACL)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    out = tmp_path / "out.jsonl"
    convert = f"gold convert {tmp_path}"
    assert main(f"{convert}/it.tsv --from xlwa --to jsonl --out {out}".split()) == 0
    assert links(read_gold(out))["links-3".replace("links", "it")] == ([(1, 0), (2, 1)], [])
    assert main(f"{convert}/cz.wa --to jsonl --out {out}".split()) == 0
    assert read_gold(out)["pcedt-2"].possible == {(0, 0)}
    capsys.readouterr()
    assert main(f"{convert}/mark.json --from clear --to pharaoh --out {tmp_path}/o.pharaoh".split()) == 0
    assert "1 links between two verses are left out" in capsys.readouterr().out
    assert (tmp_path / "o.pharaoh").read_text() == "40001001\t0-0 0-2 1-1\n40001002\t0-0\n"
    assert main(f"{convert}/gold.naacl --to pharaoh --nulls dropped --out {tmp_path}/n.pharaoh".split()) == 0
    assert "2 links to NULL are left out" in capsys.readouterr().out
    assert main(f"{convert}/out.jsonl --base 1 --to pharaoh --out {tmp_path}/n.pharaoh".split()) == 2
