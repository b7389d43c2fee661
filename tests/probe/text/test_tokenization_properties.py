"""Byte spans against a brute-force oracle, and laws of PairTokenizer, over random Unicode and seven tokenizers."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from probe.errors import DataError
from probe.text.display import byte_alphabet, display_bytes, read_back
from probe.text.examples import Example
from probe.text.tokenization import PairTokenizer, TokenizedSide
from tests.support.strategies import examples, law, texts
from tests.support.tokenizers_zoo import BY_NAME, ZOO, Zoo

LAW = law(250)
Interval = tuple[int, int]


@cache
def pair_tokenizer(student: str, teacher: str = "byte-level", max_length: int | None = None) -> PairTokenizer:
    return PairTokenizer(BY_NAME[student].tokenizer, BY_NAME[teacher].tokenizer, max_length=max_length)


def student_side(zoo: Zoo, example: Example) -> TokenizedSide:
    return pair_tokenizer(zoo.name).encode([example])[0].student


# The oracle. It never looks at the tokenizer's offsets: it spells the text as the tokenizer's normaliser would, one
# atom (a byte or a letter) at a time, each with the characters it came from, and lets the pieces eat the atoms up.


@dataclass(frozen=True)
class Atom:
    symbol: object  # an int (byte) or a letter
    origin: Interval | None  # characters of the text; None for an added space


def letter_groups(text: str) -> list[Interval]:
    """Letters with the marks behind them (and Hangul jamo or voicing marks that compose with them)."""
    groups: list[Interval] = []
    for i, character in enumerate(text):
        start = groups[-1][0] if groups else i
        whole = unicodedata.normalize("NFKC", text[start : i + 1])
        apart = unicodedata.normalize("NFKC", text[start:i]) + unicodedata.normalize("NFKC", character)
        composes = unicodedata.category(character)[0] == "L" and whole != apart
        if groups and (unicodedata.category(character)[0] == "M" or composes):
            groups[-1] = (start, i + 1)
        else:
            groups.append((i, i + 1))
    return groups


def normal(zoo: Zoo, text: str) -> str:
    if zoo.spelling == "wordpiece":
        return bert_normal(text)
    return unicodedata.normalize(zoo.form, text) if zoo.form else text


def bert_normal(text: str) -> str:
    """BERT uncased, as its paper's code has it: clean, strip accents (NFD without Mn), lower."""
    kept = []
    for character in text:
        if character in "\t\n\r" or unicodedata.category(character) in ("Zs", "Zl", "Zp"):
            kept.append(" ")
        elif character not in "\x00\ufffd" and unicodedata.category(character)[0] != "C":
            kept.append(character)
    decomposed = unicodedata.normalize("NFD", "".join(kept))
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn").lower()


def atoms_of(zoo: Zoo, text: str) -> list[Atom]:
    atoms: list[Atom] = []
    for start, end in letter_groups(text):
        changed = normal(zoo, text[start:end]) != text[start:end]
        parts = [(start, end)] if changed else [(i, i + 1) for i in range(start, end)]
        for low, high in parts:
            atoms += [Atom(symbol, (low, high)) for symbol in symbols(zoo, normal(zoo, text[low:high]))]
    spaced = zoo.added_space == "always" or (
        zoo.added_space == "unless there" and not normal(zoo, text).startswith(" ")
    )
    return [Atom(ord(" "), None), *atoms] if spaced and text else atoms


def symbols(zoo: Zoo, text: str) -> list[object]:
    if zoo.spelling == "wordpiece":
        return [letter for letter in text if not letter.isspace()]
    return list(text.encode("utf-8"))


def spelled(zoo: Zoo, piece: str) -> list[object]:
    if zoo.spelling == "wordpiece":
        return list(piece.removeprefix("##"))
    if zoo.spelling == "bytes":
        return [byte_alphabet()[character] for character in piece]
    if piece.startswith("<0x") and len(piece) == 6:
        return [int(piece[3:5], 16)]
    return list(piece.replace("▁", " ").encode("utf-8"))


def oracle_intervals(zoo: Zoo, text: str, pieces: list[str]) -> list[Interval]:
    """The characters that each piece of the joint text covers, before units are formed."""
    atoms, at, intervals = atoms_of(zoo, text), 0, []
    for piece in pieces:
        wanted = spelled(zoo, piece)
        eaten = atoms[at : at + len(wanted)]
        assert [atom.symbol for atom in eaten] == wanted, f"the oracle cannot spell {piece!r} at atom {at} of {text!r}"
        at += len(wanted)
        origins = [atom.origin for atom in eaten if atom.origin]
        here = next((atom.origin[0] for atom in atoms[at:] if atom.origin), len(text))
        intervals.append((min(o[0] for o in origins), max(o[1] for o in origins)) if origins else (here, here))
    assert at == len(atoms), f"the pieces leave {len(atoms) - at} atoms of {text!r} over"
    return intervals


def oracle_units(intervals: list[Interval]) -> list[Interval]:
    """Merge whatever shares a character until nothing changes."""
    spans = list(intervals)
    changed = True
    while changed:
        changed = False
        for i, a in enumerate(spans):
            for j, b in enumerate(spans):
                if a != b and a[0] < a[1] and b[0] < b[1] and max(a[0], b[0]) < min(a[1], b[1]):
                    a = spans[i] = spans[j] = (min(a[0], b[0]), max(a[1], b[1]))
                    changed = True
    return spans


def oracle_spans(zoo: Zoo, example: Example, pieces: list[str]) -> list[Interval]:
    text, border = example.prompt + example.output, len(example.prompt)
    intervals = oracle_intervals(zoo, text, pieces)
    own = [low >= border or high > border for low, high in intervals]  # by its own characters, not by its unit's
    kept = [unit for unit, mine in zip(oracle_units(intervals), own, strict=True) if mine]

    def byte_at(position: int) -> int:
        return len(text[border : max(position, border)].encode("utf-8"))

    return [(byte_at(low), byte_at(high)) for low, high in kept]


def text_pieces(zoo: Zoo, text: str) -> list[str]:
    """Pieces of the whole text, special tokens of the post-processor left out, by another way than the product's."""
    return [zoo.tokenizer.id_to_token(number) for number in zoo.tokenizer.encode(text, add_special_tokens=False).ids]


@pytest.mark.parametrize("zoo", ZOO, ids=lambda zoo: zoo.name)
@law(250, cases=len(ZOO))
@given(example=examples())
@example(example=Example("it", "e", ("\u0301",)))  # the marker before the prompt's letter is none of the response's
def test_spans_are_those_of_the_oracle(zoo: Zoo, example: Example) -> None:
    text = example.prompt + example.output
    assume(not re.search(r"</?s>|<unk>|<0x..>|<\|endoftext\|>|\[(PAD|UNK|CLS|SEP)\]", text))  # spelled as themselves
    pieces = text_pieces(zoo, text)
    axis = student_side(zoo, example).axis
    if "[UNK]" not in pieces:  # an unknown word spells nothing; see the law on coverage
        assert list(axis.spans[:-1]) == oracle_spans(zoo, example, pieces)
    assert axis.spans[-1] == (len(example.output.encode("utf-8")),) * 2


zoos = st.sampled_from(ZOO)


@LAW
@given(student=zoos, teacher=zoos, example=examples())
def test_both_sides_are_whole(student: Zoo, teacher: Zoo, example: Example) -> None:
    pair = pair_tokenizer(student.name, teacher.name).encode([example])[0]
    assert (pair.prompt, pair.text, pair.truncated) == (example.prompt, example.output, False)
    data = pair.text.encode("utf-8")
    for zoo, side in ((student, pair.student), (teacher, pair.teacher)):
        spans = side.axis.spans
        assert all(0 <= low <= high <= len(data) for low, high in spans)
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in zip(spans, spans[1:], strict=False)), "not in order"
        assert "".join(data[low:high].decode("utf-8") for low, high in spans) is not None  # whole characters
        assert spans[-1] == (len(data), len(data)) and side.axis.tokens[-1] == "‹eos›"
        assert 0 <= side.start < len(side.ids) - 1, "the first target has no input"
        assert side.targets == side.axis.ids and len(side.inputs) == len(side.targets) == len(spans)
        joint = zoo.tokenizer.encode(example.prompt + example.output, add_special_tokens=False).ids
        assert list(side.ids[:-1])[-len(joint) :] == joint if joint else True, "not the tokens of the joint text"
        assert len(side.ids) - 1 - len(joint) in (0, 1), "more than one token in front"


@LAW
@given(zoo=zoos, example=examples())
def test_spans_cover_what_the_tokenizer_keeps(zoo: Zoo, example: Example) -> None:
    spans = student_side(zoo, example).axis.spans
    covered = {byte for low, high in spans for byte in range(low, high)}
    text, border = example.prompt + example.output, len(example.prompt)
    for low, high in letter_groups(text):
        kept = zoo.spelling != "wordpiece" or normal(zoo, text[low:high]).strip()
        if kept and low >= border:
            start = len(text[border:low].encode("utf-8"))
            assert set(range(start, start + len(text[low:high].encode("utf-8")))) <= covered, text[low:high]


@LAW
@given(zoo=st.sampled_from(["byte-level", "byte-level prefix"]), example=examples())
def test_tokens_of_a_byte_level_unit_spell_its_slice(zoo: str, example: Example) -> None:
    axis = student_side(BY_NAME[zoo], example).axis
    data = example.output.encode("utf-8")
    units: dict[Interval, bytes] = {}
    for shown, span in zip(axis.tokens[:-1], axis.spans[:-1], strict=True):
        if span[0] < span[1]:
            units[span] = units.get(span, b"") + read_back(shown)
    assert b"".join(data[low:high] for low, high in units) == data
    for number, ((low, high), spelled_bytes) in enumerate(units.items()):
        if number:
            assert spelled_bytes == data[low:high]
        else:  # the first unit may begin in the prompt (or with the added space); later parts of it may not
            assert spelled_bytes.endswith(data[low:high]) or data[low:high].endswith(spelled_bytes)


@LAW
@given(student=zoos, teacher=zoos, several=st.lists(examples(max_parts=5), min_size=2, max_size=4))
def test_batch_mates_change_nothing(student: Zoo, teacher: Zoo, several: list[Example]) -> None:
    tokenizer = pair_tokenizer(student.name, teacher.name)
    assert tokenizer.encode(several) == [tokenizer.encode([example])[0] for example in several]


@LAW
@given(student=zoos, teacher=zoos, example=examples(max_parts=16), length=st.sampled_from([12, 16, 24]))
def test_truncation_cuts_both_sides_at_the_same_byte(student: Zoo, teacher: Zoo, example: Example, length: int) -> None:
    whole = pair_tokenizer(student.name, teacher.name).encode([example])[0]
    try:
        pair = pair_tokenizer(student.name, teacher.name, length).encode([example])[0]
    except DataError as error:
        assert "no character of the response fits" in str(error)
        reject()
    longest = max(len(whole.student.ids), len(whole.teacher.ids))
    assert pair.truncated == (longest > length)
    if not pair.truncated:
        assert pair == whole
        return
    assert example.output.startswith(pair.text) and example.prompt.endswith(pair.prompt) and pair.text
    again = pair_tokenizer(student.name, teacher.name).encode([Example("it", pair.prompt, (pair.text,))])[0]
    ended = pair.student.ids == again.student.ids
    assert pair.text == example.output or not ended, "EOS stands where the text goes on"
    for zoo, side, full in ((student, pair.student, again.student), (teacher, pair.teacher, again.teacher)):
        assert len(side.ids) <= length
        assert side.ids == (full.ids if ended else full.ids[:-1]), "not the tokens of the text that is left"
        assert side.axis.spans == (full.axis.spans if ended else full.axis.spans[:-1])
        if zoo.spelling != "wordpiece":
            assert side.axis.spans[-1][1] == len(pair.text.encode("utf-8"))


@LAW
@given(data=st.binary(max_size=12))
def test_display_of_bytes_reads_back(data: bytes) -> None:
    shown = display_bytes(data)
    assert read_back(shown) == data
    bare = re.sub("‹[0-9A-F ]+›", "", shown)
    assert all(unicodedata.category(character)[0] not in "CZ" for character in bare), "something invisible is shown"


@LAW
@given(text=texts())
def test_display_of_text_reads_back(text: str) -> None:
    assert read_back(display_bytes(text.encode("utf-8"))).decode("utf-8") == text


@pytest.mark.parametrize("zoo", ZOO, ids=lambda zoo: zoo.name)
def test_distinct_pieces_have_distinct_displays(zoo: Zoo) -> None:
    pieces, displays = pair_tokenizer(zoo.name)._student._vocabulary
    assert len(set(displays)) == len(displays) == len(set(pieces))
