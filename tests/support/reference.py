"""The equations of DSKD-CMA written densely over padded batches, as the public code computes them; slow on purpose.

Full-vocabulary logits at every padded position of both models, the teacher's forward in every step, one softmax after
the other. Nothing is shared with `probe.distillation` but the equations: this is the other side of `make bench` and
of the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

IGNORED = -100


@dataclass(frozen=True)
class PaddedSide:
    """One model and its padded batch; `labels` are targets at valid response positions and -100 elsewhere."""

    model: nn.Module
    input_ids: Int[Tensor, "batch position"]
    labels: Int[Tensor, "batch position"]
    attention_mask: Int[Tensor, "batch position"]
    position_ids: Int[Tensor, "batch position"] | None = None

    @property
    def response(self) -> Bool[Tensor, "batch position"]:
        return self.labels != IGNORED

    def forward(self) -> tuple[Tensor, Tensor]:
        """Logits and last hidden states at all positions."""
        positions = {} if self.position_ids is None else {"position_ids": self.position_ids}
        out = self.model(self.input_ids, attention_mask=self.attention_mask, output_hidden_states=True, **positions)
        return out.logits, out.hidden_states[-1]

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Embeddings of input and target tokens, those of token id 0 outside the response."""
        table = self.model.get_input_embeddings().weight.detach()
        zero = torch.zeros_like(self.input_ids)
        return table[torch.where(self.response, self.input_ids, zero)], table[
            torch.where(self.response, self.labels, zero)
        ]


@dataclass(frozen=True)
class DenseTerms:
    """`loss` and its parts, as sums over tokens; `weights` are the t2s weights of all padded cells."""

    loss: Float[Tensor, ""]
    ce: Float[Tensor, ""]
    t2s_ce: Float[Tensor, ""]
    t2s_kd: Float[Tensor, ""]
    s2t_kd: Float[Tensor, ""]
    t2s_correct: Float[Tensor, ""]
    weights: Float[Tensor, "batch student teacher"]


def divergence(name: str, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The six divergences in plain probabilities, per position; adaptive KL with a single temperature."""
    p, q = torch.softmax(student / temperature, -1), torch.softmax(teacher / temperature, -1)

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return (a * (a.log() - b.log())).sum(-1)

    if name == "forward_kl":
        return kl(q, p)
    if name == "reverse_kl":
        return kl(p, q)
    if name == "js_divergence":
        return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2
    if name == "skewed_forward_kl":
        return kl(q, 0.1 * q + 0.9 * p)
    if name == "skewed_reverse_kl":
        return kl(p, 0.1 * p + 0.9 * q)
    if name.startswith("adaptive_kl"):
        order = q.argsort(-1)
        tail = torch.zeros_like(q).scatter(-1, order, (q.gather(-1, order).cumsum(-1) < 0.5).to(q))
        gap = (p - q).abs().detach()
        g_tail, g_head = (gap * tail).sum(-1), (gap * (1 - tail)).sum(-1)
        if name == "adaptive_kl-released":
            p, q = torch.softmax(student / temperature**2, -1), torch.softmax(teacher / temperature**2, -1)
        return (g_head * kl(q, p) + g_tail * kl(p, q)) / (g_head + g_tail)
    raise ValueError(f"no divergence {name!r}")


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    log_probs = torch.log_softmax(logits, -1)
    picked = log_probs.gather(-1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return -(picked * (labels != IGNORED)).sum()


def dense_dskd_cma(
    student: PaddedSide,
    teacher: PaddedSide,
    attention: nn.Module,
    *,
    sigmas: tuple[float, float, float] | None = None,
    kd_rate: float = 0.5,
    temperature: float = 2.0,
    divergence_name: str = "forward_kl",
) -> DenseTerms:
    """The whole objective. `sigmas` (σ_k, σ_h, σ_e) None: measured over the padded batch, as published."""
    logits, hidden = student.forward()
    with torch.no_grad():
        teacher_logits, teacher_hidden = teacher.forward()
    inputs, targets = teacher.pairs()
    index = torch.cat([inputs, targets], -1)
    sigma_k, sigma_h, sigma_e = sigmas or (index.std(), teacher_hidden.std(), targets.std())
    query = attention.query(torch.cat(student.pairs(), -1))
    scores = query @ (index / sigma_k).transpose(-1, -2) / math.sqrt(2 * teacher_hidden.shape[-1])
    valid = student.response.unsqueeze(-1) & teacher.response.unsqueeze(1)
    scores = scores + (~valid) * -100000.0

    weights = torch.softmax(scores, -1)
    t2s_hidden = weights @ attention.t2s(teacher_hidden / sigma_h + targets / sigma_e)
    t2s_logits = t2s_hidden @ student.model.get_output_embeddings().weight.detach().T
    right = (t2s_logits.argmax(-1) == student.labels) & student.response
    ce, t2s_ce = cross_entropy(logits, student.labels), cross_entropy(t2s_logits, student.labels)
    t2s_kd = (divergence(divergence_name, logits, t2s_logits.detach(), temperature) * right).sum()

    s2t_hidden = torch.softmax(scores, 1).transpose(-1, -2) @ attention.s2t(hidden)
    s2t_logits = s2t_hidden @ teacher.model.get_output_embeddings().weight.detach().T
    s2t_kd = (divergence("forward_kl", s2t_logits, teacher_logits, temperature) * teacher.response).sum()
    loss = (1 - kd_rate) * ce + kd_rate * (t2s_ce + t2s_kd + s2t_kd)
    return DenseTerms(loss, *(part.detach() for part in (ce, t2s_ce, t2s_kd, s2t_kd)), right.sum(), weights.detach())
