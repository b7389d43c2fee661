"""Maps of loaded checkpoints into a store, with what the store says of its own making."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from probe.extraction.embedding_maps import DirectionChoice, NormalisationKind
from probe.extraction.extractor import Extractor
from probe.files import MANIFEST, sha256_of
from probe.maps.provenance import provenance
from probe.maps.store import MapStoreWriter
from probe.text.examples import Example


@dataclass(frozen=True)
class ExtractionOptions:
    """How maps are made and stored; see :meth:`probe.extraction.extractor.Extractor.maps`."""

    direction: DirectionChoice = "both"
    normalisation: NormalisationKind = "frozen"
    batch_size: int = 8
    padded_length: int | None = None
    dtype: Literal["float16", "float32"] = "float16"


def write_maps(
    extractor: Extractor,
    examples: Sequence[Example],
    out: Path,
    options: ExtractionOptions = ExtractionOptions(),  # noqa: B008 (frozen)
    *,
    data: Mapping[str, str] | None = None,
    command: str = "",
    watched: Callable[..., Iterable[Any]] | None = None,
) -> int:
    """Stream the maps of ``examples`` into a store at ``out``, which appears whole or not at all; return their number.

    Args:
        data: ``name`` and ``sha256`` of the file that the examples are of, for the store's provenance.
        command: the command that makes these maps again, for the same.
        watched: is handed the stream of maps, ``total`` and ``label``, and hands it on.

    Raises:
        NonFiniteError: NaN or infinity in what a map needs. DiskError: the store cannot be written.
    """
    maps: Iterable[Any] = extractor.maps(
        examples,
        direction=options.direction,
        normalisation=options.normalisation,
        batch_size=options.batch_size,
        padded_length=options.padded_length,
    )
    if watched:
        total = len(examples) * len(extractor.sources) * (2 if options.direction == "both" else 1)
        maps = watched(maps, total=total, label="maps")
    made = extraction_provenance(extractor, options, data, command)
    count = 0
    with MapStoreWriter(out, provenance=made, dtype=options.dtype) as writer:
        for amap in maps:
            writer.add(amap)
            count += 1
    return count


def extraction_provenance(
    extractor: Extractor, options: ExtractionOptions, data: Mapping[str, str] | None, command: str
) -> dict[str, Any]:
    """What the store says of its own making; the hashes of the checkpoints are what later stages check."""
    frozen, kind = options.normalisation == "frozen", options.normalisation
    sigmas = {source.checkpoint: source.sigma_k for source in extractor.sources}
    pair = extractor.tokenizer
    return provenance(
        (pair.student_fingerprint, pair.teacher_fingerprint),
        _checkpoints(extractor),
        command=command,
        teacher=extractor.teacher,
        **({"data": dict(data)} if data else {}),
        normalisation={
            "kind": kind,
            "sigma_k": sigmas if frozen else None,
            "batch_size": options.batch_size if kind in ("batch", "masked") else None,
        },
        max_length=pair.max_length,
    )


def _checkpoints(extractor: Extractor) -> dict[str, dict[str, Any]]:
    """By name: the method, the hash of the manifest, key-query mismatch where it was measured; the baseline last."""
    found: dict[str, dict[str, Any]] = {}
    for checkpoint in extractor.checkpoints:
        entry: dict[str, Any] = {
            "method": checkpoint.config.method,
            "manifest_sha256": sha256_of(checkpoint.directory / MANIFEST),
        }
        if "key_query" in checkpoint.metrics:
            entry["key_query"] = checkpoint.metrics["key_query"]
        found[checkpoint.directory.resolve().name] = entry
    for baseline in extractor.sources[len(extractor.checkpoints) :]:
        found[baseline.checkpoint] = {"method": baseline.method, "embeddings_of": extractor.sources[0].checkpoint}
    return found
