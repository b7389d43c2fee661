"""The README.md of a checkpoint: what it is, from what, by which command, and how it measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from probe.distillation.setup import Setup


def model_card(setup: Setup, metrics: dict[str, Any]) -> str:
    """Markdown with the settings, the data, and every held-out number of ``metrics``."""
    config, checkpoint = setup.config, setup.checkpoint
    numbers = {key: value for key, value in metrics.items() if isinstance(value, float)}
    before = metrics.get("before", {})
    rows = [
        f"| {key.removeprefix('held_out_')} | {_cell(before.get(key.removeprefix('held_out_')))} | {_cell(value)} |"
        for key, value in numbers.items()
    ]
    gap: dict[str, float] = metrics.get("key_query") or {}
    for name in ("classifier_accuracy", "energy_distance", "query_norm", "key_norm") if gap else ():
        rows.append(f"| key-query gap: {name} | {_cell(gap[f'{name}_before'])} | {_cell(gap[f'{name}_after'])} |")
    return "\n".join(
        [
            f"# {config.name}",
            "",
            f"Method `{config.method}`; teacher `{config.teacher}` (tokenizer {checkpoint.teacher_tokenizer}); student "
            f"started from `{_shown(config.student)}` (tokenizer {checkpoint.student_tokenizer}).",
            "",
            "## Data",
            "",
            *(f"- `{_shown(path)}`" for path in config.data),
            *([f"- {config.data_licence}"] if config.data_licence else []),
            f"- the last {config.held_out} examples of the first file are held out: the numbers below are theirs",
            "",
            "## Numbers on held-out text",
            "",
            "Losses and accuracies are per student target, `bits_per_byte` per byte of text, `chunk_*` per chunk.",
            "",
            "| quantity | before | after |",
            "|---|---|---|",
            *rows,
            "",
            "`top1_*` and `gold_mass_*` are against the span rule, t2s direction; ties share the credit.",
            "",
            "## Command and settings",
            "",
            f"`python -m probe train RECIPE.yaml --out DIR`, version {checkpoint.version}, {config.steps} steps of "
            f"{config.batch_size} examples, with these settings:",
            "",
            "```yaml",
            yaml.safe_dump({k: _shown(v) for k, v in config.as_dict().items()}, sort_keys=False).strip(),
            "```",
            "",
        ]
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _shown(value: Any) -> Any:
    """Paths by their last part only: a card travels, the folders of the machine that made it do not."""
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value.rsplit("/", 1)[-1] if isinstance(value, str) and value.startswith(("/", "..")) else value
