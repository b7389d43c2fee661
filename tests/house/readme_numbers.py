"""README's numbers, made from the demo's reports: `python -m tests.house.readme_numbers [--write]`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tests.support import ROOT

BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"
ROWS = ("dskd-cma", "dskd-cma-ga", "untrained", "baseline:uniform", "baseline:diagonal", "baseline:span-rule",
        "baseline:position-free")  # fmt: skip


def table(report: Path) -> str:
    """Markdown: t2s scores, the same by relation of the chunk, and the key-query gap, to two decimals."""
    runs, breakdowns, gap = (pd.read_csv(report / f"{name}.csv") for name in ("runs", "breakdowns", "key_query"))
    t2s = runs[runs.direction == "t2s"].set_index("checkpoint")
    parts = breakdowns[breakdowns.direction == "t2s"].set_index(["checkpoint", "breakdown", "group"])
    first = t2s.iloc[0]
    lines = [
        f"t2s maps of the probe set ({first.n_examples} examples, {first.n_positions} student positions with gold, "
        f"{first.n_tied / first.n_positions:.0%} of them tied), against the manual alignments; "
        "95 % BCa intervals over examples:",
        "",
        "| | top-1, sure | top-1, possible | … untied | … tied | … in 1:1 chunks | … in n:1 chunks | F1 | AER |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(name, t2s.loc[name], parts) for name in ROWS if name in t2s.index),
        "",
        *_gap(gap),
    ]
    return "\n".join(lines)


def _row(name: str, run: pd.Series, parts: pd.DataFrame) -> str:
    cells = [
        f"{run.top1_sure:.2f} [{run.top1_sure_low:.2f}, {run.top1_sure_high:.2f}]",
        f"{run.top1_possible:.2f} [{run.top1_possible_low:.2f}, {run.top1_possible_high:.2f}]",
    ]
    cells += [f"{run.top1_possible_untied:.2f}", f"{run.top1_possible_tied:.2f}"]
    for relation in ("1:1", "n:1"):
        at = (name, "relation", relation)
        cells.append(f"{parts.loc[at].top1_possible:.2f}" if at in parts.index else "–")
    cells += [f"{run[score]:.2f}" if pd.notna(run[score]) else "–" for score in ("f1", "aer")]
    return f"| {name} | " + " | ".join(cells) + " |"


def _gap(gap: pd.DataFrame) -> Iterator[str]:
    norm = gap.key_norm_after.iloc[0]
    yield f"The key-query gap on held-out text, before → after training (keys have norm {norm:.0f}):"
    yield ""
    yield "| | held-out classifier accuracy | energy distance | mean norm of queries |"
    yield "|---|---|---|---|"
    for row in gap.itertuples():
        pairs = [
            f"{getattr(row, f'{name}_before'):.{digits}f} → {getattr(row, f'{name}_after'):.{digits}f}"
            for name, digits in (("classifier_accuracy", 4), ("energy_distance", 1), ("query_norm", 1))
        ]
        yield f"| {row.checkpoint} | " + " | ".join(pairs) + " |"


def readme_table(text: str) -> str:
    """What README says between the two marks."""
    return text.split(BEGIN, 1)[1].split(END, 1)[0].strip()


def main() -> None:
    """Print the table, or write it into README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=ROOT / "out/demo/report")
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    args = parser.parse_args()
    made = table(args.report)
    if args.write:
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        head, rest = text.split(BEGIN, 1)
        readme.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()
