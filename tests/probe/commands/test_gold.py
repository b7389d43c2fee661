"""``python -m probe gold`` as a user runs it: files in, files out, reports, exit codes, one message a mistake."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from probe.__main__ import main
from probe.gold.reading import Gold, read_gold, write_gold
from probe.gold.sources import from_store
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStoreWriter
from probe.models.pairs import load_pair
from probe.scoring.alignment import span_gold
from probe.text.examples import read_examples
from tests.house.rooms import reached, top
from tests.support import ROOT
from tests.support.tokenizers_zoo import BY_NAME

TEXTS = {"one": "the cat sat on the mat", "two": "naïve café, déjà vu", "three": "漢字 12345"}
KINDS = {
    "student": "byte-level",
    "teacher": "metaspace bpe",
    "plain": "byte-level prefix",
    "lower": "wordpiece uncased",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizer folders, texts, a map store of student and teacher, gold on it, and a second annotator's."""
    room = tmp_path_factory.mktemp("gold")
    for name, kind in KINDS.items():
        tokenizer = BY_NAME[kind].tokenizer
        end = next(end for end in ("</s>", "<|endoftext|>", "[SEP]") if tokenizer.token_to_id(end) is not None)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end).save_pretrained(room / name)
    rows = [{"id": name, "prompt": "Say it:\n", "output": text} for name, text in TEXTS.items()]
    (room / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pair = load_pair(str(room / "student"), str(room / "teacher"))
    tokens = pair.encode(read_examples(room / "data.jsonl"))
    prints = (pair.student_fingerprint, pair.teacher_fingerprint)
    with MapStoreWriter(
        room / "maps", provenance=dict(zip(("student_tokenizer", "teacher_tokenizer"), prints, strict=True))
    ) as writer:
        for one in tokens:
            weights = np.full((len(one.student.axis), len(one.teacher.axis)), 1 / len(one.teacher.axis), np.float32)
            sides = (one.student.axis, one.teacher.axis)
            writer.add(AttentionMap(one.example_id, "", "cma", "dskd-cma", "t2s", "frozen", one.text, *sides, weights))
    golds = [span_gold(one.example_id, one.text, one.student.axis, one.teacher.axis, prints, "anna") for one in tokens]
    write_gold(room / "gold.jsonl", golds)
    weaker = golds[0].sure - {(0, 0)}
    others = [replace(golds[0], sure=weaker), *golds[1:]]
    write_gold(room / "other.jsonl", [replace(gold, annotator="ben") for gold in others])
    return room


@pytest.fixture
def room(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "room")
    return tmp_path / "room"


def run(room: Path, command: str) -> int:
    return main(["gold", *(word.replace("{d}", str(room)) for word in shlex.split(command))])


# --- convert ---


@pytest.mark.parametrize(
    ("form", "options", "texts"),
    [("pharaoh", "", "gold.jsonl"), ("naacl", "--numbered --texts {d}/gold.jsonl", "maps"), ("naacl", "", "maps")],
)
def test_convert_there_and_back(form, options, texts, room):
    assert run(room, f"convert {{d}}/gold.jsonl --to {form} --out {{d}}/links.{form} {options}") == 0
    back = f"convert {{d}}/links.{form} --to jsonl --texts {{d}}/{texts} --annotator anna --out {{d}}/back.jsonl"
    assert run(room, back + (" --numbered" if options else "")) == 0
    assert (room / "back.jsonl").read_bytes() == (room / "gold.jsonl").read_bytes()


def test_convert_lines_without_ids(room, capsys):
    assert run(room, "convert {d}/gold.jsonl --to simalign --texts {d}/maps --out {d}/links.inter --json") == 0
    report = json.loads(capsys.readouterr().out)
    golds = read_gold(room / "gold.jsonl")
    assert report["links"] == sum(len(gold.possible) for gold in golds.values())
    weak = report["links"] - sum(len(gold.sure) for gold in golds.values())
    said = " ".join(report["notes"])
    assert (
        f"no levels; {weak} possible links" in said and "no ids" in said and "'.inter' is not one of simalign" in said
    )
    command = "convert {d}/links.inter --from simalign --to pharaoh --texts {d}/gold.jsonl --out {d}/links.pharaoh"
    assert run(room, command) == 0
    found = read_gold(room / "links.pharaoh")
    assert {name: gold.sure for name, gold in found.items()} == {name: gold.possible for name, gold in golds.items()}


def test_convert_says_what_was_left_behind(room, capsys):
    (room / "links.naacl").write_text("one 1 1 S 0.5\n")
    assert run(room, "convert {d}/links.naacl --to jsonl --texts {d}/maps --out {d}/new.jsonl") == 0
    out = capsys.readouterr().out
    assert "no confidences; 1 are left behind" in out and "2 of 3 texts have no gold here" in out


# --- check ---


def test_check_against_a_store_and_against_tokenizers(room, capsys):
    assert run(room, "check {d}/gold.jsonl --maps {d}/maps") == 0
    assert capsys.readouterr().out == f"{room}/gold.jsonl fits {room}/maps: 3 examples\n"
    pair = "--student {d}/student --teacher {d}/teacher --data {d}/data.jsonl"
    assert run(room, f"check {{d}}/gold.jsonl {pair} --json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values == {"fits": 3, "bounds_only": 0, "texts_without_gold": 0, "gold_without_text": 0}
    (room / "links.pharaoh").write_text("one\t0-0\nnone\t0-0\n")
    assert run(room, "check {d}/links.pharaoh --maps {d}/maps") == 0
    assert "1 of them name no tokens" in capsys.readouterr().out


def test_check_names_the_first_difference_and_counts_the_rest(room, capsys):
    pair = "--student {d}/plain --teacher {d}/teacher --data {d}/data.jsonl"
    assert run(room, f"check {{d}}/gold.jsonl {pair}") == 3
    found = capsys.readouterr().err
    assert "gold 'one' is for another student tokenizer: wanted fingerprint" in found
    assert "(3 of 3 examples do not fit.)" in found
    lines = (room / "gold.jsonl").read_text().replace('"cat"', '"dog"').replace("␣cat", "␣dog")
    (room / "gold.jsonl").write_text(lines)
    assert run(room, "check {d}/gold.jsonl --maps {d}/maps") == 3
    assert "first difference at index" in (found := capsys.readouterr().err) and "1 of 3 examples" in found


# --- agree and adjudicate ---


def test_agree_as_table_csv_and_json(room, capsys):
    assert run(room, "agree {d}/gold.jsonl {d}/other.jsonl --out {d}/agreement.csv") == 0
    out = capsys.readouterr().out
    assert "3 examples" in out and "1 of them differ" in out and "agree:kappa+f1|levels:" in out
    frame = pd.read_csv(room / "agreement.csv")
    assert list(frame["scope"]) == ["example"] * 3 + ["all"]
    assert list(frame["example_id"][:3]) == ["one", "two", "three"]
    assert run(room, "agree {d}/gold.jsonl {d}/other.jsonl --json") == 0
    values = json.loads(capsys.readouterr().out)
    last = frame.iloc[-1]
    assert (values["cells"], values["differing"]) == (last["cells"], 1) == (frame["cells"][:3].sum(), 1)
    assert values["kappa"] == pytest.approx(last["kappa"]) and values["signature"] == last["signature"]
    sure = sum(len(gold.sure) for gold in read_gold(room / "gold.jsonl").values())
    assert values["recall_sure"] == pytest.approx((sure - 1) / sure) and values["precision_sure"] == 1
    assert values["by_example"][0]["id"] == "one" and values["by_example"][0]["differing"] == 1


def test_agree_on_gold_that_takes_its_tokens_from_a_store(room, capsys):
    assert run(room, "convert {d}/other.jsonl --to pharaoh --out {d}/other.pharaoh") == 0
    capsys.readouterr()
    assert run(room, "agree {d}/gold.jsonl {d}/other.pharaoh --texts {d}/maps") == 0
    assert "1 of them differ" in capsys.readouterr().out
    assert run(room, "agree {d}/gold.jsonl {d}/other.pharaoh") == 3
    assert "names no tokens" in capsys.readouterr().err


def test_agree_on_two_folders_of_the_dashboard(room, capsys):
    from app.data.annotations import Annotations, Saved, links_of

    annotations = Annotations(room / "annotations")
    for name, file in (("Anna", "gold.jsonl"), ("Ben", "other.jsonl")):
        for gold in read_gold(room / file).values():
            annotations.save(name, links_of(gold), Saved(gold))
    first, second = sorted(path.name for path in (room / "annotations").iterdir())
    folders = f"{{d}}/annotations/{first} {{d}}/annotations/{second}"
    assert run(room, f"agree {folders}") == 0
    assert "3 examples" in (out := capsys.readouterr().out) and "1 of them differ" in out
    assert run(room, f"adjudicate {folders} --rule union --out {{d}}/both.jsonl") == 0
    assert {gold.annotator for gold in read_gold(room / "both.jsonl").values()} == {"adjudicated: Anna, Ben"}
    assert run(room, f"adjudicate {folders} --rule union --out {{d}}/annotations/{first}/both.jsonl") == 2
    assert run(room, f"agree {{d}}/annotations {{d}}/annotations/{second}") == 3
    assert "annotations: no *.jsonl in it" in capsys.readouterr().err


def test_adjudicate_asks_refuses_and_writes(room, capsys):
    command = "adjudicate {d}/gold.jsonl {d}/other.jsonl --out {d}/both.jsonl"
    assert run(room, command) == 0
    assert "1 cells on which A and B differ, 1 of them to be decided" in capsys.readouterr().out
    path = room / "both.decisions.jsonl"
    assert not (room / "both.jsonl").exists()
    assert run(room, command) == 3
    found = capsys.readouterr().err
    assert f"{path}: 1 of 1 differing cells are not decided, the first is student 0, teacher 0 of 'one'" in found
    path.write_text(path.read_text().replace("null", '"none"').replace('"note": ""', '"note": "another word"'))
    assert run(room, command) == 0
    gold = read_gold(room / "both.jsonl")["one"]
    assert (0, 0) not in gold.possible and gold.annotator == "adjudicated: anna, ben"
    assert gold.note.endswith(": another word") and "decided by hand" in gold.note
    assert run(room, "adjudicate {d}/gold.jsonl {d}/other.jsonl --rule b --out {d}/b.jsonl --json") == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["by"] == "the rule b"
    assert read_gold(room / "b.jsonl")["one"].sure == read_gold(room / "other.jsonl")["one"].sure


def test_renew_keeps_decisions_that_still_fit(room, capsys):
    command = "adjudicate {d}/gold.jsonl {d}/other.jsonl --out {d}/both.jsonl"
    assert run(room, command) == 0
    path = room / "both.decisions.jsonl"
    path.write_text(path.read_text().replace("null", '"sure"'))
    others = read_gold(room / "other.jsonl")
    write_gold(room / "other.jsonl", {**others, "two": replace(others["two"], sure=frozenset())})
    assert run(room, command) == 3
    assert "--renew" in capsys.readouterr().err
    assert run(room, f"{command} --renew --json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["undecided"] == values["differing"] - 1 > 0


# --- move ---

NEW = "--student {d}/plain --teacher {d}/student --data {d}/data.jsonl"


def test_move_to_other_tokenizers_gives_gold_that_fits_them(room, capsys):
    assert run(room, f"move {{d}}/gold.jsonl {NEW} --out {{d}}/moved.jsonl --json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["moved_examples"] == values["examples"] == 3
    assert values["begin"] == "start" and values["links_by_content"] == 0
    assert values["exact"] + values["by_bytes"] + sum(values["lost"].values()) == values["links"]
    assert values["new_links"] == sum(len(gold.possible) for gold in read_gold(room / "moved.jsonl").values())
    assert run(room, f"check {{d}}/moved.jsonl {NEW}") == 0


def test_move_to_the_same_tokens_changes_nothing(room):
    for place in ("--maps {d}/maps", "--student {d}/student --teacher {d}/teacher --data {d}/data.jsonl"):
        assert run(room, f"move {{d}}/gold.jsonl {place} --out {{d}}/moved.jsonl") == 0
        assert (room / "moved.jsonl").read_bytes() == (room / "gold.jsonl").read_bytes()


def test_move_of_hidden_tokens_wants_their_places(room, capsys):
    other = "--student {d}/lower --teacher {d}/student --data {d}/data.jsonl"
    assert run(room, f"move {{d}}/gold.jsonl {other} --out {{d}}/lower.jsonl") == 0
    assert "no new token there" in capsys.readouterr().out  # spaces, which the uncased student drops
    back = f"move {{d}}/lower.jsonl {NEW} --out {{d}}/moved.jsonl"
    assert run(room, back) == 3
    assert "none of 3 examples could move: its tokens do not spell the text (3)" in capsys.readouterr().err
    assert run(room, f"{back} --old-student {{d}}/lower --old-teacher {{d}}/student --begin start") == 0
    assert "3 of 3" in capsys.readouterr().out
    assert run(room, f"move {{d}}/gold.jsonl {NEW} --old-maps {{d}}/maps --out {{d}}/moved.jsonl") == 0


def test_move_of_long_texts_says_what_lies_behind_the_cut(room, capsys):
    assert run(room, f"move {{d}}/gold.jsonl {NEW} --max-length 16 --out {{d}}/moved.jsonl") == 0
    assert "behind the cut: " in capsys.readouterr().out
    found = {name: gold.text for name, gold in read_gold(room / "moved.jsonl").items()}
    assert all(TEXTS[name].startswith(text) for name, text in found.items()) and found != TEXTS


# --- mistakes ---

CHECK, MOVE = "check {d}/gold.jsonl --maps {d}/maps", f"move {{d}}/gold.jsonl {NEW} --out {{d}}/new.jsonl"
TO_JSONL = "convert {d}/bad.pharaoh --to jsonl --texts {d}/maps --out {d}/new.jsonl"
AGREE, BOTH = "agree {d}/gold.jsonl {d}/bad.jsonl", "adjudicate {d}/gold.jsonl {d}/other.jsonl --out {d}/new.jsonl"
MISTAKES: list[tuple[str, int, str, str, str]] = [  # command, exit code, words, file, its text
    (CHECK.replace("gold.jsonl", "none.jsonl"), 3, "none.jsonl: gold cannot be read (No such file", "", ""),
    (CHECK.replace("gold.jsonl", "bad.jsonl"), 3, "bad.jsonl:2: broken JSON", "bad.jsonl", "\n{"),
    (CHECK.replace("gold.jsonl", "bad.csv"), 3, "wanted gold with a suffix of .jsonl", "bad.csv", "x"),
    (CHECK.replace("gold.jsonl", "bad.pharaoh"), 3, "none of its 1 ids, like 'x', is in", "bad.pharaoh", "x\t0-0"),
    (CHECK.replace("gold.jsonl", "bad.pharaoh"), 3, "link to student token 99", "bad.pharaoh", "one\t99-0"),
    (CHECK.replace("maps {d}/maps", "maps {d}/student"), 4, "is not a map store", "", ""),
    ("check {d}/gold.jsonl", 2, "wanted one place of tokens", "", ""),
    (f"{CHECK} --student {{d}}/student", 2, "wanted one place of tokens", "", ""),
    (f"{CHECK} --data {{d}}/data.jsonl", 2, "--maps has texts and tokens of its own", "", ""),
    ("check {d}/gold.jsonl --student {d}/student --data {d}/data.jsonl", 2, "--teacher beside --student", "", ""),
    ("check {d}/gold.jsonl --checkpoint {d}/student --data {d}/data.jsonl", 4, "is not a checkpoint", "", ""),
    (TO_JSONL, 3, "bad.pharaoh:2: wanted 'id<TAB>0-0 1p2 …' as on the other lines", "bad.pharaoh", "one\t0-0\n1-1"),
    (TO_JSONL, 3, "bad.pharaoh:1: the id 'x' is none of the 3 texts", "bad.pharaoh", "x\t0-0\n"),
    (TO_JSONL, 3, "bad.pharaoh:2: student 0, teacher 99 (counted from 0) lies", "bad.pharaoh", "one\t0-0\ntwo\t0p99"),
    (TO_JSONL, 3, "bad.pharaoh: 2 lines for 3 texts", "bad.pharaoh", "0-0\n1-1\n"),
    (TO_JSONL, 3, "bad.pharaoh: no alignment in it", "bad.pharaoh", ""),
    (TO_JSONL.replace("{d}/maps", "{d}/other.pharaoh"), 3, "wanted texts with tokens", "bad.pharaoh", "one\t0-0"),
    (TO_JSONL.replace("--texts {d}/maps", ""), 2, "pharaoh holds no tokens", "bad.pharaoh", "one\t0-0"),
    (TO_JSONL.replace("new.jsonl", "bad.pharaoh"), 2, "would be read and overwritten", "bad.pharaoh", "one\t0-0"),
    (TO_JSONL.replace("new.jsonl", "maps"), 2, "maps is a directory", "bad.pharaoh", "one\t0-0"),
    (f"{TO_JSONL} --numbered", 2, "--numbered is about", "bad.pharaoh", "one\t0-0"),
    ("convert {d}/gold.jsonl --to talp --out {d}/x", 2, "invalid choice: 'talp'", "", ""),
    ("agree {d}/gold.jsonl {d}/../room/gold.jsonl", 2, "A and B are the same", "", ""),
    (AGREE, 3, "bad.jsonl:1: wanted a JSON object", "bad.jsonl", "[]"),
    (f"{AGREE.replace('bad', 'other')} --out {{d}}/gold.jsonl", 2, "would be read and overwritten", "", ""),
    (f"{BOTH} --rule a --renew", 2, "Give one of the two", "", ""),
    (BOTH.replace("new.jsonl", "other.jsonl"), 2, "would be read and overwritten", "", ""),
    (f"{BOTH} --decisions {{d}}/gold.jsonl", 2, "would be read and overwritten", "", ""),
    (f"{BOTH} --decisions {{d}}/new.jsonl", 2, "would be read and overwritten", "", ""),
    (f"{BOTH} --decisions {{d}}/bad.jsonl", 3, "bad.jsonl:1: the key 'student' is missing", "bad.jsonl", '{"id": "x"}'),
    (MOVE.replace("data.jsonl", "bad.jsonl"), 3, "'one' is for another text than", "bad.jsonl",
     '{"id": "one", "prompt": "", "output": "the dog"}'),
    (MOVE.replace("data.jsonl", "bad.jsonl"), 3, "none of 3 examples could move", "bad.jsonl",
     '{"prompt": "", "output": "the dog"}'),
    (MOVE.replace("data.jsonl", "bad.jsonl"), 3, "bad.jsonl:1", "bad.jsonl", "{"),
    (MOVE.replace("gold.jsonl", "bad.pharaoh"), 3, "has no tokens that could be placed", "bad.pharaoh", "one\t0-0"),
    (MOVE.replace("{d}/plain", "{d}/nowhere/at/all"), 4, "none that can be reached", "", ""),
    (f"{MOVE} --old-student {{d}}/student", 2, "--old-teacher", "", ""),
    (f"{MOVE} --old-student {{d}}/plain --old-teacher {{d}}/teacher", 3, "another student tokenizer", "", ""),
    (f"{MOVE} --max-length 7", 2, "max_length of at least 8", "", ""),
    (MOVE.replace("new.jsonl", "new.txt"), 3, "wanted gold with a suffix", "", ""),
    ("", 2, "SUBCOMMAND", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("command", "code", "words", "name", "text"), MISTAKES)
def test_a_mistake_is_one_message_and_nothing_written(command, code, words, name, text, room, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if name:
        (room / name).write_text(text)
    before = {path: path.read_bytes() for path in room.rglob("*") if path.is_file()}
    assert run(room, command) == code
    found = capsys.readouterr()
    assert words in found.err and "Traceback" not in found.err and "bug in probe" not in found.err
    assert {path: path.read_bytes() for path in room.rglob("*") if path.is_file()} == before


def test_folder_that_wants_code_run_is_unsafe(room, capsys):
    (room / "plain" / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", null]}}')
    assert run(room, MOVE) == 7
    assert "asks for code of its own" in capsys.readouterr().err


# --- help, and what is imported ---


@pytest.mark.parametrize("name", ["convert", "check", "agree", "adjudicate", "move"])
def test_every_subcommand_has_help_with_an_example(name, capsys):
    assert main(["gold", name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: python -m probe gold {name}" in out and "exit codes: 0 ok" in out and "--json" in out
    assert f"  python -m probe gold {name} " in out.split("examples:")[1]


def test_no_module_of_gold_imports_torch():
    """Tokenizers are loaded in the function that needs them; converting and comparing never do."""
    names = [path.stem for path in (ROOT / "probe").glob("gold*.py")] + ["adjudication", "agreement", "token_places"]
    assert len(names) >= 14
    for name in names:
        assert not top(reached(f"probe.{name}", lazy=False)) & {"torch", "transformers"}, name


def test_converting_loads_no_torch(room):
    code = "import sys, probe.__main__ as m; c = m.main(sys.argv[1:]); sys.exit(c or 'torch' in sys.modules)"
    words = f"gold convert {room}/gold.jsonl --to pharaoh --out {room}/links.pharaoh".split()
    assert subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True).returncode == 0


def test_store_gives_each_text_once(good):
    source = from_store(good / "maps")
    assert list(source.texts) == list(TEXTS)
    templates = source.templates()
    golds: dict[str, Gold] = read_gold(good / "gold.jsonl")
    assert all(templates[name].student_tokens == golds[name].student_tokens for name in TEXTS)
    assert not any(gold.possible for gold in templates.values())
