"""The dashboard: `streamlit run app/main.py -- --maps MAPS [--gold GOLD]`. It reads stored maps, nothing else.

This is the server. It loads the libraries, the maps and the scores of the page's first view before anyone opens the
page (a second of the first visitor's time, November 2026); the page itself is `page.py`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import streamlit as st

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # `streamlit run` puts app/ on the path, not the project
    sys.path.insert(0, str(HERE.parent))


@contextlib.asynccontextmanager
async def lifespan(server: Any) -> AsyncIterator[None]:
    """Warm up, then serve."""
    from app.warm import warm_up  # caches find the runtime only once it has started

    await anyio.to_thread.run_sync(warm_up, sys.argv[1:])
    yield


app = st.App(str(HERE / "page.py"), lifespan=lifespan)
