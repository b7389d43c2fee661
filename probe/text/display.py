"""How a token is shown: readable, and within one tokenizer never the same for two different pieces.

Space ␣, newline ⏎, tab ⇥; bytes that are no whole character ‹E2 82›; invisible or look-alike characters ‹U+200D›;
end of text ‹eos›, other special tokens ‹name›. These signs themselves, inside a text, are shown as ‹U+…›, so that
everything but a special token can be read back. Where two pieces would still look the same, the later ones get ‹#id›.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥"}
DOTTED = "◌"  # carries a combining mark that has no letter before it in its token
RESERVED = frozenset([*SIGNS.values(), "‹", "›", DOTTED])
# Blank or without a glyph, though their general category says letter, symbol or mark.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
PLAIN = re.compile(r"[ -~]*")
BYTE_PIECE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
LONE_BYTES = re.compile("[\udc80-\udcff]+")
ESCAPE = re.compile("‹(?:U\\+([0-9A-F]{4,6})|([0-9A-F]{2}(?: [0-9A-F]{2})*))›")


def display_bytes(data: bytes) -> str:
    """Display form of a byte-level token, which may begin or end inside a character."""
    return display_text(data.decode("utf-8", "surrogateescape"))


def display_text(text: str) -> str:
    """Display form of a text in which a lone byte 0xNN stands as U+DCNN (Python's ``surrogateescape``)."""
    if PLAIN.fullmatch(text):
        return text.replace(" ", SIGNS[" "])
    parts: list[str] = []
    position = 0
    for match in LONE_BYTES.finditer(text):
        parts += [_characters(text[position : match.start()]), _lone(match.group())]
        position = match.end()
    return "".join(parts) + _characters(text[position:])


def read_back(shown: str) -> bytes:
    """The bytes that a display form stands for: the inverse of :func:`display_bytes`.

    Raises:
        ValueError: a special token's display, which stands for no text.
    """
    plain = shown.replace(DOTTED, "")
    for character, sign in SIGNS.items():
        plain = plain.replace(sign, character)
    plain = ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _unlone(bytes.fromhex(m[2])), plain)
    return plain.encode("utf-8", "surrogateescape")


def _lone(run: str) -> str:
    return "‹" + " ".join(f"{ord(character) - 0xDC00:02X}" for character in run) + "›"


def _unlone(data: bytes) -> str:
    return "".join(chr(0xDC00 + byte) for byte in data)


def _characters(text: str) -> str:
    return "".join(_character(character, text[i - 1] if i else "") for i, character in enumerate(text))


@lru_cache(maxsize=1 << 16)
def _character(character: str, before: str) -> str:
    """One character after ``before``. A mark that would melt into its letter is spelled out, for é is U+00E9."""
    if character in SIGNS:
        return SIGNS[character]
    category = unicodedata.category(character)
    if category[0] in "CZ" or character in RESERVED or character in BLANK or _is_selector(character):
        return f"‹U+{ord(character):04X}›"
    if unicodedata.normalize("NFC", character) != character:  # U+212B looks as U+00C5 does
        return f"‹U+{ord(character):04X}›"
    if category[0] != "M":
        return character
    if not before or unicodedata.category(before)[0] not in "LMN":
        return DOTTED + character
    composed = unicodedata.normalize("NFC", before + character)
    return character if len(composed) == 2 else f"‹U+{ord(character):04X}›"


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


@cache
def byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's table, inverted)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted({*range(256)} - {*printable})
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def vocabulary_displays(
    pieces: Sequence[str | None], *, byte_level: bool, literal: Mapping[int, str], specials: Mapping[int, str], eos: int
) -> list[str]:
    """Display form of every id of one tokenizer; distinct ids have distinct forms.

    Args:
        pieces: raw piece of each id (None where the vocabulary has a hole).
        byte_level: pieces spell bytes in GPT-2's alphabet; otherwise ▁ is a space and <0xNN> a byte.
        literal: added tokens that stand for their text as it is.
        specials: special tokens by id.
        eos: the id that ends a text.
    """
    alphabet = byte_alphabet()
    seen: set[str] = set()
    shown: list[str] = []
    for number, piece in enumerate(pieces):
        if number == eos:
            form = "‹eos›"
        elif piece is None:
            form = f"‹#{number}›"
        elif not byte_level and BYTE_PIECE.fullmatch(piece):
            form = f"‹{piece[3:5].upper()}›"
        elif number in specials:
            form = f"‹{display_text(specials[number].strip('<|>[]') or specials[number])}›"
        elif number in literal:
            form = display_text(literal[number])
        else:
            form = _piece(piece, alphabet if byte_level else None)
        if form in seen or (form == "‹eos›" and number != eos):
            form += f"‹#{number}›"
        seen.add(form)
        shown.append(form)
    return shown


def _piece(piece: str, alphabet: Mapping[str, int] | None) -> str:
    if alphabet is not None:
        try:
            return display_bytes(bytes([alphabet[character] for character in piece]))
        except KeyError:  # not in the byte alphabet: a piece that the tokenizer can never make
            return f"‹{display_text(piece)}›"
    return display_text(piece.replace("▁", " "))
