"""Rooms in which every name and token is hostile: maps, gold, clouds, training runs, annotations and checkpoints."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from app.data import key_query, training_runs
from app.data.annotations import Annotations, Saved
from probe.gold.reading import Gold, gold_record
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStoreWriter
from probe.text.axis import TokenAxis
from tests.support.dashboard.app_maps import FINGERPRINTS

NAME = '<img src=x onerror=alert(1)> **b** $x$ :skull: "x'  # of the folder in which everything lies


@dataclass(frozen=True)
class Room:
    """Where the files lie, and the tokens that everything in there is called by."""

    folder: Path
    tokens: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """The command line of a dashboard in this room; the other folders are found beside the maps."""
        pairs = {"maps": "maps", "gold": "<b>gold.jsonl", "checkpoints": "checkpoints"}
        return [part for name, place in pairs.items() for part in (f"--{name}", str(self.folder / place))]


def make_room(folder: Path, tokens: tuple[str, ...], checkpoint: Path | None = None) -> Room:
    """A room below ``folder``; ``checkpoint`` is copied under a name for each token, for the page Try a text."""
    room = Room(folder / NAME, tokens)
    golds = make_maps(room.folder / "maps", tokens, tokens)
    lines = [json.dumps(gold_record(replace(gold, annotator=token, note=token))) for token, gold in golds.items()]
    (room.folder / "<b>gold.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    make_clouds(room.folder / "key_query", tokens)
    for number, token in enumerate(tokens):
        make_run(room.folder / "training" / file_name(token), token, tokens if number == 0 else ())
        start = Saved(golds[token])
        Annotations(room.folder / "annotations").save(token, {**start.links, (0, 1): "possible"}, start)
        if checkpoint is not None:
            shutil.copytree(checkpoint, room.folder / "checkpoints" / file_name(token))
    return room


def file_name(token: str) -> str:
    """The token as the name of a file, as far as a file can bear it."""
    name = token.replace("/", "∕").replace("\0", "␀").strip(".") or "x"
    return name.encode()[:180].decode("utf-8", "ignore")


def make_maps(path: Path, tokens: tuple[str, ...], checkpoints: tuple[str, ...]) -> dict[str, Gold]:
    """A store with an example a token, mapped by all checkpoints; the targets of each example are all the tokens."""
    pieces = [piece for token in tokens for piece in (token, " ")]
    text = "".join(pieces)
    ends = np.cumsum([len(piece.encode()) for piece in pieces]).tolist()
    spans = (*zip([0, *ends[:-1]], ends, strict=True), (ends[-1], ends[-1]))
    axis = TokenAxis((*pieces, "‹eos›"), (*pieces, "</s>"), tuple(range(len(pieces) + 1)), spans)
    links = frozenset((k, k) for k in range(len(axis)))
    golds = {}
    provenance = {**FINGERPRINTS, "version": tokens[0], "signature": tokens[-1]}
    with MapStoreWriter(path, provenance=provenance) as writer:
        for number, token in enumerate(tokens):
            golds[token] = Gold(token, text, axis.tokens, axis.tokens, sure=links, possible=links, **FINGERPRINTS)
            for other, checkpoint in enumerate(checkpoints):
                noise = np.random.default_rng([number, other]).random((len(axis),) * 2) + 3 * np.eye(len(axis))
                weights = (noise / noise.sum(axis=1, keepdims=True)).astype(np.float32)
                labels = (token, token, checkpoint, checkpoint, "t2s", "frozen")
                writer.add(AttentionMap(*labels, text, axis, axis, weights))
    return golds


def make_clouds(folder: Path, tokens: tuple[str, ...]) -> None:
    """Key-query files whose checkpoints, tokens, signatures and one measure are called by the tokens."""
    folder.mkdir(parents=True)
    clouds, figures = [], []
    for token in tokens:
        for stage, far in zip(key_query.STAGES, (9.0, 4.0), strict=True):
            for side in key_query.SIDES:
                places = np.random.default_rng(0).normal(far if side == "query" else 0, 1, (4, len(tokens)))
                numbers = dict(zip(("pca_x", "pca_y", "tsne_x", "tsne_y"), places, strict=True))
                labels = {"checkpoint": token, "stage": stage, "side": side, "example_id": token}
                clouds.append(pd.DataFrame({**labels, "position": range(len(tokens)), "token": tokens, **numbers}))
            row = {"checkpoint": token, "stage": stage, "energy_distance": far, "signature": token}
            figures.append({**row, **dict.fromkeys(tokens, far), "n_queries": 1})
    pd.concat(clouds).to_parquet(folder / key_query.CLOUDS)
    pd.DataFrame(figures).to_csv(folder / key_query.FIGURES, index=False)


def make_run(folder: Path, token: str, tokens: tuple[str, ...]) -> None:
    """A training run with a measure and settings that are called by the token; with maps if there are tokens."""
    folder.mkdir(parents=True)
    frame = pd.DataFrame({"signature": token, "step": [0, 250], "top1_sure": [0.1, 0.5], token: [1.0, 2.0]})
    frame.to_csv(folder / training_runs.CURVE, index=False)
    settings = {"method": token, "student": token, "data": [token, token], "seed": token}
    (folder / training_runs.CONFIG).write_text(json.dumps({"settings": settings}), encoding="utf-8")
    if tokens:
        make_maps(folder / training_runs.MAPS, tokens, ("step-000000", "step-000250"))
