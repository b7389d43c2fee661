"""Colours of both themes: letters and marks stand out from their ground; maps get darker or lighter steadily."""

from __future__ import annotations

import itertools
import tomllib

import pytest

from app.draw.palette import DARK, LIGHT, Palette, on_weight
from tests.support import ROOT

THEME = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["theme"]
THEMES = {"light": LIGHT, "dark": DARK}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of ``#rrggbb``."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    """Contrast ratio (WCAG 2.2), 1 to 21."""
    low, high = sorted(map(luminance, (one, two)))
    return (high + 0.05) / (low + 0.05)


def mixed(colours: tuple[str, ...], share: float) -> str:
    """The colour at ``share`` of the way through ``colours``, as Vega mixes them."""
    place = share * (len(colours) - 1)
    first = min(int(place), len(colours) - 2)
    parts = []
    for at in (1, 3, 5):
        low, high = (int(colour[at : at + 2], 16) for colour in colours[first : first + 2])
        parts.append(round(low + (high - low) * (place - first)))
    return "#{:02x}{:02x}{:02x}".format(*parts)


def test_contrast_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("name", THEMES)
def test_letters_of_the_page_have_a_contrast_of_at_least_4_5(name: str):
    theme = THEME[name]
    names = ("backgroundColor", "secondaryBackgroundColor")
    grounds = [part[name] for part in (theme, theme["sidebar"]) for name in names]
    for letters, ground in itertools.product((theme["textColor"], theme["linkColor"], theme["primaryColor"]), grounds):
        assert contrast(letters, ground) >= 4.5, (letters, ground)


@pytest.mark.parametrize(("name", "palette"), THEMES.items())
def test_charts_follow_the_theme(name: str, palette: Palette):
    assert palette.background == THEME[name]["backgroundColor"] and palette.text == THEME[name]["textColor"]
    for colour in (palette.text, palette.gold, palette.miss, palette.pinned, *palette.series):
        assert contrast(colour, palette.background) >= 4.5, colour


@pytest.mark.parametrize("palette", THEMES.values())
def test_tokens_can_be_read_on_every_colour_of_the_running_text(palette: Palette):
    light, heavy = on_weight(palette)
    for thousandth in range(1001):
        share = thousandth / 1000
        colour, letters = mixed(palette.weights, share), heavy if share > palette.turn else light
        assert contrast(letters, colour) >= 4.5, (thousandth, colour, letters)


@pytest.mark.parametrize("palette", THEMES.values())
def test_weights_change_lightness_all_the_way_and_differences_from_the_middle(palette: Palette):
    steps = list(map(luminance, palette.weights))
    assert steps in (sorted(steps), sorted(steps, reverse=True))
    middle = len(palette.difference) // 2
    for half in (palette.difference[middle:], palette.difference[middle::-1]):
        steps = list(map(luminance, half))
        assert steps in (sorted(steps), sorted(steps, reverse=True))
    assert contrast(palette.weights[0], palette.weights[-1]) > 4.5
