"""How much of a text can matter for a number of tokens: a text of megabytes is cut before it is tokenized."""

from __future__ import annotations

import re

LONGEST_TOKEN = 64  # characters; a text has more only where it is spaces or rules, line after line
SPACE = re.compile(r"(?<=\S)\s(?=\S)")  # between two words


def beginning_dropped(text: str, most: int) -> str:
    """``text`` or, where that is far above ``most`` tokens, an end of it that begins with a space between two words.

    Only the last tokens of a long prompt are kept, and those do not depend on words so far before: a text of megabytes
    need not be tokenized for them.
    """
    start = len(text) - LONGEST_TOKEN * most
    if start <= 0:
        return text
    space = SPACE.search(text, start)
    return text[space.start() if space and space.start() < start + LONGEST_TOKEN else start :]
