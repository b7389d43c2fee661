"""Two tokenizers before training: counts by hand, the verdict's words, the page, the command, every way to name one."""

from __future__ import annotations

import csv
import html.parser
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.__main__ import main
from probe.aligners.making import CutText
from probe.errors import DamagedError, DataError
from probe.pairing.counts import (
    RELATIONS,
    aligner_frame,
    changed_texts,
    chunk_frame,
    longest_chunk,
    shares,
    tied_shares,
)
from probe.pairing.facts import TokenizerFacts, short_name, text_tokens
from probe.pairing.kinds import KINDS, kind_of
from probe.pairing.page import drawn_text, hardest, render_pair
from probe.pairing.report import pair_frames, pair_report
from probe.pairing.sources import load_any_tokenizer
from probe.pairing.verdict import in_words
from probe.text.examples import read_examples
from tests.support import ROOT
from tests.support.aligned import axis
from tests.support.payloads import PAYLOADS
from tests.support.strategies import law
from tests.support.tiny import byte_bpe, sentencepiece

TEXT = "unhappy cats, 12"
CUT = CutText(
    "one", "prose", TEXT, axis(TEXT, ["un", "happy", " cats", ",", " ", "12"]),
    axis(TEXT, ["unhappy", " cat", "s", ",", " 12"]),
)  # fmt: skip
FACTS = TokenizerFacts("a", "1" * 16, 100, {"eos_token": "</s>"}, False, "")
DISPLAYS = (["un", "␣cats", ",", "‹eos›"], ["unhappy", ",", "‹pad›", "‹E2›"])


OTHER = replace(FACTS, name="b", fingerprint="2" * 16)


def report_of(texts=(CUT,), student=FACTS, teacher=OTHER):
    return pair_report(student, teacher, texts, DISPLAYS, "by hand")


def test_chunks_and_shares_by_hand():
    frame = chunk_frame([CUT])
    assert frame[["kind", "relation", "student", "teacher"]].values.tolist() == [
        ["plain words", "n:1", 2, 1],
        ["plain words", "1:n", 1, 2],
        ["punctuation", "1:1", 1, 1],
        ["numbers", "n:1", 2, 1],
        ["end of text", "1:1", 1, 1],
    ]
    words = shares(frame, "kind").set_index("group").loc["plain words"]
    assert (words["student_positions"], words["student_n:1"], words["student_1:n"]) == (3, 2 / 3, 1 / 3)
    assert (words["teacher_positions"], words["teacher_n:1"], words["largest_chunk"]) == (3, 1 / 3, 3)
    assert (longest_chunk([CUT], frame).text, longest_chunk([CUT], frame).student) == ("unhappy", 2)


@law(15)
@given(st.lists(st.sampled_from(["un", "do", " the", " cat", "1", "é", "!"]), min_size=1, max_size=12))
def test_shares_sum_to_one_and_a_text_against_itself_is_all_whole(pieces):
    text = "".join(pieces)
    same = CutText("x", "c", text, axis(text, pieces), axis(text, pieces))
    row = shares(chunk_frame([same]), "category").iloc[0]
    assert row["student_1:1"] == row["teacher_1:1"] == 1 and row["student_positions"] == len(pieces) + 1
    letters = CutText("x", "c", text, axis(text, pieces), axis(text, list(text)))
    row = shares(chunk_frame([letters]), "category").iloc[0]
    for side in ("student", "teacher"):
        assert sum(row[f"{side}_{relation}"] for relation in RELATIONS) == pytest.approx(1)


def test_tied_positions_by_hand():
    """" a" after " a" twice: three equal (input, target) pairs on either side but for the first."""
    text = " a a a"
    side = axis(text, [" a"] * 3)
    assert tied_shares([CutText("t", "", text, side, side)]) == (2 / 4, 2 / 4)


def test_a_text_that_is_not_spelled_as_it_is():
    text = "e\u0301"
    composed = axis("é", ["é"])
    changed = replace(composed, spans=((0, 3), (3, 3)))
    one = CutText("nfd", "", text, axis(text, [text]), changed)
    assert changed_texts([one], "student") == (0, "") and changed_texts([one], "teacher") == (1, "nfd")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the", "plain words"), (" naïve", "accented words"), ("e\u0301", "accented words"), ("мир", "other scripts"),
        ("北京", "CJK"), ("한국", "CJK"), ("👩\u200d👧", "emoji and symbols"), ("❤\ufe0f", "emoji and symbols"),
        (" 1,000", "numbers"), ("—!", "punctuation"), (" \n\t", "white space"), ("", "end of text"), ("a北", "CJK"),
    ],
)  # fmt: skip
def test_kinds_of_writing(text, kind):
    assert kind_of(text) == kind and kind in KINDS


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.39, "two in five"), (0.01, "hardly any"), (0.99, "nearly all"), (0.24, "one in four"), (0.5, "one in two")],
)
def test_shares_in_words(share, words):
    assert in_words(share) == words


@law(60)
@given(st.floats(0.03, 0.97))
def test_the_words_are_near_the_share(share):
    numbers = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "nine": 9, "ten": 10, "nineteen": 19, "twenty": 20}
    top, bottom = in_words(share).split(" in ")
    assert abs(numbers[top] / numbers[bottom] - share) <= 0.08


def test_vocabulary_that_stands_for_text():
    assert text_tokens(["a", "‹eos›", "‹E2 82›", "‹U+200D›", "‹#7›", "␣‹E2›"]) == {"a", "‹E2 82›", "‹U+200D›", "␣‹E2›"}


def test_verdict_by_hand():
    said = report_of().verdict
    assert said[0].startswith("One in four student positions (29%, 0% among plain words) stands for exactly one")
    assert said[1].startswith("Three in five student positions (57%) are pieces of one teacher token")
    assert "share 1 tokens, which cover 17% of the student's positions and 20% of the teacher's." in " ".join(said)
    same = report_of(teacher=FACTS).verdict
    assert same == ("The two tokenizers are the same: no alignment is needed, and same-tokenizer distillation fits.",)


def test_verdict_speaks_of_roles_and_templates():
    teacher = replace(FACTS, fingerprint="2" * 16, begins_texts=True, chat_template="{{ x }}")
    said = " ".join(report_of(teacher=teacher).verdict)
    assert "Only the teacher begins texts" in said and "Chat templates: the student has none" in said


def test_aligners_by_hand():
    frame = aligner_frame([CUT]).set_index("aligner")
    assert frame.loc["eta", "dropped_student"] == pytest.approx(5 / 7)  # "," and the EOS stay
    assert frame.loc["gold-bytes", "dropped_student"] == pytest.approx(1 / 7)
    assert frame.loc["nemo-offsets", "largest_group"] == 3


def test_no_text_is_an_error():
    with pytest.raises(DataError, match="no text with tokens on both sides"):
        report_of(texts=())


# --- the page ---


class Page(html.parser.HTMLParser):
    """Tags with attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_runs_and_loads_nothing_whatever_a_token_says():
    report = report_of()
    plain = {tag for tag, _ in Page(render_pair(report, [CUT])).tags}
    for payload in PAYLOADS:
        evil = replace(CUT, example_id=payload, student=replace(CUT.student, tokens=(payload,) * 7))
        facts = replace(FACTS, name=payload, specials={"eos_token": payload})
        longest = replace(report.longest, text=payload, example_id=payload)
        kinds = report.kinds.assign(group=payload)
        said = replace(report, student=facts, longest=longest, kinds=kinds, data=payload)
        page = Page(render_pair(said, [evil]))
        assert {tag for tag, _ in page.tags} == plain, payload
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "action")], tag
        policy = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy and policy[0].startswith("default-src 'none'")


def test_the_page_says_what_the_tables_say():
    report = report_of()
    words = " ".join(Page(render_pair(report, [CUT])).words)
    for sentence in report.verdict:
        assert sentence in words
    for name in report.aligners["aligner"]:
        assert name in words


def test_drawn_texts_end_at_a_chunk_and_the_hardest_come_first():
    easy = replace(CUT, example_id="easy", teacher=CUT.student)
    assert [one.example_id for one in hardest([easy, CUT])] == ["one", "easy"]
    long = "ab " * 100
    side = axis(long, ["ab "] * 100)
    drawn = drawn_text(CutText("long", "", long, side, side))
    assert drawn.cut and len(drawn.chunks) == 80 and not drawn_text(CUT).cut


def test_csv_cells_that_look_like_formulas_stay_text():
    frames = pair_frames(report_of(student=replace(FACTS, name="=1+1")))
    assert set(frames) == {"pair", "pair_kinds", "pair_aligners", "pair_verdict"}
    for frame in frames.values():
        assert frame["signature"].nunique() == 1 and list(frame.columns)[:2] == ["schema_version", "signature"]


# --- the command, and every way to name a tokenizer ---


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    byte_bpe().save_pretrained(folder / "bytes")
    sentencepiece().save_pretrained(folder / "pieces")
    return folder


def test_pair_from_directories_without_weights(tokenizers, tmp_path, capsys):
    names = [str(tokenizers / "bytes"), str(tokenizers / "pieces")]
    assert main(["pair", *names, "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == 48 and told["student"] == "bytes" and told["teacher_unk_token"] == "<unk>"
    assert sum(told[f"student_{relation}"] for relation in RELATIONS) == pytest.approx(1)
    with open(tmp_path / "out" / "pair.csv", encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["student_1:1"]) == pytest.approx(told["student_1:1"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "pair.csv", "pair_kinds.csv", "pair_aligners.csv", "pair_verdict.csv", "pair.html",
    }  # fmt: skip
    assert main(["pair", *names]) == 0
    assert told["verdict"][0] in capsys.readouterr().out


def test_a_tokenizer_file_is_that_of_its_directory_and_a_bare_one_works(tokenizers, tmp_path):
    whole = load_any_tokenizer(tokenizers / "bytes")
    assert load_any_tokenizer(tokenizers / "bytes" / "tokenizer.json").eos_token == whole.eos_token
    bare = tmp_path / "mine.json"
    bare.write_bytes((tokenizers / "bytes" / "tokenizer.json").read_bytes())
    assert load_any_tokenizer(bare).get_vocab() == whole.get_vocab()
    assert (short_name(bare), short_name(tokenizers / "bytes" / "tokenizer.json"), short_name("a/b")) == (
        "mine", "bytes", "a/b",
    )  # fmt: skip


def test_what_is_no_tokenizer_is_said_plainly(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    (tmp_path / "x.gguf").write_bytes(b"GGUF\0\0")
    for name, wanted in (("x.json", "neither"), ("x.gguf", "cannot be rebuilt")):
        with pytest.raises(DamagedError, match=wanted):
            load_any_tokenizer(tmp_path / name)
    assert main(["pair", "no/such-tokenizer", "no/other"]) == 4
    assert "a tokenizer.json, a *.gguf" in capsys.readouterr().err


def test_the_built_in_texts_have_every_kind_of_writing():
    path = ROOT / "probe/pairing/texts.jsonl"
    texts = read_examples(path)
    assert {kind_of(letter) for one in texts for letter in one.output} >= set(KINDS) - {"end of text"}
    assert len({one.id for one in texts}) == len(texts) == 48


def test_a_gguf_file_gives_the_tokenizer_that_it_was_written_from(tokenizers, tmp_path, monkeypatch, capsys):
    """A vocabulary alone, as llama.cpp writes it; rebuilt once, then read from the cache, and the same tokens."""
    import gguf

    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    known = json.loads((tokenizers / "bytes" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    pieces = sorted(known["vocab"], key=known["vocab"].__getitem__)
    end = pieces.index("<|endoftext|>")
    writer = gguf.GGUFWriter(tmp_path / "mine.gguf", "qwen2")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types([3 if number == end else 1 for number in range(len(pieces))])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in known["merges"]])
    writer.add_eos_token_id(end)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = load_any_tokenizer(tmp_path / "mine.gguf")
    text = "The quick brown fox, 1889 naïve 北京"
    assert found.tokenize(text) == load_any_tokenizer(tokenizers / "bytes").tokenize(text)
    kept = next((tmp_path / "cache" / "gguf-tokenizers").iterdir()) / "tokenizer.json"
    before = kept.stat().st_mtime_ns
    assert load_any_tokenizer(tmp_path / "mine.gguf").eos_token == "<|endoftext|>" and kept.stat().st_mtime_ns == before
    bare = tmp_path / "bare.json"
    bare.write_bytes((tokenizers / "pieces" / "tokenizer.json").read_bytes())
    assert main(["pair", str(tmp_path / "mine.gguf"), str(bare), "--limit", "4"]) == 0
    assert capsys.readouterr().out.startswith("mine and bare: 4 texts (built-in texts)")
