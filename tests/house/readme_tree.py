"""README's tree, made from the files' own first lines: `python -m tests.house.readme_tree [--write]`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

README = ROOT / "README.md"
# folder -> what it is; its Python files follow with the first line of their docstrings
FOLDERS = {
    "probe/": "the library",
    "probe/reference/": "outputs of the public research code, imported",
    "probe/evaluation/": "generated responses, and their scores",
    "probe/plotting/": "pictures",
    "probe/distillation/": "training",
    "app/": "the dashboard",
    "analysis/": "batch jobs",
    "analysis/gold/": "manual alignments and their texts",
    "tests/": "mirrors the rooms",
}
# what is not Python: folder -> name -> line
OTHERS = {
    "analysis/gold/": {
        "CHANGES.md": "how many links were changed, where and why",
        "GUIDELINES.md": "how an annotator decides",
        "corrections.jsonl": "the edits that people made to the span rule, with reasons",
        "gold.jsonl": "manual alignments of the shipped pair",
        "prefill.jsonl": "the span rule's links, before correction",
        "probe_set.jsonl": "119 texts in 16 categories, written for this project",
    },
    "tests/": {"golden/": "frozen numbers of an independent implementation"},
}
ALONE = {
    "probe/recipes/": "one runnable training a file",
    "checkpoints/": "sft, dskd-cma, dskd-cma-ga: trained here, each with a model card",
}


def first_line(file: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.sub(r"(:\w+:)?`+", "`", text.split("\n")[0]).rstrip(".")


def lines_of(folder: str) -> dict[str, str]:
    """Name -> line of a folder's tracked Python files that hold code, tests of pytest left out."""
    done = subprocess.run(["git", "ls-files", f"{folder}*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / path for path in done.stdout.split() if "/" not in path[len(folder) :]]
    code = [file for file in files if file.is_file() and "import" in file.read_text(encoding="utf-8")]
    found = {file.name: first_line(file) for file in code if not file.name.startswith("test_")}
    return dict(sorted({**found, **OTHERS.get(folder, {})}.items()))


def tree() -> str:
    """The whole block, fences included."""
    blocks = []
    for folder, what in FOLDERS.items():
        lines = lines_of(folder)
        if not lines:
            continue
        width = max(map(len, lines)) + 2
        blocks.append("\n".join([f"{folder:<22}{what}", *(f"  {n:<{width}}{line}" for n, line in lines.items())]))
    blocks += [f"{name:<22}{what}" for name, what in ALONE.items()]
    return "```text\n" + "\n\n".join(blocks) + "\n```"


def main(argv: list[str] | None = None) -> int:
    """Print the tree, or put it into README."""
    if "--write" not in (sys.argv[1:] if argv is None else argv):
        print(tree())
        return 0
    text = README.read_text(encoding="utf-8")
    pattern = r"(<!-- tree: begin -->\n).*?(\n<!-- tree: end -->)"
    README.write_text(re.sub(pattern, lambda m: m[1] + tree() + m[2], text, flags=re.DOTALL), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
