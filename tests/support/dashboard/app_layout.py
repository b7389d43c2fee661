"""What is wrong with the layout of a page in a browser: what leaves it, lies on something else, or is cut."""

from __future__ import annotations

from typing import Any

# Boxes are those of what is seen: of a chart its drawing, of a text its letters. Pixels of slack for rounding.
SCRIPT = """
() => {
  const SLACK = 2
  const faults = []
  const named = one => (one.innerText || one.getAttribute('aria-label') || one.className?.baseVal || one.tagName)
    .toString().slice(0, 50).replaceAll('\\n', ' ')
  const seen = one => {
    const box = one.getBoundingClientRect(), style = getComputedStyle(one)
    return box.width > 0 && box.height > 0 && style.visibility !== 'hidden'
  }
  for (const part of [document.documentElement, document.querySelector('[data-testid="stMain"]')])
    if (part && part.scrollWidth > part.clientWidth + SLACK)
      faults.push(`the page scrolls sideways: ${part.scrollWidth} in ${part.clientWidth} pixels`)
  const main = document.querySelector('[data-testid="stMainBlockContainer"]')
  const edges = main.getBoundingClientRect()
  const drawn = [...main.querySelectorAll(
    '[data-testid="stVegaLiteChart"] canvas, [data-testid="stVegaLiteChart"] svg, [data-testid="stText"],' +
    '[data-testid="stMarkdown"], [data-testid="stMetric"], [data-testid="stButton"] button,' +
    '[data-testid="stDownloadButton"] button, [data-testid="stDataFrame"], [data-testid="stCode"],' +
    '[data-testid="stSelectbox"], [data-testid="stTextInput"], [data-testid="stButtonGroup"],' +
    '[data-testid="stSlider"], [data-testid="stPageLink"], [data-testid="stExpander"], [data-testid="stAlert"]')]
    .filter(one => seen(one) && !one.closest('[data-testid="stTooltipContent"]') && !one.closest('.st-key-screen'))
  const boxes = drawn.map(one => [one, one.getBoundingClientRect()])
  for (const [one, box] of boxes)
    if (box.right > edges.right + SLACK || box.left < edges.left - SLACK)
      faults.push(`leaves the page: ${named(one)} (${Math.round(box.left)} to ${Math.round(box.right)})`)
  for (let i = 0; i < boxes.length; i++)
    for (let j = i + 1; j < boxes.length; j++) {
      const [one, a] = boxes[i], [two, b] = boxes[j]
      if (one.contains(two) || two.contains(one)) continue
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left)
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
      if (wide > SLACK && high > SLACK) faults.push(`overlap: ${named(one)} | ${named(two)}`)
    }
  const words = [...main.querySelectorAll('label p, [data-testid="stMetricValue"], [data-testid="stMetricLabel"] p, ' +
    '[data-testid="stMetricDelta"], button p, h3, h5, [data-testid="stText"], [data-testid="stCaptionContainer"]')]
  for (const one of words.filter(seen)) {
    const style = getComputedStyle(one)
    if (style.overflowX !== 'visible' && one.scrollWidth > one.clientWidth + SLACK) faults.push(`cut: ${named(one)}`)
  }
  for (const group of main.querySelectorAll('[data-testid="stButtonGroup"] > div'))
    if (group.scrollWidth > group.clientWidth + SLACK) faults.push(`cut: ${named(group)}`)
  return [...new Set(faults)]
}
"""


def faults(page: Any) -> list[str]:
    """What leaves the page, lies on something else or is cut, in words; empty where all is well."""
    return page.evaluate(SCRIPT)
