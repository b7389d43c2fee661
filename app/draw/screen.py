"""The browser's side of a page: how wide it is, `/` to the search box, the link to copy, the list's place.

Streamlit's server does not know how wide a window is, and its charts of fixed width then leave the page. The one
script of the dashboard tells it, a constant of this file: it gets numbers alone and makes no markup of anything.
"""

from __future__ import annotations

import functools
from typing import Any

import streamlit as st

SIDEBAR = 340  # pixels of the side panel, set when the page is opened
USUAL = 1440  # pixels of a window that has not told its width yet
PHONE = 768  # pixels of a window up to which Streamlit folds the side panel away
PADDING, PHONE_PADDING = 28, 16  # pixels on each side of the page's content
LEAST, MOST = 280, 4000  # pixels that are believed
TOLERANCE = 16  # pixels by which the page may be off before it is drawn anew
ONE_CLICK = 5000  # milliseconds within which an address with the same query comes of the same click
COOKIE = "probe_window"
WIDTHS = "widths of pages"  # what the browser measured, by page
PAGE = "page on screen"
SCREEN, EAR, LIST = "screen", "page width", "list place"
WITHOUT_SIDEBAR = ("overview", "key_query", "try_text")

BUTTON = """<button type="button" title="Copy the link to this view" aria-label="Copy the link to this view">
<svg viewBox="0 0 24 24" width="17" height="17" fill="none" stroke="currentColor" stroke-width="2"
 stroke-linecap="round" aria-hidden="true"><path d="M10 14a5 5 0 0 0 7 0l3-3a5 5 0 0 0-7-7l-1 1"/>
<path d="M14 10a5 5 0 0 0-7 0l-3 3a5 5 0 0 0 7 7l1-1"/></svg><span role="status"></span></button>"""

# Shared with the page, not isolated: the content's margin gives way to maps, and the button stands in the header.
STYLE = f"""
@media (min-width: {PHONE + 1}px) {{
  [data-testid="stMainBlockContainer"] {{ padding-left: {PADDING}px; padding-right: {PADDING}px; }}
}}
.st-key-{SCREEN} {{ position: fixed; top: 11px; right: 46px; width: auto !important; z-index: 999995; }}
.st-key-{SCREEN} button {{ display: flex; align-items: center; gap: 6px; border: 0; border-radius: 6px; padding: 6px;
  cursor: pointer; background: var(--st-background-color); color: var(--st-text-color); font: inherit;
  font-size: 14px; }}
[data-testid="stStatusWidget"] {{ margin-right: 40px; }}
.st-key-{SCREEN} button:hover {{ background: var(--st-secondary-background-color); }}
"""

SCRIPT = f"""
let listens = false
// Streamlit writes the query of another page into the history, then its path: two steps back for one click.
function oneStep() {{
  const push = history.pushState.bind(history), replace = history.replaceState.bind(history)
  let last = -1e9
  history.pushState = (...state) => {{
    const to = new URL(state[2] ?? '', location.href)
    const same = to.search !== '' && to.search === location.search && to.pathname !== location.pathname
    const soon = performance.now() - last < {ONE_CLICK}
    last = performance.now()
    return same && soon ? replace(...state) : push(...state)
  }}
}}
function search() {{
  const found = () => [...document.querySelectorAll('input[type="search"]')].find(one => one.offsetParent !== null)
  const hidden = document.querySelector('[data-testid="stSidebar"][aria-expanded="false"]')
  const open = document.querySelector('[data-testid="stExpandSidebarButton"]')
  if (hidden && open) {{ open.click(); setTimeout(() => found()?.focus(), 400) }} else found()?.focus()
}}
function typed(event) {{
  const at = document.activeElement
  const writes = at && (at.matches('input, textarea, select') || at.isContentEditable)
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || writes) return
  event.preventDefault()
  search()
}}
async function copy(status) {{
  try {{ await navigator.clipboard.writeText(window.location.href); status.textContent = 'Link copied' }}
  catch {{ status.textContent = 'Copy it from the address bar' }}
  setTimeout(() => {{ status.textContent = '' }}, 2500)
}}
export default function ({{ data, parentElement, setStateValue }}) {{
  if (!listens) {{ document.addEventListener('keydown', typed); oneStep(); listens = true }}
  document.cookie = '{COOKIE}=' + window.innerWidth + ';path=/;SameSite=Strict;max-age=31536000'
  const button = parentElement.querySelector('button')
  if (button) button.onclick = () => copy(button.querySelector('[role=status]'))
  const block = document.querySelector('[data-testid="stMainBlockContainer"]')
  if (!block) return
  let waiting
  const measure = () => {{
    const look = getComputedStyle(block)
    const width = block.clientWidth - parseFloat(look.paddingLeft) - parseFloat(look.paddingRight)
    if (width > 0 && Math.abs(width - data.assumed) > {TOLERANCE}) {{
      document.cookie = '{COOKIE}=' + window.innerWidth + ';path=/;SameSite=Strict;max-age=31536000'
      setStateValue('width', Math.floor(width))
    }}
  }}
  const later = () => {{ clearTimeout(waiting); waiting = setTimeout(measure, 350) }}
  const observer = new ResizeObserver(later)
  observer.observe(block)
  return () => {{ clearTimeout(waiting); observer.disconnect() }}
}}
"""

SCROLL = """
let shown
export default function ({ data }) {
  if (shown === data.key) return
  shown = data.key
  let tries = 0
  const scroll = () => {
    const list = document.querySelector('[data-testid="stSidebar"] [data-testid="stDataFrame"] .dvn-scroller')
    if (!list || list.scrollHeight < data.place * data.row) {
      if (++tries < 60) setTimeout(scroll, 50)
      return
    }
    const top = data.place * data.row
    if (top < list.scrollTop || top + 2 * data.row > list.scrollTop + list.clientHeight)
      list.scrollTop = Math.max(0, top - list.clientHeight / 3)
  }
  setTimeout(scroll, 50)
}
"""


@functools.cache
def _screen() -> Any:
    return st.components.v2.component("probe_screen", html=BUTTON, css=STYLE, js=SCRIPT, isolate_styles=False)


@functools.cache
def _list() -> Any:
    return st.components.v2.component("probe_list", js=SCROLL)


def draw_screen(page: str) -> None:
    """The button in the header, and the ear for the width of ``page``; the first thing that is drawn."""
    st.session_state[PAGE] = page

    def measured() -> None:
        value = st.session_state[EAR].get("width")
        if isinstance(value, int | float) and LEAST <= value <= MOST:
            st.session_state[WIDTHS] = {**st.session_state.get(WIDTHS, {}), page: int(value)}

    with st.container(key=SCREEN):
        _screen()(data={"assumed": width()}, key=EAR, on_width_change=measured)


def width() -> int:
    """Pixels that the page's content is wide: as measured, else as a window of the visitor's usual width has it."""
    page = st.session_state.get(PAGE)
    return st.session_state.get(WIDTHS, {}).get(page) or expected(_window(), aside=page not in WITHOUT_SIDEBAR)


def expected(window: int, *, aside: bool) -> int:
    """Pixels of content in a window, with or without the side panel."""
    if window <= PHONE:
        return window - 2 * PHONE_PADDING
    return window - 2 * PADDING - (SIDEBAR if aside else 0)


def _window() -> int:
    """Pixels of the window as its cookie has it; the usual ones where there is none, or nonsense."""
    text = st.context.cookies.get(COOKIE, "")
    known = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return known if LEAST <= known <= MOST else USUAL


def draw_scroll(place: int, key: str, row: int) -> None:
    """Scroll the list of the side panel to the row ``place``, once for each ``key``; a row is ``row`` pixels high."""
    _list()(data={"place": place, "key": key, "row": row}, key=LIST)
