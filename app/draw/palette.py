"""Colours of the charts, light and dark. Safe for the colour-blind: one hue for weights, shapes for outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import streamlit as st


@dataclass(frozen=True)
class Palette:
    """The colours of one theme.

    Attributes:
        background, text, faint: of the page, of letters on it, and of lines that are not to be read.
        weights: from weight 0 to the heaviest; its lightness rises or falls all the way.
        turn: share of the heaviest weight above which letters on its colour change between black and white, so that
            they have a contrast of 4.5 on every colour.
        difference: from "the reference is heavier" over no difference to "the other run is heavier".
        gold, miss, pinned: outlines of gold links, crosses, and the frame of what was clicked.
        halo: under a cross, so that it can be seen on any cell.
        series: one colour a run, where runs are drawn as marks; they differ in lightness too.
    """

    background: str
    text: str
    faint: str
    weights: tuple[str, ...]
    turn: float
    difference: tuple[str, ...]
    gold: str
    miss: str
    pinned: str
    halo: str
    series: tuple[str, ...]


LIGHT = Palette(
    background="#ffffff",
    text="#101721",
    faint="#d9e0e8",
    weights=("#f7fafd", "#d6e6f4", "#a6cde4", "#5fa6d1", "#2676b8", "#0b3f7d"),
    turn=0.783,
    difference=("#40004b", "#9970ab", "#e7d4e8", "#f7f8fa", "#d9f0d3", "#5aae61", "#00441b"),
    gold="#b45309",
    miss="#b91c1c",
    pinned="#a21caf",
    halo="#ffffff",
    series=("#0b3f7d", "#c2410c", "#0f766e", "#7e22ce", "#4d7c0f", "#be185d"),
)
DARK = Palette(
    background="#10161f",
    text="#e6ebf2",
    faint="#2c3847",
    weights=("#18212d", "#1f3a57", "#2a5d8f", "#4b8fcb", "#8cc0ee", "#e2f1ff"),
    turn=0.513,
    difference=("#e3b8f0", "#8a4fa3", "#3a2545", "#18212d", "#1d3a28", "#3f9a55", "#b5efb6"),
    gold="#f5a524",
    miss="#ff7b7b",
    pinned="#f0abfc",
    halo="#10161f",
    series=("#8cc0ee", "#ffb072", "#5eead4", "#d8b4fe", "#bef264", "#f9a8d4"),
)


def on_weight(palette: Palette) -> tuple[str, str]:
    """Colours of letters on the colour of a weight: up to the palette's turn, and above it."""
    return ("#000000", "#ffffff") if palette is LIGHT else ("#ffffff", "#000000")


def main_button() -> Literal["primary", "secondary"]:
    """The kind of a page's main button: primary ones have white letters, too faint on the blue of the dark theme."""
    return "primary" if current() is LIGHT else "secondary"


def current() -> Palette:
    """The palette of the theme in which the visitor sees the page."""
    return DARK if st.context.theme.type == "dark" else LIGHT
