"""README's tree of rooms and docs/files.md, made from the files: `python -m tests.house.readme_tree [--write]`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

README, FILES = ROOT / "README.md", ROOT / "docs/files.md"
# folder -> what it holds, in the order of both trees; in docs/files.md its files follow with their own first lines
FOLDERS = {
    "probe/": "the library; one room for each noun of the flow, and at its top the doors",
    "probe/text/": "a text: its examples, its tokens on both sides, the bytes they cover",
    "probe/maps/": "attention maps, in memory and on disk",
    "probe/gold/": "manual alignments: read, checked, compared, moved",
    "probe/aligners/": "alignments of public trainers and of our own, as plain functions",
    "probe/pairing/": "two tokenizers, before any training",
    "probe/scoring/": "numbers: maps against gold, intervals, tables",
    "probe/plotting/": "pictures",
    "probe/notebook/": "maps and gold in a notebook",
    "probe/models/": "students and teachers, the attention module, checkpoints",
    "probe/extraction/": "from a checkpoint to maps",
    "probe/distillation/": "training",
    "probe/distillation/students/": "where a student begins: new, transplanted, LoRA",
    "probe/distillation/losses/": "the objectives, as plain functions",
    "probe/distillation/dry_run/": "a recipe looked at before it runs",
    "probe/evaluation/": "generated responses, and their scores",
    "probe/reference/": "outputs of the public research code, imported",
    "probe/commands/": "`python -m probe …`: one file a command",
    "probe/recipes/": "one runnable training a file",
    "app/": "the dashboard; one file a page",
    "app/data/": "what pages show, as plain data",
    "app/server/": "what runs behind the pages: caches, processes, turns",
    "app/draw/": "what is drawn on the pages",
    "analysis/": "batch jobs; one file a job",
    "analysis/report/": "the HTML report",
    "analysis/heatmaps/": "the export of heatmaps",
    "analysis/study/": "methods over seeds and texts: the runner, statistics, tables",
    "analysis/gold/": "the shipped gold: its texts, how it was made",
    "tests/": "mirrors the rooms",
    "tests/support/": "what several tests use",
    "tests/support/dashboard/": "the dashboard in tests: pages, stores, a browser",
    "tests/house/": "the house holds: rooms, README, docs, numbers",
    "tests/golden/": "frozen numbers of an independent implementation",
    "tests/parity/": "campaign: against the golden numbers",
    "tests/laws/": "campaign: every property on new random examples",
    "tests/faults/": "campaign: kills, disks, damage, NaN",
    "tests/coverage/": "campaign: do intervals hold the truth?",
    "tests/hostile/": "malicious folders",
    "tests/app_payloads/": "campaign: hostile names on every page",
    "tests/load_dashboard/": "campaign: many visitors at once",
    "tests/bench/": "campaign: speed and memory",
    "docs/": "these pages, and README's pictures",
    "checkpoints/": "sft, dskd-cma, dskd-cma-ga: trained here, each with a model card",
}
INSIDE = ("tests/", "probe/distillation/")  # README shows each of these as one line
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
}


def first_line(file: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.sub(r"(:\w+:)?`+", "`", text.split("\n")[0]).rstrip(".")


def tracked() -> list[str]:
    """Paths that git knows and that are there."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in done.stdout.splitlines() if (ROOT / path).is_file()]


def folders_of_code() -> set[str]:
    """Folders of tracked Python files; folders of tests that mirror a room are named by `tests/` alone.

    setup.py, which says what a wheel holds, has none.
    """
    folders = {f"{Path(path).parent.as_posix()}/" for path in tracked() if path.endswith(".py") and "/" in path}
    mirrors = ("tests/probe/", "tests/app/", "tests/analysis/")
    return {folder for folder in folders - {"./"} if not folder.startswith(mirrors)}  # ./ holds setup.py


def lines_of(folder: str) -> dict[str, str]:
    """Name -> line of a folder's tracked Python files that hold code, tests of pytest left out."""
    names = [path[len(folder) :] for path in tracked() if path.startswith(folder) and path.endswith(".py")]
    files = [ROOT / folder / name for name in names if "/" not in name and not name.startswith("test_")]
    code = [file for file in files if "import" in file.read_text(encoding="utf-8")]
    return dict(sorted({**{file.name: first_line(file) for file in code}, **OTHERS.get(folder, {})}.items()))


def rooms() -> str:
    """README's block, fences included: a line a room, indented by depth."""
    shown = [folder for folder in FOLDERS if not any(folder != one and folder.startswith(one) for one in INSIDE)]
    names = {folder: "  " * (folder.count("/") - 1) + folder.rstrip("/").rpartition("/")[2] + "/" for folder in shown}
    width = max(map(len, names.values())) + 2
    return "```text\n" + "\n".join(f"{names[folder]:<{width}}{FOLDERS[folder]}" for folder in shown) + "\n```"


def files() -> str:
    """The page docs/files.md."""
    made_by = "python -m tests.house.readme_tree --write"
    head = f"# Files\n\nEvery file in one line, its own first. `{made_by}` makes this page.\n"
    blocks = [head]
    for folder, what in FOLDERS.items():
        blocks.append(f"\n## `{folder}`\n\n{what[0].upper()}{what[1:]}.\n")
        lines = [f"- `{name}`: {line}\n" for name, line in lines_of(folder).items()]
        blocks.append("\n" + "".join(lines) if lines else "")
    return "".join(blocks)


def main(argv: list[str] | None = None) -> int:
    """Print both, or write them."""
    if "--write" not in (sys.argv[1:] if argv is None else argv):
        print(rooms(), files(), sep="\n\n")
        return 0
    text, pattern = README.read_text(encoding="utf-8"), r"(<!-- rooms: begin -->\n).*?(<!-- rooms: end -->)"
    README.write_text(re.sub(pattern, lambda m: f"{m[1]}{rooms()}\n{m[2]}", text, flags=re.DOTALL), encoding="utf-8")
    FILES.write_text(files(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
