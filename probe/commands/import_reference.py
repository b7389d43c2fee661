"""``python -m probe import-reference``: what the public DSKD or DSKD-KQ code saved, as a checkpoint of this library."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from probe import cli
from probe.files import one_writer
from probe.reference.import_reference import METHODS, Imported, ImportOptions, import_reference

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
# what the checkpoint's card repeats: all that decides the checkpoint
RECORDED = ("student", "teacher", "projector", "projector_config", "lora", "teacher_lora", "teacher_out", "data",
            "calibration", "max_length", "method", "out")  # fmt: skip


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
    """Import, report what was written."""
    options = cli.options_of(ImportOptions, args)
    command = cli.command_line("import-reference", args, RECORDED)
    with contextlib.ExitStack() as stack:
        for place in dict.fromkeys((options.out, options.maps_out, options.teacher_out)):
            if place is not None:
                stack.enter_context(one_writer(place))
        imported = import_reference(options, command=command, watched=cli.progress)
    cli.report(_values(options, imported), _lines(options, imported), as_json=args.json)


def _values(options: ImportOptions, imported: Imported) -> dict[str, Any]:
    values: dict[str, Any] = {"out": str(options.out), "normalisation": asdict(imported.measured.normalisation)}
    values["reference"] = imported.measured.numbers()
    if (maps := imported.maps) is not None:
        values |= {"maps": maps.count, "maps_out": str(options.maps_out), "left_out": list(maps.left_out),
                   "cannot_tell": list(maps.cannot_tell)}  # fmt: skip
    return {**values, "query_looks_untrained": imported.query_looks_untrained}


def _lines(options: ImportOptions, imported: Imported) -> list[str]:
    config, measured, maps = imported.config, imported.measured, imported.maps
    mean, least, most = measured.published
    lines = [
        f"{options.out}: {config.method}, student {config.student_vocabulary} x {config.student_dim}, teacher "
        f"{config.teacher}",
        f"normalisation: frozen sigma_k {measured.normalisation.sigma_k:.4g}, over the response positions of "
        f"{measured.examples} examples; in training that of each padded batch, here {mean:.4g} ({least:.4g} to "
        f"{most:.4g})",
    ]
    if maps is not None:
        lines += [f"{options.maps_out}: {maps.count} maps (t2s), labelled by their targets"]
        lines += ["what align.jsonl cannot tell:", *(f"  - {note}" for note in maps.cannot_tell)]
    if imported.query_looks_untrained:
        lines.append(
            f"note: the query of {options.projector} looks untrained (no weight beyond the bounds of a fresh layer). "
            "The public code makes one for every method; was this run trained by cross-model attention?"
        )
    if maps is not None and maps.left_out:
        first = f"(the first is {maps.left_out[0]})"
        lines.append(f"note: {len(maps.left_out)} maps left out, whose rows do not sum to 1 {first}")
    return lines
