"""``python -m probe import-reference``: what the public DSKD or DSKD-KQ code saved, as a checkpoint of this library."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe import cli
from probe.errors import UsageError
from probe.files import atomic_directory, sha256_of
from probe.text.examples import Example, read_examples
from probe.version import __version__

if TYPE_CHECKING:
    from probe.models.checkpoint import CheckpointConfig
    from probe.reference.calibration import Measured
    from probe.reference.pieces import Pieces
    from probe.text.tokenization import PairTokenizer

DESCRIPTION = """Turn a Hugging Face directory and projector.pt, as the public DSKD or DSKD-KQ training code saves them,
into a checkpoint. Nothing in them is run: pickles are read as tensors alone. The public code stores no normalisation,
for it divides by the standard deviation of each padded batch. Here it is measured once on --data, and stored; `probe
extract --normalisation batch --batch-size 8 --padded-length 512` gives the maps of training instead."""
EXAMPLES = """
  python -m probe import-reference --student outputs/epoch20 --teacher model_hub/Qwen1.5-1.8B \\
      --projector outputs/epoch20/projector.pt --data dolly.jsonl --out out/imported
  python -m probe import-reference --student tinyllama --lora outputs/epoch10 --teacher llama2 --teacher-lora sft \\
      --projector outputs/epoch10/projector.pt --data dolly.jsonl --out out/imported
  python -m probe import-reference --student outputs/epoch20 --teacher model_hub/Qwen1.5-1.8B \\
      --projector outputs/epoch20/projector.pt --data dolly.jsonl --out out/imported \\
      --align outputs/align.jsonl --align-data test.jsonl --maps-out out/imported-maps"""
METHODS = ("dskd-cma", "dskd-cma-ga", "dskd-cla", "dskd-clp")  # of the public code, with projectors that are scaled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``import-reference``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--student", required=True, metavar="DIR", type=Path, help="the saved model, or the base of --lora")
    add("--teacher", required=True, metavar="NAME_OR_DIR", help="the teacher of the training")
    add("--projector", required=True, metavar="projector.pt", type=Path, help="the saved projectors")
    add("--projector-config", metavar="FILE", type=Path, help="their projector_config.json, to be checked against")
    add("--lora", metavar="DIR", type=Path, help="the student's adapter, to be merged")
    add("--teacher-lora", metavar="DIR", type=Path, help="the teacher's adapter: counts in the normalisation")
    add("--teacher-out", metavar="DIR", type=Path, help="write the teacher there as safetensors, its adapter merged")
    add("--data", required=True, metavar="FILE.jsonl", type=Path, help="texts to measure the normalisation on")
    add("--calibration", type=cli.positive, default=64, metavar="N", help="of them, the first N (default: 64)")
    add("--max-length", type=cli.positive, default=512, metavar="N", help="tokens a side (default: 512)")
    add("--method", choices=METHODS, default="dskd-cma", help="(default: dskd-cma)")
    add("--out", required=True, metavar="DIR", type=Path, help="the checkpoint to write")
    add("--align", metavar="align.jsonl", type=Path, help="the public code's dump of its maps, to be stored too")
    add("--align-data", metavar="FILE.jsonl", type=Path, help="the examples of that dump, in its order")
    add("--maps-out", metavar="MAPS", type=Path, help="the map store to write for --align")
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Read everything, check that it fits, measure, write all or nothing; report what was written."""
    _check_options(args)
    examples = read_examples(args.data, limit=args.calibration)
    align_examples = read_examples(args.align_data) if args.align_data else None
    from probe.reference.calibration import measure
    from probe.reference.pieces import Sources, read_pieces
    from probe.text.tokenization import PairTokenizer

    names = ("student", "teacher", "projector", "projector_config", "lora", "teacher_lora", "method")
    sources = Sources(**{name: getattr(args, name) for name in names}, keep_teacher=args.teacher_out is not None)
    pieces = read_pieces(sources)
    pair = PairTokenizer(pieces.student_tokenizer, pieces.teacher_tokenizer, max_length=args.max_length)
    measured = measure(pair.encode(examples), pieces.teacher, args.max_length)
    config = _config(args, pieces, pair, measured)
    values: dict[str, Any] = {"out": str(args.out), "normalisation": asdict(measured.normalisation)}
    values |= {"reference": {"examples": measured.examples, **measured.published_numbers()}}
    with contextlib.ExitStack() as stack:  # what fails in the last step takes the first ones back
        if args.align:
            values |= _write_maps(args, pieces, config, align_examples, stack)
        if args.teacher_out:
            part = stack.enter_context(atomic_directory(args.teacher_out))
            pieces.teacher.save_pretrained(part)
            pieces.teacher_tokenizer.save_pretrained(part)
        _write_checkpoint(args, pieces, config, measured, values["reference"])
    values["query_looks_untrained"] = pieces.query_looks_untrained
    cli.report(values, _lines(args, config, measured, values), as_json=args.json)


def _check_options(args: argparse.Namespace) -> None:
    for place in (args.out, args.maps_out, args.teacher_out):
        if place is not None and place.exists():
            raise UsageError(f"{place} exists already. Choose another place, or remove it.")
    if (args.align is None) != (args.maps_out is None) or (args.align_data and not args.align):
        raise UsageError("--align and --maps-out belong together (and --align-data to them). Give both, or neither.")


def _config(args: argparse.Namespace, pieces: Pieces, pair: PairTokenizer, measured: Measured) -> CheckpointConfig:
    from probe.models.checkpoint import IMPORTED, CheckpointConfig, embeddings_fingerprint

    student_table, teacher_table = pieces.tables
    return CheckpointConfig(
        name=args.out.resolve().name,
        method=args.method,
        teacher=str(args.teacher_out or args.teacher),
        student_dim=student_table.shape[1],
        teacher_dim=teacher_table.shape[1],
        student_vocabulary=len(student_table),
        teacher_vocabulary=len(teacher_table),
        student_tokenizer=pair.student_fingerprint,
        teacher_tokenizer=pair.teacher_fingerprint,
        teacher_embeddings=embeddings_fingerprint(teacher_table),
        normalisation=measured.normalisation,
        settings={IMPORTED: {"projector_sha256": sha256_of(args.projector), "data_sha256": sha256_of(args.data)}},
    )


def _write_checkpoint(
    args: argparse.Namespace, pieces: Pieces, config: CheckpointConfig, measured: Measured, numbers: dict[str, Any]
) -> None:
    from probe.models.checkpoint import save_checkpoint

    save_checkpoint(
        args.out,
        config,
        pieces.student,
        pieces.student_tokenizer,
        attention=pieces.attention,
        metrics={"reference": numbers},
        card=_card(args, config, measured),
    )


def _write_maps(
    args: argparse.Namespace,
    pieces: Pieces,
    config: CheckpointConfig,
    examples: Sequence[Example] | None,
    stack: contextlib.ExitStack,
) -> dict[str, Any]:
    """Write the maps of align.jsonl; the store appears when ``stack`` is left. Returns what to report."""
    from probe.maps.store import MapStoreWriter
    from probe.reference.align import CANNOT_TELL, add_maps
    from probe.text.one_side import Side

    sides = (Side(pieces.student_tokenizer, "student"), Side(pieces.teacher_tokenizer, "teacher"))
    provenance = {
        "student_tokenizer": config.student_tokenizer,
        "teacher_tokenizer": config.teacher_tokenizer,
        "teacher": config.teacher,
        "data": {"name": args.align.name, "sha256": sha256_of(args.align) if args.align.is_file() else ""},
        "format": "align.jsonl of the public DSKD-KQ analyse.py",
        "cannot_tell": list(CANNOT_TELL),
        "normalisation": {"kind": "batch", "sigma_k": None, "batch_size": None},
        "checkpoints": {config.name: {"method": config.method, **config.settings}},
        "version": __version__,
    }
    writer = stack.enter_context(MapStoreWriter(args.maps_out, provenance=provenance, dtype="float32"))
    count, left_out = add_maps(writer, args.align, sides, examples, checkpoint=config.name, method=config.method)
    numbers = {"maps": count, "maps_out": str(args.maps_out), "left_out": left_out}
    return {**numbers, "cannot_tell": list(CANNOT_TELL)}


def _card(args: argparse.Namespace, config: CheckpointConfig, measured: Measured) -> str:
    adversary = "\nThe public code never saves the discriminator, so it is not here.\n" * (args.method == "dskd-cma-ga")
    return (
        f"# {config.name}\n\nImported from the public training code: a `{config.method}` student of `{args.teacher}`.\n"
        f"{adversary}\nThe public code divides keys by the standard deviation of each padded batch. Stored is one of "
        f"{measured.normalisation.sigma_k:.4g}, measured over the response positions of {measured.examples} examples "
        f"of `{args.data.name}`; batches of 8 padded to {args.max_length} have {measured.published[0]:.4g} on "
        f"average.\n\nMade by `{shlex.join(['python', '-m', 'probe', 'import-reference', *_words(args)])}`.\n"
    )


def _words(args: argparse.Namespace) -> list[str]:
    names = ("student", "teacher", "projector", "projector_config", "lora", "teacher_lora", "teacher_out", "data",
             "calibration", "max_length", "method", "out")  # fmt: skip
    given = [(name, getattr(args, name)) for name in names if getattr(args, name) is not None]
    return [word for name, value in given for word in (f"--{name.replace('_', '-')}", str(value))]


def _lines(args: argparse.Namespace, config: CheckpointConfig, measured: Measured, values: dict[str, Any]) -> list[str]:
    mean, least, most = measured.published
    lines = [
        f"{args.out}: {config.method}, student {config.student_vocabulary} x {config.student_dim}, teacher "
        f"{config.teacher}",
        f"normalisation: frozen sigma_k {measured.normalisation.sigma_k:.4g}, over the response positions of "
        f"{measured.examples} examples; in training that of each padded batch, here {mean:.4g} ({least:.4g} to "
        f"{most:.4g})",
    ]
    if args.align:
        lines += [f"{args.maps_out}: {values['maps']} maps (t2s), labelled by their targets"]
        lines += ["what align.jsonl cannot tell:", *(f"  - {note}" for note in values["cannot_tell"])]
    if values["query_looks_untrained"]:
        lines.append(
            f"note: the query of {args.projector} looks untrained (no weight beyond the bounds of a fresh layer). The "
            "public code makes one for every method; was this run trained by cross-model attention?"
        )
    if left := values.get("left_out"):
        lines.append(f"note: {len(left)} maps left out, whose rows do not sum to 1 (the first is {left[0]})")
    return lines
