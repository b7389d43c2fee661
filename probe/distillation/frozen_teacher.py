"""The frozen teacher of a run: its tables, its cached states, and the summaries of its distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from probe.distillation.losses.fused_head import TeacherSummary, teacher_summary
from probe.distillation.losses.target_likelihood import target_likelihoods
from probe.distillation.teacher_cache import state_key
from probe.text.tokenization import PairedTokens


@dataclass
class FrozenTeacher:
    """The teacher as a run sees it: tables, cached states, and the summaries that are made once per text.

    ``fingerprint`` is that of the model's files (see :func:`probe.distillation.teacher_cache.model_fingerprint`).
    ``token_map`` [vocab_t] gives each teacher token's student token, for mined alone.
    """

    embeddings: Tensor  # [vocab_t, d_t]
    head: Tensor  # [vocab_t, d_t]
    head_bias: Tensor | None
    states: Mapping[str, Tensor]  # state_key -> [teacher, d_t]
    temperature: float
    fingerprint: str = ""
    token_map: Tensor | None = None
    summaries: dict[str, TeacherSummary] = field(default_factory=dict)
    likelihoods: dict[str, Tensor] = field(default_factory=dict)

    def hidden(self, pairs: Sequence[PairedTokens]) -> Tensor:
        """Last hidden states of all pairs' response positions, flat, float32."""
        return torch.cat([self.states[state_key(pair.teacher)].float() for pair in pairs]).to(self.head.device)

    def summary(self, pairs: Sequence[PairedTokens]) -> TeacherSummary:
        """The s2t term's constants for all pairs, computed the first time a text is met.

        Each text by itself, although a batch at once is faster: a resumed run meets it in another batch, and must get
        the same bits.
        """
        for pair in pairs:
            key = state_key(pair.teacher)
            if key not in self.summaries:
                summary = teacher_summary(self.hidden([pair]), self.head, self.temperature, self.head_bias)
                self.summaries[key] = _moved(summary, torch.device("cpu"))  # one for each text: more than a GPU holds
        parts = [_moved(self.summaries[state_key(pair.teacher)], self.head.device) for pair in pairs]
        return TeacherSummary(torch.cat([p.expected_head for p in parts]), torch.cat([p.negentropy for p in parts]))

    @torch.no_grad()
    def log_likelihoods(self, pairs: Sequence[PairedTokens]) -> Tensor:
        """log p(z_j) of all pairs' targets, flat, untempered, computed the first time a text is met (by itself, as in
        :meth:`summary`)."""
        device = self.head.device
        for pair in pairs:
            key = state_key(pair.teacher)
            if key not in self.likelihoods:
                targets = torch.tensor(pair.teacher.targets, device=device)
                found = target_likelihoods(self.hidden([pair]), self.head, targets, self.head_bias)
                self.likelihoods[key] = found.log_p  # a number a position: no need of the CPU
        return torch.cat([self.likelihoods[state_key(pair.teacher)] for pair in pairs]).to(device)

    def to(self, device: torch.device) -> FrozenTeacher:
        """The same teacher with its tables on ``device``; states and summaries stay on the CPU until they are asked."""
        bias = None if self.head_bias is None else self.head_bias.to(device)
        mapping = None if self.token_map is None else self.token_map.to(device)
        tables = self.embeddings.to(device), self.head.to(device)
        return replace(self, embeddings=tables[0], head=tables[1], head_bias=bias, token_map=mapping)


def _moved(summary: TeacherSummary, device: torch.device) -> TeacherSummary:
    return TeacherSummary(summary.expected_head.to(device), summary.negentropy.to(device))
