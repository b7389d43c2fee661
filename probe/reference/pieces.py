"""All that an import is made of, read once and checked against each other: two models, tokenizers, projectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import UsageError
from probe.models.attention import CrossModelAttention, SpaceProjectors
from probe.models.loading import input_embeddings, load_tokenizer, resolve_model
from probe.models.methods import METHODS
from probe.reference.models import embedding_table, read_model
from probe.reference.projectors import looks_untrained, read_projectors

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Sources:
    """Where the pieces are, and the method, which says whether there is a query to read.

    ``keep_teacher``: the teacher as it was read will be written out (as safetensors).
    """

    student: Path
    teacher: str
    projector: Path
    projector_config: Path | None = None
    lora: Path | None = None
    teacher_lora: Path | None = None
    method: str = "dskd-cma"
    keep_teacher: bool = False


@dataclass(frozen=True)
class Pieces:
    """The loaded pieces: adapters merged, everything in float32."""

    student: PreTrainedModel
    student_tokenizer: PreTrainedTokenizerFast
    teacher: PreTrainedModel
    teacher_tokenizer: PreTrainedTokenizerFast
    attention: CrossModelAttention | SpaceProjectors

    @property
    def tables(self) -> tuple[Float[Tensor, "vocab_s d_s"], Float[Tensor, "vocab_t d_t"]]:
        """Input embeddings of student and teacher."""
        return embedding_table(self.student), embedding_table(self.teacher)

    @property
    def query_looks_untrained(self) -> bool:
        """See :func:`probe.reference.projectors.looks_untrained`; False where there is no query."""
        return isinstance(self.attention, CrossModelAttention) and looks_untrained(self.attention.query)


def read_pieces(sources: Sources) -> Pieces:
    """Read the pieces.

    Raises:
        DamagedError, UnsafeError, NonFiniteError: a piece is missing, of another model, unsafe or not finite.
        UsageError: a teacher that later commands could not load as it is.
    """
    directory = _teacher_directory(sources)
    student, teacher = read_model(sources.student, sources.lora), read_model(directory, sources.teacher_lora)
    if sources.teacher_lora and not sources.keep_teacher:
        _refuse_new_embeddings(sources.teacher_lora, embedding_table(teacher), input_embeddings(directory))
    dims = (embedding_table(student).shape[1], embedding_table(teacher).shape[1])
    query = METHODS[sources.method].query
    attention = read_projectors(sources.projector, sources.projector_config, *dims, query=query)
    return Pieces(student, _student_tokenizer(sources), teacher, load_tokenizer(directory), attention)


def _teacher_directory(sources: Sources) -> Path:
    """The teacher's directory; pickled weights only where the teacher will be kept in another form."""
    given = Path(sources.teacher)
    if not given.is_dir() or any(given.glob("*.safetensors")) or not any(given.glob("pytorch_model*.bin")):
        return resolve_model(sources.teacher)
    if not sources.keep_teacher:
        raise UsageError(
            f"{given} has pickled weights, which later commands refuse. Add --teacher-out DIR: the teacher is then "
            "written there as safetensors, and the checkpoint names that."
        )
    return given


def _student_tokenizer(sources: Sources) -> PreTrainedTokenizerFast:
    """The tokenizer beside the adapter, as the public code saves it, else the student's."""
    own = sources.lora if sources.lora and (sources.lora / "tokenizer.json").is_file() else sources.student
    return load_tokenizer(own)


def _refuse_new_embeddings(adapter: Path, adapted: Tensor, plain: Tensor) -> None:
    """Other embeddings would make other keys than the teacher's directory does."""
    if not torch.equal(adapted, plain):
        raise UsageError(
            f"{adapter} changes the teacher's embeddings, which the keys are made of. Add --teacher-out DIR, so that "
            "the merged teacher is kept."
        )
