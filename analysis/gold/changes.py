"""CHANGES.md: how many links were changed, where and why, counted from prefill, corrections and gold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.gold.byte_view import proposed_links
from analysis.gold.corrections import EDITS, KINDS, Correction
from probe.gold.reading import Gold
from probe.text.examples import Example

EDIT_NAMES = {
    "remove_sure": "sure taken away", "add_sure": "sure added",
    "remove_possible": "possible taken away", "add_possible": "possible added",
}  # fmt: skip


def changes_page(
    examples: Sequence[Example],
    prefilled: Mapping[str, Gold],
    gold: Mapping[str, Gold],
    corrections: Mapping[str, Sequence[Correction]],
) -> str:
    """The whole page as Markdown. Links that were only demoted count once, under "sure taken away"."""
    return "\n".join(
        [
            *_summary(examples, prefilled, gold, corrections),
            "## Why",
            "",
            *_by_kind(corrections),
            "",
            "## Where",
            "",
            *_by_category(examples, prefilled, gold, corrections),
            "",
        ]
    )


def _summary(
    examples: Sequence[Example],
    prefilled: Mapping[str, Gold],
    gold: Mapping[str, Gold],
    corrections: Mapping[str, Sequence[Correction]],
) -> list[str]:
    untouched = sum(not corrections.get(example.id) for example in examples)
    changed = len({(c.id, link) for each in corrections.values() for c in each for link in c.touched})
    everything = sum(len(prefilled[i].possible | gold[i].possible) for i in gold)
    before, after = _sizes(prefilled), _sizes(gold)
    refused = sum(_differences(each) for each in gold.values())
    return [
        "# What was changed in the prefill",
        "",
        "Written by `python -m analysis.gold.build` from the files beside it; do not edit.",
        "The reasons, example by example, are in `corrections.jsonl`; the rules are in `GUIDELINES.md`.",
        "",
        f"- {len(examples)} examples: {untouched} untouched ({untouched / len(examples):.0%}), "
        f"{len(examples) - untouched} corrected.",
        f"- {changed} of {everything} links changed ({changed / everything:.1%}). Prefilled: {before[0]} sure and "
        f"{before[1]} possible; gold: {after[0]} and {after[1]} (every sure link is possible too).",
        "- `byte_view.py` proposed edits from the tokens' own bytes; each was read against the text. "
        f"{refused} links are not as proposed.",
        "- One annotation: every example was read once, the corrected ones twice; the agreement of independent "
        "annotators has not been measured.",
        "",
    ]


def _differences(gold: Gold) -> int:
    """Links that gold has otherwise than the bytes propose."""
    sure, possible = proposed_links(gold)
    return len((sure ^ gold.sure) | (possible ^ gold.possible))


def _sizes(golds: Mapping[str, Gold]) -> tuple[int, int]:
    return sum(len(gold.sure) for gold in golds.values()), sum(len(gold.possible) for gold in golds.values())


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _by_kind(corrections: Mapping[str, Sequence[Correction]]) -> list[str]:
    rows = []
    for kind in KINDS:
        found = [c for each in corrections.values() for c in each if c.kind == kind]
        if found:
            rows.append(
                [kind, len({c.id for c in found}), *(sum(len(getattr(c, edit)) for c in found) for edit in EDITS)]
            )
    total = [sum(row[k] for row in rows) for k in range(2, len(EDITS) + 2)]
    return _table(["kind", "examples", *EDIT_NAMES.values()], [*rows, ["all", len(corrections), *total]])


def _by_category(
    examples: Sequence[Example],
    prefilled: Mapping[str, Gold],
    gold: Mapping[str, Gold],
    corrections: Mapping[str, Sequence[Correction]],
) -> list[str]:
    rows = []
    for category in dict.fromkeys(example.category for example in examples):
        ids = [example.id for example in examples if example.category == category]
        found = [c for i in ids for c in corrections.get(i, ())]
        kinds = Counter[str]()
        for correction in found:
            kinds[correction.kind] += len(correction.touched)
        untouched = sum(i not in corrections for i in ids)
        links = sum(len(prefilled[i].possible | gold[i].possible) for i in ids)
        why = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "–"
        rows.append([category, len(ids), untouched, links, kinds.total(), f"{kinds.total() / links:.1%}", why])
    return _table(["category", "examples", "untouched", "links", "changed", "share", "why (links)"], rows)
