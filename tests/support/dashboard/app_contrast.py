"""Which letters of a page are too faint, as a browser paints them: colours, transparency, grounds; WCAG 2.2."""

from __future__ import annotations

from typing import Any

# Texts in charts and tables are on canvases, whose colours `test_app_theme.py` checks; disabled controls are exempt.
# A slider's numbers lie in the box of its track, over whose colour they are not painted.
FAINT = """(least) => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const ink = canvas.getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    ink.clearRect(0, 0, 1, 1); ink.fillStyle = colour; ink.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = ink.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, under) => [0, 1, 2].map(k => top[k] * top[3] + under[k] * (1 - top[3])).concat([1]);
  const parents = one => one ? [one, ...parents(one.parentElement)] : [];
  const ground = one => parents(one).map(part => rgba(getComputedStyle(part).backgroundColor))
    .reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
  const opacity = one => parents(one).reduce((all, part) => all * parseFloat(getComputedStyle(part).opacity), 1);
  const luminance = colour => colour.slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, k) => sum + [0.2126, 0.7152, 0.0722][k] * part, 0);
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), one = walk.currentNode.parentElement;
    const skipped = 'style, script, noscript, canvas, svg, [disabled], [aria-disabled=true], [data-testid=stSlider]';
    if (!text || one.closest(skipped) || getComputedStyle(one).visibility == 'hidden') continue;
    const box = one.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const under = ground(one), colour = rgba(getComputedStyle(one).color);
    colour[3] *= opacity(one);
    const [low, high] = [luminance(over(colour, under)), luminance(under)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < least) found.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def faint(page: Any, least: float = 4.5) -> list[str]:
    """The texts on screen whose contrast is below ``least``, each with its ratio."""
    return page.evaluate(FAINT, least)
