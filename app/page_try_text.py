"""Try a text: paste a prompt and a response, and see the map that a checkpoint makes of it, on this machine alone."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.data.training_runs import settings_line
from app.draw import links, palette
from app.draw import single as draw_single
from app.draw import states as draw_states
from app.draw.list import DIRECTIONS, one_of
from app.server import live
from app.server.context import Context
from app.server.turns import PAGES
from probe.errors import DataError, ProbeError
from probe.files import MANIFEST
from probe.maps.attention_map import AttentionMap

PROMPT = "Why do leaves change colour in autumn?\n"
RESPONSE = "When the days grow short, trees stop making chlorophyll, and yellow pigments finally show."
SUBMITTED = "tried text"  # what was last asked for: checkpoint, prompt and response


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    st.markdown("### Which map does a checkpoint make of your text?")
    names = live.checkpoint_names(context.checkpoints)
    if not names:
        return draw_no_checkpoints(context)
    notes = links.note_misfits("try", {"checkpoint": names, "direction": DIRECTIONS})
    asked = draw_form(names)
    if asked is None:
        draw_states.draw_notes(notes)
        st.caption("Press the button: the map appears here, with the links of the span rule outlined as gold.")
        return
    directions = list(DIRECTIONS)
    chosen = st.segmented_control(
        "Direction", directions, default=directions[0], required=True, key="direction", bind="query-params",
        help="t2s: each student row sums to 1. s2t: each teacher column does.",
    )  # fmt: skip
    try:
        with PAGES.aside():  # a checkpoint takes seconds to load
            maps, gold = live.maps_of(context.checkpoints, *asked)
    except DataError as error:
        st.warning("This text has no map.", icon=":material/edit_note:")
        return draw_states.draw_plain(str(error))
    except ProbeError as error:
        return draw_states.draw_problem(error, "This checkpoint cannot be used.")
    amap = maps[one_of(chosen, directions)]
    if amap.truncated:
        st.warning(f"The text was cut: a side has at most {live.MOST_TOKENS} tokens.", icon=":material/content_cut:")
    draw_single.draw_single(amap, gold, key="try", notes=notes)
    draw_states.draw_provenance(facts(context.checkpoints / asked[0], amap))


def facts(checkpoint: Path, amap: AttentionMap) -> dict[str, object]:
    """Which checkpoint made the map, and of what."""
    return {
        "checkpoint": f"{checkpoint.name}, manifest sha256 {draw_states.digest(checkpoint / MANIFEST)}",
        "trained with": settings_line(checkpoint),
        "map": f"{amap.method}, {amap.direction}, {amap.normalisation} normalisation, "
        f"{len(amap.student)} × {len(amap.teacher)} targets",
        "text": f"typed in, not stored; at most {live.MOST_TOKENS} tokens a side",
        "outlined": "links of the span rule",
    }


def draw_form(names: list[str]) -> tuple[str, str, str] | None:
    """The texts and the checkpoint that were last asked for; None before that. Texts never go into the link."""
    with st.form("text"):
        left, right = st.columns(2)
        prompt = left.text_area(
            "Prompt", PROMPT, key="prompt", height=90, max_chars=live.MOST_LETTERS,
            help="A map covers the response only; of the prompt, the last token matters.",
        )  # fmt: skip
        response = right.text_area("Response", RESPONSE, key="response", height=90, max_chars=live.MOST_LETTERS)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.selectbox("Checkpoint", names, key="checkpoint", bind="query-params", width=260)
            if st.form_submit_button("Show the map", type=palette.main_button(), icon=":material/grid_on:"):
                links.put(pin=None, **{"from": None})
                st.session_state[SUBMITTED] = (one_of(name, names), str(prompt or ""), str(response or ""))
        st.caption("Nothing leaves this machine: the text is neither sent nor saved, and is not part of the link.")
    return st.session_state.get(SUBMITTED)


def draw_no_checkpoints(context: Context) -> None:
    """No checkpoint to make maps with: how to get one."""
    st.subheader("No checkpoint with projectors here")
    draw_states.draw_plain(f"looked in: {context.checkpoints}")
    st.markdown("Train one, or name the folder in which yours lie:")
    st.code(
        "python -m probe train probe/recipes/dskd-cma.yaml --out CHECKPOINTS/mine\n"
        "streamlit run app/main.py -- --maps MAPS --checkpoints CHECKPOINTS",
        language="bash",
    )
