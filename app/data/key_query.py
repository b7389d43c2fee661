"""The key-query folder as the dashboard reads it: figures of the mismatch, and the clouds of both sides as points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from probe.errors import DataError

FIGURES, CLOUDS = "key_query.csv", "clouds.parquet"
STAGES = ("untrained", "trained")
CONTROL = "control"  # figures only: keys against other keys, what each measure gives for one cloud
SIDES = ("query", "key")
PROJECTIONS = {"PCA": ("pca_x", "pca_y"), "t-SNE": ("tsne_x", "tsne_y")}
COLUMNS = ("checkpoint", "stage", "side", "token", "pca_x", "pca_y", "tsne_x", "tsne_y")
MOST_POINTS = 2_500  # a picture
FEW = 0.2  # of the keys' mean norm; a cloud of shorter queries is a dot beside the keys
# What the figures mean; others are shown under their own names.
MEASURES = {
    "classifier_accuracy": "held-out classifier accuracy (0.5: chance)",
    "energy_distance": "energy distance",
    "mmd": "Gaussian MMD",
    "sliced_wasserstein": "sliced Wasserstein-2",
    "frechet": "Fréchet distance",
    "query_norm": "mean norm of queries",
    "key_norm": "mean norm of keys",
    "query_norm_sd": "standard deviation of the norms of queries",
    "key_norm_sd": "standard deviation of the norms of keys",
    "cosine": "mean cosine of queries and keys",
    "cosine_of_means": "cosine of the mean query and the mean key",
}


@dataclass(frozen=True)
class KeyQuery:
    """What ``analysis.key_query`` wrote: ``figures``, one row a checkpoint and stage, and ``clouds``, one a point."""

    figures: pd.DataFrame
    clouds: pd.DataFrame


def read_key_query(folder: Path) -> KeyQuery:
    """Read both files.

    Raises:
        DataError: a file is missing or cannot be read, or lacks columns.
    """
    try:
        figures = pd.read_csv(folder / FIGURES)
        clouds = pd.read_parquet(folder / CLOUDS)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{folder}: {FIGURES} or {CLOUDS} cannot be read ({error}). Make the folder again.") from error
    for name, frame, wanted in ((FIGURES, figures, COLUMNS[:2]), (CLOUDS, clouds, COLUMNS)):
        if missing := [column for column in wanted if column not in frame]:
            raise DataError(f"{folder / name} lacks the columns {', '.join(missing)}. Make the folder again.")
    return KeyQuery(figures, clouds)


def points(clouds: pd.DataFrame, checkpoint: str, stage: str, projection: str) -> tuple[pd.DataFrame, int]:
    """The points of one picture with ``x`` and ``y``, at most ``MOST_POINTS`` of them, and how many there are."""
    cloud = clouds[(clouds["checkpoint"] == checkpoint) & (clouds["stage"] == stage)]
    x, y = PROJECTIONS[projection]
    cloud = cloud.dropna(subset=[x, y]).rename(columns={x: "x", y: "y"})
    chosen = cloud if len(cloud) <= MOST_POINTS else cloud.sample(MOST_POINTS, random_state=0)
    labels = [name for name in ("token", "side", "example_id", "position") if name in cloud]
    return chosen[[*labels, "x", "y"]].round({"x": 4, "y": 4}), len(cloud)


def finding(figures: pd.DataFrame, checkpoint: str) -> list[str]:
    """What the figures of a checkpoint say, in sentences; none for figures that are not there."""
    rows = figures[figures["checkpoint"] == checkpoint].groupby("stage").mean(numeric_only=True)

    def known(measure: str) -> bool:
        return measure in rows and set(STAGES) <= set(rows.index[rows[measure].notna()])

    said = []
    if known("classifier_accuracy"):
        right = rows.at["trained", "classifier_accuracy"]
        said.append(f"A classifier tells queries and keys apart in {100 * right:.1f} % after training; chance is 50 %.")
    if known("energy_distance"):
        before, after = (rows.at[stage, "energy_distance"] for stage in STAGES)
        said.append(f"The energy distance of the two clouds went from {before:.3g} to {after:.3g}.")
    if known("query_norm") and known("key_norm"):
        query, key = (rows.at["untrained", f"{side}_norm"] for side in SIDES)
        if query < FEW * key:
            said.append(f"Untrained queries are short ({query:.2g} against {key:.2g}): PCA shows them as one dot.")
    return said


def before_and_after(figures: pd.DataFrame, checkpoint: str) -> pd.DataFrame:
    """The checkpoint's figures, one row a measure: untrained, trained, the change where both are there, and control."""
    rows = figures[figures["checkpoint"] == checkpoint].select_dtypes("number")
    rows = rows.drop(columns=[name for name in rows if name == "schema_version" or name.startswith("n_")])
    stages = figures.loc[rows.index, "stage"]
    table = rows.groupby(stages).mean().T
    if set(STAGES) <= set(table.columns):
        table["change"] = table["trained"] - table["untrained"]
    table = table.reindex(columns=[name for name in (*STAGES, "change", CONTROL) if name in table])
    known = [name for name in MEASURES if name in table.index]
    table = table.loc[[*known, *(name for name in table.index if name not in known)]].dropna(how="all")
    return table.set_axis([MEASURES.get(name, name) for name in table.index]).rename_axis("measure").reset_index()
