"""What the bench measures with: the shipped checkpoint, or one of its shape while none is shipped, or tiny ones."""

from __future__ import annotations

from pathlib import Path

from tests.bench.frame import ROOT, in_child

SHIPPED = ROOT / "checkpoints" / "dskd-cma"
START = ROOT / "checkpoints" / "sft"


def checkpoint(folder: Path, *, quick: bool) -> tuple[Path, str]:
    """A DSKD-CMA checkpoint, made under ``folder`` if need be, and what to call it in a row."""
    if quick:
        return Path(in_child(make_tiny, folder=str(folder))), "tiny random models"
    if (SHIPPED / "manifest.json").is_file():
        return SHIPPED, "shipped student, SmolLM2-135M"
    made = in_child(make_like_the_shipped, folder=str(folder))
    return Path(made), "sft student with a random projector, SmolLM2-135M"


def make_tiny(folder: str) -> str:
    """A tiny random teacher and student of the tests."""
    from tests.support import tiny

    teacher = tiny.model_directory(Path(folder) / "teacher", "llama", "bpe")
    return str(tiny.checkpoint_directory(Path(folder) / "dskd-cma", teacher))


def make_like_the_shipped(folder: str) -> str:
    """The shipped start as a DSKD-CMA checkpoint; costs do not depend on the projector's values."""
    import dataclasses

    import torch

    from probe.models.attention import CrossModelAttention, Normalisation
    from probe.models.checkpoint import load_checkpoint, save_checkpoint
    from probe.models.loading import load_causal_lm, load_tokenizer

    start = load_checkpoint(START)
    torch.manual_seed(0)
    config = dataclasses.replace(
        start.config, name="dskd-cma", method="dskd-cma", normalisation=Normalisation("frozen", 0.1, 2.0, 0.1)
    )
    save_checkpoint(
        Path(folder) / "dskd-cma",
        config,
        load_causal_lm(start.student_directory),
        load_tokenizer(start.student_directory),
        attention=CrossModelAttention(config.student_dim, config.teacher_dim),
        dtype=torch.float16,
    )
    return str(Path(folder) / "dskd-cma")
