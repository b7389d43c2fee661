"""Annotating: files that two editors share, undo and redo by hand, and the page through AppTest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.data import annotations as disk
from app.data.annotations import Annotations, Dispute, Saved, merge
from app.data.desk import Change, Desk, unlinked
from app.data.view import Window
from app.draw import desk as draw_desk
from app.draw import grid as draw_grid
from app.draw import palette
from app.draw.agreement import gold_bytes
from probe.errors import DataError, DiskError, UnsafeError
from probe.gold.reading import Gold, read_gold, write_gold
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import make_files, marked, open_page, shown


def small(*, sure: set[tuple[int, int]] = frozenset({(0, 0)}), size: int = 4) -> Gold:
    tokens = tuple("abcdefghij"[:size])
    return Gold("one", "x" * size, tokens, tokens, "s", "t", frozenset(sure), frozenset(sure))


# --- the files ---


def test_changes_of_two_editors_are_merged_cell_by_cell():
    base = {(0, 0): "sure", (1, 1): "sure", (2, 2): "possible"}
    mine = {(0, 0): "possible", (2, 2): "possible", (3, 3): "sure"}  # moved 0, removed 1, added 3
    theirs = {(0, 0): "sure", (1, 1): "possible", (2, 2): "sure"}  # moved 1 and 2
    merged, disputes = merge(base, mine, theirs)
    assert dict(merged) == {(0, 0): "possible", (1, 1): "possible", (2, 2): "sure", (3, 3): "sure"}
    assert disputes == (Dispute((1, 1), kept="possible", wanted="none"),)


def test_what_is_saved_is_gold_with_a_version(tmp_path):
    annotations = Annotations(tmp_path)
    assert annotations.load("Anna", "one") is None and annotations.annotators() == []
    saved = annotations.save("Anna", {(0, 0): "sure", (1, 2): "possible"}, Saved(small()))
    assert saved.version == 1 and annotations.load("Anna", "one") == saved
    again = annotations.save("Anna", {(0, 0): "sure"}, saved)
    assert again.version == 2 and dict(again.links) == {(0, 0): "sure"}
    [gold] = read_gold(annotations.path("Anna", "one")).values()
    assert (gold.annotator, gold.sure, gold.possible) == ("Anna", {(0, 0)}, {(0, 0)})
    assert annotations.annotators() == ["Anna"] and annotations.all_of("Anna") == {"one": again.gold}


def test_a_late_editor_loses_nothing_and_what_both_changed_is_disputed_until_decided(tmp_path):
    annotations, start = Annotations(tmp_path), Saved(small())
    first = Desk(start, start.links).set([((1, 1), "sure"), ((2, 2), "sure")]).store(annotations, "Anna")
    late = Desk(start, start.links).set([((3, 3), "sure"), ((2, 2), "possible")]).store(annotations, "Anna")
    assert first.saved.version == 1 and late.saved.version == 2
    assert dict(late.links) == {(0, 0): "sure", (1, 1): "sure", (2, 2): "sure", (3, 3): "sure"}
    assert late.saved.disputed == (Dispute((2, 2), kept="sure", wanted="possible"),)
    assert late.merged == 2  # (1, 1) came in, (2, 2) stayed theirs
    decided = late.set([((2, 2), "possible")]).store(annotations, "Anna")
    assert decided.saved.disputed == () and decided.links[2, 2] == "possible"
    kept = late.set([((2, 2), "sure")])  # keeping is a decision, too, though no link changes
    assert kept.settled == {(2, 2)} and kept.links == late.links


def test_eight_editors_at_once_all_keep_their_links(tmp_path):
    start = Saved(small(size=9))

    def edit(number: int) -> None:
        Desk(start, start.links).set([((number, number), "sure")]).store(Annotations(tmp_path), "Anna")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(edit, range(1, 9)))
    saved = Annotations(tmp_path).load("Anna", "one")
    assert saved.version == 8 and set(saved.links) == {(k, k) for k in range(9)} and not saved.disputed


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "//", "../x", "a/../../b", "/etc/passwd", "~/.ssh", "..\\x", "C:\\x", "a\0b", "%2e%2e%2f",
     "CON", "x" * 400, "\ud83d", "🦊", "．．／x", "a\nb", "-rf", ".lock"],
)  # fmt: skip
def test_no_name_leaves_the_folder(tmp_path, name):
    annotations = Annotations(tmp_path / "notes")
    for path in (annotations.path(name, "one"), annotations.path("anna", name)):
        inside = path.relative_to(tmp_path / "notes")
        assert len(inside.parts) == 2 and ".." not in inside.parts and max(map(len, inside.parts)) < 100


def test_names_that_look_alike_have_files_of_their_own(tmp_path):
    names = ["anna", "Anna", "an na", "an_na", "änna", "a/nna"]
    assert len({disk.file_name(name) for name in names}) == len(names)


def test_a_name_that_ends_like_a_hash_is_nobody_elses():
    taken = disk.file_name("Anna")
    assert taken.startswith("anna_")
    again = disk.file_name(taken)
    assert len({taken, again, disk.file_name(again)}) == 3


def test_the_file_of_another_annotator_is_not_taken_over(tmp_path):
    annotations, base = Annotations(tmp_path), Saved(small())
    annotations.save("anna", {(0, 0): "sure"}, base)
    annotations.path("anna", base.gold.id).parent.rename(tmp_path / disk.file_name("Bert"))
    for use in (lambda: annotations.load("Bert", base.gold.id), lambda: annotations.save("Bert", {}, base)):
        with pytest.raises(DataError, match="wanted the work of 'Bert', found that of 'anna'"):
            use()


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "notes/anna").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeError, match="symbolic link"):
        Annotations(tmp_path / "notes").save("anna", {}, Saved(small()))
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "one"}', "null"])
def test_a_file_that_is_no_annotation_is_named(tmp_path, content):
    annotations = Annotations(tmp_path)
    saved = annotations.save("anna", {}, Saved(small()))
    path = annotations.path("anna", "one")
    path.write_text(content)
    with pytest.raises(DataError, match=r"one\.jsonl"):
        annotations.save("anna", {(1, 1): "sure"}, saved)
    assert path.read_text() == content


def test_an_annotation_of_other_tokens_is_not_overwritten(tmp_path):
    annotations = Annotations(tmp_path)
    annotations.save("anna", {(2, 2): "sure"}, Saved(small(size=3)))
    with pytest.raises(DataError, match="other tokens"):
        annotations.save("anna", {}, Saved(small(size=4)))
    assert dict(annotations.load("anna", "one").links) == {(2, 2): "sure"}


# --- the desk ---


def test_undo_and_redo_step_through_the_edits():
    desk = Desk(Saved(small()), {(0, 0): "sure"})
    edited = desk.set([((1, 1), "sure")]).set([((1, 1), "possible"), ((0, 0), "none")])
    assert dict(edited.links) == {(1, 1): "possible"} and len(edited.done) == 2
    back = edited.undo()
    assert dict(back.links) == {(0, 0): "sure", (1, 1): "sure"}
    assert dict(back.undo().links) == {(0, 0): "sure"} and back.undo().undo() == back.undo()
    assert back.redo() == edited and edited.redo() == edited
    assert back.set([((2, 2), "sure")]).undone == ()  # a new edit ends what could be made again
    assert desk.set([((0, 0), "sure")]).done == ()  # nothing changed: nothing to undo
    assert edited.done[0] == (Change((1, 1), "none", "sure"),)


def test_undo_leaves_what_someone_else_has_changed_since(tmp_path):
    annotations, start = Annotations(tmp_path), Saved(small())
    desk = Desk(start, start.links).set([((1, 1), "sure"), ((2, 2), "sure")]).store(annotations, "Anna")
    Desk(desk.saved, desk.links).set([((1, 1), "possible")]).store(annotations, "Anna")
    desk = desk.set([((3, 3), "sure")]).store(annotations, "Anna")
    assert dict(desk.undo().undo().links) == {(0, 0): "sure", (1, 1): "possible"}


def test_targets_without_a_link_are_found():
    assert unlinked({(0, 0): "sure", (2, 0): "possible"}, 3, 2) == ([1], [1])


def test_the_grid_holds_both_annotators_links_and_no_token_as_code():
    text = app_maps.HOSTILE[0] + app_maps.HOSTILE[1]
    axis = app_maps.axis(text, list(app_maps.HOSTILE[:2]))
    amap = app_maps.make_map("one", "", axis, axis, text, "c", "t2s")
    window = Window((0, 3), (0, 3))
    cells = draw_grid.grid_cells(amap, window, {(0, 0): "sure"}, {(1, 0): "possible"}, weights=True)
    assert cells["link"].tolist() == ["sure", *["none"] * 8]
    assert cells["other annotator"].tolist() == ["none"] * 3 + ["possible"] + ["none"] * 5
    assert cells["weight"].tolist() == pytest.approx(amap.weights.ravel().tolist(), abs=1e-4)
    spec = draw_grid.grid(cells, amap, window, palette.LIGHT, 20)
    assert spec["params"][0]["value"][0] == app_maps.HOSTILE[0]
    assert app_maps.HOSTILE[0] not in json.dumps({**spec, "datasets": {}, "params": []})


# --- the page ---


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("annotate"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, store, tmp_path):
    def open_annotate(*arguments: object, gold: bool = True, **query: str) -> AppTest:
        start = ["--maps", store[0], "--annotations", tmp_path / "notes", *(["--gold", store[1]] if gold else [])]
        return open_page(monkeypatch, "annotate", *start, *arguments, **query)

    return open_annotate


def saved_in(tmp_path: Path, name: str = "anna") -> Saved | None:
    return Annotations(tmp_path / "notes").load(name, "example-001")


def edit(monkeypatch: pytest.MonkeyPatch, test: AppTest, levels: list[tuple[tuple[object, object], object]]) -> None:
    """What a click does, which AppTest cannot make: the callback, in the session of the page."""
    identity, desk = test.session_state[draw_desk.DESK]
    folder, name = identity[:2]
    size = (len(desk.saved.gold.student_tokens), len(desk.saved.gold.teacher_tokens))
    amap = dataclasses.make_dataclass("Sides", ["student", "teacher"])(range(size[0]), range(size[1]))
    state = {draw_desk.DESK: (identity, desk)}
    with monkeypatch.context() as patch:
        patch.setattr(draw_desk.st, "session_state", state)
        draw_desk.change(draw_desk.Seat(Annotations(Path(folder)), name, amap, desk), levels)
    for key, value in state.items():
        test.session_state[key] = value


def test_without_a_name_nothing_can_be_changed(page, tmp_path):
    test = page(example="example-001")
    assert not test.exception and "Type your name" in test.info[0].value
    assert test.button(key="Undo").disabled and len(test.get("vega_lite_chart")) == 1
    assert not (tmp_path / "notes").exists()


def test_starts_from_gold_and_can_be_accepted_as_it_is(page, store, tmp_path):
    test = page(annotator="anna", example="example-001")
    assert not test.exception and "these links are from the gold file" in shown(test)
    test.button(key="accept").click().run()
    gold = read_gold(store[1])["example-001"]
    saved = saved_in(tmp_path)
    assert (saved.gold.sure, saved.gold.possible) == (gold.sure, gold.possible)
    assert "Saved as anna, version 1" in shown(test) and "1 annotated by you" in shown(test)


def test_starts_from_the_span_rule_without_gold_and_says_why_gold_is_not_used(page, store, tmp_path):
    test = page(annotator="anna", example="example-001", gold=False)
    assert "these links are from the span rule" in shown(test)
    write_gold(tmp_path / "other.jsonl", app_maps.make_store(tmp_path / "m", app_maps.example_texts(3), sizes=(4, 5)))
    test = page("--gold", tmp_path / "other.jsonl", annotator="anna", example="example-001", gold=False)
    assert not test.exception and "span rule is shown instead" in test.warning[0].value
    assert "first difference at index" in shown(test)


def test_a_click_is_saved_undone_made_again_and_there_after_a_reload(page, tmp_path, monkeypatch):
    test = page(annotator="anna", example="example-001")
    before = dict(test.session_state[draw_desk.DESK][1].links)
    edit(monkeypatch, test, [((0, 3), "sure")])
    assert dict(saved_in(tmp_path).links) == {**before, (0, 3): "sure"}
    test.run()
    test.button(key="Undo").click().run()
    assert dict(saved_in(tmp_path).links) == before and saved_in(tmp_path).version == 2
    test.button(key="Redo").click().run()
    assert saved_in(tmp_path).links[0, 3] == "sure"
    again = page(annotator="anna", example="example-001")
    assert "Saved as anna, version 3" in shown(again)
    assert again.session_state[draw_desk.DESK][1].links[0, 3] == "sure"


def test_cells_and_levels_that_there_are_not_are_passed_over(page, tmp_path, monkeypatch):
    test = page(annotator="anna", example="example-001")
    before = dict(test.session_state[draw_desk.DESK][1].links)
    bad = [((0, 10**6), "sure"), ((-1, 0), "sure"), (("0", 0), "sure"), ((None, 0), "sure"), ((0, 0), "<b>")]
    edit(monkeypatch, test, bad)
    assert dict(saved_in(tmp_path).links) == before


def test_what_another_editor_saved_meanwhile_comes_in_and_disputes_are_shown(page, tmp_path, monkeypatch):
    test = page(annotator="anna", example="example-001")
    base = test.session_state[draw_desk.DESK][1].saved
    Annotations(tmp_path / "notes").save("anna", {**base.links, (0, 3): "sure", (0, 2): "sure"}, base)
    edit(monkeypatch, test, [((1, 3), "sure"), ((0, 2), "possible")])
    test.run()
    saved = saved_in(tmp_path)
    assert saved.version == 2 and {(0, 3), (1, 3)} <= set(saved.links) and saved.links[0, 2] == "sure"
    assert "1 cells were set differently" in test.warning[0].value
    test.button(key="Use (0, 2)").click().run()
    assert saved_in(tmp_path).links[0, 2] == "possible" and saved_in(tmp_path).disputed == ()
    assert not test.warning


def test_a_save_that_fails_keeps_the_links_on_the_page(page, tmp_path, monkeypatch):
    test = page(annotator="anna", example="example-001")
    with monkeypatch.context() as patch:

        def full(path: Path) -> None:
            raise DiskError(f"cannot write {path}: no space")

        patch.setattr(disk, "atomic_file", full)
        edit(monkeypatch, test, [((0, 3), "sure")])
    test.run()
    assert "not saved" in test.error[0].value and "no space" in shown(test) and saved_in(tmp_path) is None
    [again] = [button for button in test.button if button.label == "Save again"]
    again.click().run()
    assert not test.error and saved_in(tmp_path).links[0, 3] == "sure"


def test_a_second_annotator_is_compared(page, tmp_path, monkeypatch):
    start = page(annotator="anna", example="example-001")
    start.button(key="accept").click().run()
    test = page(annotator="ben", example="example-001")
    edit(monkeypatch, test, [((0, 3), "sure")])
    test.run()
    test.selectbox(key="second").select("anna").run()
    assert not test.exception
    scores, differences = (table.value for table in test.dataframe)
    assert scores["over"].tolist() == ["this example", "all 1 examples of both"]
    assert 0 < scores["kappa"].iloc[0] < 1
    assert differences[["student index", "teacher index", "you", "the other"]].values.tolist() == [
        [0, 3, "sure", "none"]
    ]
    test.selectbox(key="second").select("the gold file").run()
    assert len(test.dataframe[0].value) == 1 and not test.exception


@pytest.mark.parametrize(
    ("query", "note"),
    [({"annotator": "<b>x</b>"}, "annotator = <b>x</b>"), ({"example": "<i>no</i>"}, "example = <i>no</i>")],
)
def test_bad_values_of_the_link_fall_back_with_a_note(page, query, note):
    test = page(**{"annotator": "anna", **query})
    assert not test.exception and note in shown(test) and note not in marked(test)
    assert len(test.get("vega_lite_chart")) == 1


def test_hostile_tokens_stay_text(page):
    test = page(annotator="anna", example="hostile")
    assert not test.exception and "<script>" in shown(test)
    assert not any(payload in marked(test) for payload in app_maps.HOSTILE)


def test_no_maps_and_no_match_say_so(monkeypatch, page, tmp_path):
    test = open_page(monkeypatch, "annotate", "--maps", tmp_path / "absent")
    assert not test.exception and test.subheader[0].value == "No attention maps here yet"
    test = page(q="no such word at all")
    assert not test.exception and test.subheader[0].value == "No example matches"


@pytest.mark.parametrize("suffix", ["jsonl", "pharaoh", "naacl"])
def test_every_gold_format_reads_back(tmp_path, suffix):
    gold = dataclasses.replace(small(), possible=frozenset({(0, 0), (1, 2)}))
    (tmp_path / f"gold.{suffix}").write_bytes(gold_bytes({"one": gold}, suffix))
    found = read_gold(tmp_path / f"gold.{suffix}")["one"]
    assert (found.sure, found.possible) == (gold.sure, gold.possible)


def test_an_id_that_a_format_cannot_hold_is_explained():
    with pytest.raises(DataError, match="white space"):
        gold_bytes({"two words": dataclasses.replace(small(), id="two words")}, "naacl")


def test_the_foot_names_the_file_its_version_and_where_the_links_began(page, store, tmp_path):
    test = page(annotator="Anna B", example="example-001", second="the gold file")
    assert "annotation: none saved" in shown(test) and "compared with: the gold file" in shown(test)
    test.button(key="accept").click().run()
    path = Annotations(tmp_path / "notes").path("Anna B", "example-001")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert f"annotation: notes/{path.parent.name}/example-001.jsonl, version 1, sha256 {digest}" in shown(test)
    assert str(tmp_path) not in shown(test)


def test_choices_of_the_link_are_followed_and_misfits_noted(page, tmp_path):
    test = page(annotator="anna", example="example-001", brush="possible", weights="true", second="the gold file")
    assert test.segmented_control(key="brush").value == "possible" and test.toggle(key="weights").value
    assert test.selectbox(key="second").value == "the gold file" and not test.info
    test = page(
        annotator="anna", brush="<b>", weights="perhaps", second="nobody here", **{"from": "-1", "format": "exe"}
    )
    for note in ("brush = <b>", "weights = perhaps", "second = nobody here", "from = -1", "format = exe"):
        assert note in shown(test), note


def test_a_file_with_a_level_that_there_is_not_is_no_annotation(tmp_path):
    annotations = Annotations(tmp_path)
    path = annotations.path("anna", "one")
    annotations.save("anna", {}, Saved(small()))
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "disputed": [[0, 0, "![x](http://evil.example/x.png)", "sure"]]}))
    with pytest.raises(DataError, match="wanted two of none, possible, sure"):
        annotations.load("anna", "one")
