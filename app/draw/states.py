"""What is drawn when there is nothing to show, when something is wrong, and at the foot of every page.

Messages may quote tokens, ids and paths, so they go through st.code, which renders no Markdown and no HTML.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from app.data.source import Source
from app.draw.list import Run
from app.server import cache, rule
from app.server.arguments import ROOT
from app.server.context import Context
from probe.errors import ProbeError
from probe.files import MANIFEST, sha256_of
from probe.version import __version__

REASONS = {
    2: "the command line cannot be carried out",
    3: "bad data",
    4: "bad or damaged map store",
    5: "non-finite numbers",
    6: "disk",
    7: "refused as unsafe",
}


def draw_no_maps(message: str) -> None:
    """The first page anyone sees who has no maps yet: how to make some."""
    st.subheader("No attention maps here yet")
    draw_plain(message)
    st.markdown("Make the bundled example's maps, scores and pictures, then open this page again:")
    st.code("make demo\nmake app", language="bash")
    st.markdown("Or extract maps of your own checkpoint and texts:")
    st.code(
        "python -m probe extract --checkpoint DIR --data FILE.jsonl --out MAPS\n"
        "streamlit run app/main.py -- --maps MAPS --gold GOLD.jsonl",
        language="bash",
    )


def draw_problem(error: ProbeError, what: str) -> None:
    """A problem that stops the page: what it is, the message as text, and the exit code a command would give."""
    code = error.exit_code
    st.error(f"{what} Exit code of the commands for this: {code} ({REASONS.get(code, 'unexpected')}).")
    draw_plain(str(error))
    st.markdown("Once it is put right, reload this page. To make the bundled maps again: `make demo`.")


def maps_or_message(context: Context) -> Source | None:
    """The opened maps; where there are none, None and a message in their place."""
    if context.problem is not None:
        draw_problem(context.problem, "These maps cannot be shown.")
    elif context.source is None:
        draw_no_maps(f"looked for a map store in: {context.maps}")
    elif not len(context.source.store):
        draw_no_maps("this map store holds no maps")
    else:
        return context.source
    return None


def draw_gold_problem(error: ProbeError | None) -> None:
    """Gold that cannot be used: the maps are shown without it. Nothing where there is no such problem."""
    if error is None:
        return
    st.warning(
        "This gold cannot be used: the maps that it is for are shown without outlines and scores.",
        icon=":material/rule:",
    )
    draw_plain(str(error))


def draw_no_gold(error: ProbeError | None, maps: int) -> None:
    """Nothing to score by."""
    draw_gold_problem(error)
    st.subheader("No gold to score the maps by")
    st.markdown(f"The {maps:,} maps can be looked at: open **Browse**. To score them, start with gold:")
    st.code("streamlit run app/main.py -- --maps MAPS --gold GOLD.jsonl", language="bash")
    st.markdown(
        "The switch above scores them against the span rule instead. "
        "Gold is made on the page **Annotate**, or by people elsewhere, in any format that docs/gold.md names."
    )


def draw_plain(text: str) -> None:
    """Text of unknown origin, as it is."""
    st.code(sendable(text), language=None, wrap_lines=True)


def sendable(text: str) -> str:
    """The text with a mark for halves of characters, which broken files and names have and no page can send."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def draw_notes(notes: Sequence[str]) -> None:
    """Things of the link (URL) that could not be followed."""
    if notes:
        st.info("These parts of the link do not fit the maps here and were left out:", icon=":material/link_off:")
        st.text("\n".join(notes))


def draw_footer(source: Source, run: Run, gold: Path | None) -> None:
    """Where the numbers come from; the names of folder and file only, never their paths."""
    store, provenance = source.store, source.store.provenance
    facts = {
        "maps": f"{store.path.name}, {len(store)} maps, schema version {store.manifest['schema_version']}",
        "gold": "none; links of the span rule" if rule.is_on() else gold.name if gold and source.golds else "none",
        "maps shown": f"{run.checkpoint}, {run.direction}",
        "normalisation": run.normalisation,
        "version": f"maps by probe {provenance.get('version', '?')}",
        "made": _made(source),
        "signature of the maps": str(provenance.get("signature", "")),
        "signature of the scores": cache.signature(source, run.checkpoint, run.direction, run.normalisation),
    }
    draw_provenance(facts)


def _made(source: Source) -> str:
    """When the maps were stored, and by which revision where the store says one."""
    when = datetime.fromtimestamp((source.store.path / MANIFEST).stat().st_mtime, UTC)
    revision = source.store.provenance.get("revision")
    return f"{when:%Y-%m-%d}" + (f", revision {str(revision)[:12]}" if revision else "")


def draw_provenance(facts: Mapping[str, object]) -> None:
    """The foot of a page: where what it shows comes from, a line a fact; facts without a value are left out."""
    facts = {**facts, "page": f"by probe {__version__}{revision()}, {datetime.now(UTC):%Y-%m-%d}"}
    st.divider()
    st.caption("Provenance")
    st.text(sendable("\n".join(f"{name}: {' '.join(str(value).split())}" for name, value in facts.items() if value)))


@functools.cache
def revision() -> str:
    """The git revision of the code, ', revision 0123456789ab'; empty where it is no checkout."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return ""
    command = [git, "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    return f", revision {found.stdout.strip()}" if found.returncode == 0 and found.stdout.strip() else ""


def digest(path: Path) -> str:
    """The first letters of a file's SHA-256, as signatures have them."""
    return sha256_of(path)[:8]


def draw_no_match(text: str) -> None:
    """Nothing left after searching and filtering."""
    st.subheader("No example matches")
    draw_plain(text or "this category")
    st.markdown("Clear the search box or choose another category on the left.")


def draw_one_run(checkpoint: str) -> None:
    """Nothing to compare with."""
    st.subheader("Only one run in this map store")
    draw_plain(checkpoint)
    st.markdown("Extract the maps of two or more checkpoints into one store, and open that:")
    st.code("python -m probe extract --checkpoint DIR DIR --data FILE.jsonl --out MAPS", language="bash")


def draw_no_run(checkpoint: str, direction: str) -> None:
    """A checkpoint without maps in this direction."""
    st.subheader("No maps of this checkpoint in this direction")
    draw_plain(f"{checkpoint}, {direction}")
    st.markdown("Choose another direction, or extract both: `python -m probe extract … --direction both`.")
