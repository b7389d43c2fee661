"""Checkpoints and examples to attention maps: load what a map needs (no transformer), tokenize, extract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from probe.errors import DamagedError, UsageError
from probe.extraction import embedding_maps
from probe.extraction.embedding_maps import DirectionChoice, MapSource
from probe.extraction.key_sigmas import NormalisationKind
from probe.maps.attention_map import AttentionMap
from probe.models.checkpoint import Checkpoint, embeddings_fingerprint, load_checkpoint
from probe.models.loading import input_embeddings, load_tokenizer, resolve_model
from probe.text.examples import Example
from probe.text.tokenization import ChatTemplate, PairTokenizer

CHUNK = 256  # examples whose distinct tokens are projected together


@dataclass(frozen=True)
class Extractor:
    """Loaded checkpoints that share both tokenizers, ready to make maps.

    ``sources`` has one entry per checkpoint, in order, and then the untrained baseline where asked for.
    """

    checkpoints: tuple[Checkpoint, ...]
    sources: tuple[MapSource, ...]
    tokenizer: PairTokenizer
    teacher: str

    @classmethod
    def load(
        cls,
        checkpoints: Sequence[Checkpoint | Path | str],
        *,
        teacher: str | None = None,
        untrained_baseline: bool = False,
        max_length: int | None = None,
        chat_template: ChatTemplate = "own",
    ) -> Extractor:
        """Load ``checkpoints`` (directories or loaded ones) and their teacher's embeddings and tokenizer.

        Raises:
            UsageError: two checkpoints have one name, or one is named like the baseline.
            DamagedError: a checkpoint without projectors, with other tokenizers than the first, or with another teacher
                than it was trained with; gives both numbers.
        """
        loaded = tuple(c if isinstance(c, Checkpoint) else load_checkpoint(c) for c in checkpoints)
        _check_names(loaded, untrained_baseline)
        for checkpoint in loaded:
            checkpoint.require_attention()
            _check_same_tokenizers(loaded[0], checkpoint)
        names = [teacher or checkpoint.config.teacher for checkpoint in loaded]
        directories = {name: resolve_model(name) for name in dict.fromkeys(names)}
        tables = {name: input_embeddings(directory) for name, directory in directories.items()}
        pair = PairTokenizer(
            load_tokenizer(loaded[0].student_directory), load_tokenizer(directories[names[0]]), max_length=max_length,
            chat_template=chat_template,
        )  # fmt: skip
        _check_tokenizers(loaded[0], pair, names[0])
        sources = [_source(checkpoint, name, tables[name]) for checkpoint, name in zip(loaded, names, strict=True)]
        if untrained_baseline:
            sources.append(embedding_maps.untrained(sources[0], int(loaded[0].config.settings.get("seed", 0))))
        return cls(loaded, tuple(sources), pair, names[0])

    def maps(
        self,
        examples: Sequence[Example],
        *,
        direction: DirectionChoice = "both",
        normalisation: NormalisationKind = "frozen",
        batch_size: int = 8,
        padded_length: int | None = None,
    ) -> Iterator[AttentionMap]:
        """Yield the maps of ``examples``: by chunk of examples, then source, then example, then direction."""
        step = max(CHUNK // batch_size, 1) * batch_size  # a batch never straddles two chunks
        for start in range(0, len(examples), step):
            pairs = self.tokenizer.encode(examples[start : start + step])
            for source in self.sources:
                yield from embedding_maps.maps_of_pairs(
                    source,
                    pairs,
                    direction=direction,
                    normalisation=normalisation,
                    batch_size=batch_size,
                    padded_length=padded_length,
                )


def _check_names(checkpoints: Sequence[Checkpoint], untrained_baseline: bool) -> None:
    names = [_name(checkpoint) for checkpoint in checkpoints] + ["untrained"] * untrained_baseline
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"wanted checkpoints in directories of different names, found {name!r} {names.count(name)} times. "
                "The name tells their maps apart in the store; rename one."
            )


def _name(checkpoint: Checkpoint) -> str:
    return checkpoint.directory.resolve().name


def _check_same_tokenizers(first: Checkpoint, other: Checkpoint) -> None:
    for side in ("student_tokenizer", "teacher_tokenizer"):
        wanted, found = getattr(first.config, side), getattr(other.config, side)
        if wanted != found:
            raise DamagedError(
                f"checkpoints of one store share both tokenizers, but the {side.replace('_', ' ')} of "
                f"{first.directory} is {wanted} and that of {other.directory} is {found}. Extract them into two stores."
            )


def _check_tokenizers(checkpoint: Checkpoint, pair: PairTokenizer, teacher: str) -> None:
    config = checkpoint.config
    for place, wanted, found in (
        (checkpoint.student_directory, config.student_tokenizer, pair.student_fingerprint),
        (teacher, config.teacher_tokenizer, pair.teacher_fingerprint),
    ):
        if wanted != found:
            raise DamagedError(
                f"{place}: wanted the tokenizer that {checkpoint.directory} was trained with (fingerprint {wanted}), "
                f"found {found}. Give the right model with --teacher, or use the checkpoint as it was made."
            )


def _source(checkpoint: Checkpoint, teacher: str, teacher_table: Float[Tensor, "vocab_t d_t"]) -> MapSource:
    """Tables and projector of a checkpoint, after checking that they are the ones it was trained with."""
    config, attention = checkpoint.config, checkpoint.require_attention()
    student_table = input_embeddings(checkpoint.student_directory)
    for place, wanted, table in (
        (checkpoint.student_directory, (config.student_vocabulary, config.student_dim), student_table),
        (teacher, (config.teacher_vocabulary, config.teacher_dim), teacher_table),
    ):
        if wanted != tuple(table.shape):
            raise DamagedError(
                f"{place}: wanted the embedding table that {checkpoint.directory} was trained with, {wanted[0]} x "
                f"{wanted[1]}, found {' x '.join(map(str, table.shape))}. Give the right model with --teacher."
            )
    found = embeddings_fingerprint(teacher_table)
    if config.teacher_embeddings != found:
        raise DamagedError(
            f"{teacher}: wanted the embeddings that {checkpoint.directory} was trained with (fingerprint "
            f"{config.teacher_embeddings}), found {found}. Give the right model with --teacher."
        )
    assert config.normalisation is not None  # require_attention() found projectors
    tables, sigma_k = (student_table, teacher_table), config.normalisation.sigma_k
    return MapSource.of(_name(checkpoint), config.method, tables, attention, sigma_k)
