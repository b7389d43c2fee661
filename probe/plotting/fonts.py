"""Which characters the installed fonts can draw, and how wide a label is."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

# DejaVu Sans Mono comes with matplotlib and tells l, I and 1 apart; the others are used where they are installed.
MONO = "DejaVu Sans Mono"
FALLBACKS = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans CJK TC", "Source Han Sans",
    "WenQuanYi Zen Hei", "IPAGothic", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS", "Noto Emoji", "Symbola",
    "Segoe UI Emoji", "Segoe UI Symbol", "Apple Symbols", "Noto Sans Symbols2", "Noto Sans Arabic", "Noto Sans Thai",
    "Noto Sans Devanagari", "Noto Sans Hebrew", "Noto Sans", "FreeSans", "FreeSerif", "Unifont",
)  # fmt: skip


@lru_cache(maxsize=1)
def families() -> tuple[str, ...]:
    """Installed families, the first that has a glyph draws it."""
    installed = {font.name for font in fontManager.ttflist}
    return (MONO, *(name for name in FALLBACKS if name in installed))


@lru_cache(maxsize=1)
def glyphs() -> frozenset[int]:
    """Code points that at least one of the families draws."""
    return frozenset().union(*(get_font(path).get_charmap() for path in _files()))


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    return tuple(findfont(FontProperties(family=name)) for name in families())


@lru_cache(maxsize=1)
def _mono() -> frozenset[int]:
    return frozenset(get_font(_files()[0]).get_charmap())


def font(size: float, text: str | None = None, *, bold: bool = False) -> FontProperties:
    """The families at ``size`` points; just the first, by its file, if that draws all of ``text``.

    Looking six families up takes longer than drawing a token (0.2 of all time, November 2026).
    """
    if text is not None and not bold and _mono().issuperset(map(ord, text)):
        return FontProperties(fname=_files()[0], family=MONO, size=size)  # the name is what an svg with text keeps
    return FontProperties(family=list(families()), size=size, weight="bold" if bold else "normal")


@lru_cache(maxsize=1 << 16)
def em_width(text: str) -> float:
    """Width of ``text`` in multiples of the font size."""
    face = get_font(_files())
    face.set_size(100, 72)
    face.set_text(text)
    return face.get_width_height()[0] / 6400
