"""What the public DSKD or DSKD-KQ code saved, as a checkpoint of this library: read, checked, measured, written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import UsageError
from probe.files import atomic_directory, sha256_of
from probe.maps.provenance import provenance
from probe.text.examples import Example, read_examples

if TYPE_CHECKING:
    from probe.models.checkpoint import CheckpointConfig
    from probe.reference.calibration import Measured
    from probe.reference.pieces import Pieces
    from probe.text.tokenization import PairTokenizer

METHODS = ("dskd-cma", "dskd-cma-ga", "dskd-cla", "dskd-clp")  # of the public code, with projectors that are scaled


@dataclass(frozen=True)
class ImportOptions:
    """What is imported, and what is written; the words of ``probe import-reference --help`` say each."""

    student: Path
    teacher: str
    projector: Path
    data: Path
    out: Path
    projector_config: Path | None = None
    lora: Path | None = None
    teacher_lora: Path | None = None
    teacher_out: Path | None = None
    calibration: int = 64
    max_length: int = 512
    method: str = "dskd-cma"
    align: Path | None = None
    align_data: Path | None = None
    maps_out: Path | None = None


@dataclass(frozen=True)
class ImportedMaps:
    """The store that was written of an align.jsonl: maps in it, maps left out by id, and what the dump cannot tell."""

    count: int
    left_out: tuple[str, ...]
    cannot_tell: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """What was written; ``maps`` where there was an align.jsonl."""

    config: CheckpointConfig
    measured: Measured
    query_looks_untrained: bool
    maps: ImportedMaps | None = None


def import_reference(
    options: ImportOptions, *, command: str = "", watched: Callable[..., Iterable[Any]] | None = None
) -> Imported:
    """Read everything, check that it fits, measure, write all or nothing.

    Args:
        command: how this was started, for the checkpoint's card.
        watched: is handed the batches of teacher states, ``total`` and ``label``, and hands them on.

    Raises:
        UsageError: a place that is taken, or options that do not go together. DataError: examples that are none.
        DamagedError, UnsafeError, NonFiniteError: as :func:`probe.reference.pieces.read_pieces`. DiskError.
    """
    _check_options(options)
    examples = read_examples(options.data, limit=options.calibration)
    align_examples = read_examples(options.align_data) if options.align_data else None
    from probe.reference.calibration import measure  # torch: seconds, so only when the input is readable
    from probe.reference.pieces import Sources, read_pieces
    from probe.text.tokenization import PairTokenizer

    shared = {field.name: getattr(options, field.name) for field in fields(Sources) if field.name != "keep_teacher"}
    pieces = read_pieces(Sources(**shared, keep_teacher=options.teacher_out is not None))
    pair = PairTokenizer(pieces.student_tokenizer, pieces.teacher_tokenizer, max_length=options.max_length)
    measured = measure(pair.encode(examples), pieces.teacher, options.max_length, watched=watched)
    config = _config(options, pieces, pair, measured)
    with contextlib.ExitStack() as stack:  # what fails in the last step takes the first ones back
        maps = _write_maps(options, pieces, config, align_examples, stack) if options.align else None
        if options.teacher_out:
            part = stack.enter_context(atomic_directory(options.teacher_out))
            pieces.teacher.save_pretrained(part)
            pieces.teacher_tokenizer.save_pretrained(part)
        _write_checkpoint(options, pieces, config, measured, command)
    return Imported(config, measured, pieces.query_looks_untrained, maps)


def _check_options(options: ImportOptions) -> None:
    for place in (options.out, options.maps_out, options.teacher_out):
        if place is not None and place.exists():
            raise UsageError(f"{place} exists already. Choose another place, or remove it.")
    if (options.align is None) != (options.maps_out is None) or (options.align_data and not options.align):
        raise UsageError("--align and --maps-out belong together (and --align-data to them). Give both, or neither.")


def _config(options: ImportOptions, pieces: Pieces, pair: PairTokenizer, measured: Measured) -> CheckpointConfig:
    from probe.models.checkpoint import IMPORTED, CheckpointConfig, embeddings_fingerprint

    student_table, teacher_table = pieces.tables
    return CheckpointConfig(
        name=options.out.resolve().name,
        method=options.method,
        teacher=str(options.teacher_out or options.teacher),
        student_dim=student_table.shape[1],
        teacher_dim=teacher_table.shape[1],
        student_vocabulary=len(student_table),
        teacher_vocabulary=len(teacher_table),
        student_tokenizer=pair.student_fingerprint,
        teacher_tokenizer=pair.teacher_fingerprint,
        teacher_embeddings=embeddings_fingerprint(teacher_table),
        normalisation=measured.normalisation,
        settings={IMPORTED: {"projector_sha256": sha256_of(options.projector), "data_sha256": sha256_of(options.data)}},
    )


def _write_checkpoint(
    options: ImportOptions, pieces: Pieces, config: CheckpointConfig, measured: Measured, command: str
) -> None:
    from probe.models.checkpoint import save_checkpoint

    save_checkpoint(
        options.out,
        config,
        pieces.student,
        pieces.student_tokenizer,
        attention=pieces.attention,
        metrics={"reference": measured.numbers()},
        card=_card(options, config, measured, command),
    )


def _write_maps(
    options: ImportOptions,
    pieces: Pieces,
    config: CheckpointConfig,
    examples: Sequence[Example] | None,
    stack: contextlib.ExitStack,
) -> ImportedMaps:
    """Write the maps of align.jsonl; the store appears when ``stack`` is left."""
    from probe.maps.store import MapStoreWriter
    from probe.reference.align import CANNOT_TELL, add_maps
    from probe.text.one_side import Side

    assert options.align is not None and options.maps_out is not None  # they belong together
    sides = (Side(pieces.student_tokenizer, "student"), Side(pieces.teacher_tokenizer, "teacher"))
    made = provenance(
        (config.student_tokenizer, config.teacher_tokenizer),
        {config.name: {"method": config.method, **config.settings}},
        teacher=config.teacher,
        data={"name": options.align.name, "sha256": sha256_of(options.align) if options.align.is_file() else ""},
        format="align.jsonl of the public DSKD-KQ analyse.py",
        cannot_tell=list(CANNOT_TELL),
        normalisation={"kind": "batch", "sigma_k": None, "batch_size": None},
    )
    writer = stack.enter_context(MapStoreWriter(options.maps_out, provenance=made, dtype="float32"))
    count, left_out = add_maps(writer, options.align, sides, examples, checkpoint=config.name, method=config.method)
    return ImportedMaps(count, tuple(left_out), CANNOT_TELL)


def _card(options: ImportOptions, config: CheckpointConfig, measured: Measured, command: str) -> str:
    adversary = "\nThe public code never saves the discriminator, so it is not here.\n" * config.method.endswith("-ga")
    lines = [
        f"# {config.name}\n",
        f"Imported from the public training code: a `{config.method}` student of `{options.teacher}`.\n{adversary}",
        "The public code divides keys by the standard deviation of each padded batch. Stored is one of "
        f"{measured.normalisation.sigma_k:.4g}, measured over the response positions of {measured.examples} examples "
        f"of `{options.data.name}`; batches of 8 padded to {options.max_length} have {measured.published[0]:.4g} on "
        "average.\n",
    ]
    return "\n".join([*lines, *([f"Made by `{command}`.\n"] if command else [])])
