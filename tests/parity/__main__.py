"""`python -m tests.parity DIR …` holds the library against the numbers of an independent implementation.

Prints each quantity with what is expected, what ours is and the deviation; exits 0 only if all of them match, that is
|ours − theirs| ≤ 1e-4 · max(1, |theirs|). Without arguments: the folders of tests/golden/. Their README says how they
were made.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from probe.distillation.losses.aligned import uld
from probe.distillation.losses.attended import dskd_cma
from probe.distillation.losses.divergences import DIVERGENCES, adaptive_kl
from probe.distillation.losses.key_query import Discriminator, Matching, ReplayPadding, released_matching
from probe.distillation.losses.terms import Heads, LossTerms, PairedStates
from probe.distillation.losses.transport import ConditionalTransport
from probe.models.attention import (
    CrossModelAttention,
    Normalisation,
    attention_scores,
    keys,
    queries,
    t2s_weights,
)
from tests.support import ROOT
from tests.support.published import batch_sigmas, released_transport

GOLDEN = ROOT / "tests/golden"
TOLERANCE = 1e-4
RELEASED_DIVERGENCES = {**DIVERGENCES, "adaptive_kl": partial(adaptive_kl, released=True)}
del RELEASED_DIVERGENCES["adaptive_kl-released"]  # which the fixtures call adaptive_kl
KD_RATE, TEMPERATURE, KAPPA = 0.5, 2.0, 1.0
NOT_COVERED = "not covered"


@dataclass(frozen=True)
class Row:
    """One compared quantity; None where a side has no such number."""

    case: str
    quantity: str
    expected: float | None
    ours: float | None

    @property
    def deviation(self) -> float:
        if self.expected is None or self.ours is None:
            return 0.0 if self.expected is self.ours else float("inf")
        return abs(self.ours - self.expected)

    @property
    def matches(self) -> bool:
        return self.deviation <= TOLERANCE * max(1.0, abs(self.expected or 0.0))


@dataclass(frozen=True)
class Side:
    """One model of a case over its padded batch; `response` is true at valid positions."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    response: Tensor
    hidden: Tensor

    @property
    def embeddings(self) -> Tensor:
        return self.model.get_input_embeddings().weight

    @property
    def head(self) -> Tensor:
        return self.model.get_output_embeddings().weight

    def embed(self, ids: Tensor) -> Tensor:
        return self.embeddings.detach()[torch.where(self.response, ids, 0)]


@dataclass(frozen=True)
class Case:
    """A fixture folder, loaded: both sides, the projectors, σ of the published `batch` normalisation."""

    student: Side
    teacher: Side
    attention: CrossModelAttention
    discriminator: Discriminator
    transport: ConditionalTransport
    normalisation: Normalisation
    chunk_mask: Tensor

    def states(self) -> PairedStates:
        student, teacher = self.student, self.teacher
        return PairedStates(
            student.hidden[student.response],
            student.embed(student.inputs)[student.response],
            student.embed(student.targets)[student.response],
            student.targets[student.response],
            student.response.sum(1).tolist(),
            teacher.hidden[teacher.response],
            teacher.embed(teacher.inputs)[teacher.response],
            teacher.embed(teacher.targets)[teacher.response],
            teacher.targets[teacher.response],
            teacher.response.sum(1).tolist(),
        )

    def chunks(self) -> list[Tensor]:
        """Per example, which teacher positions share a chunk with a student position (the fixture's own chunks)."""
        sides = zip(self.chunk_mask, self.student.response, self.teacher.response, strict=True)
        return [mask[rows][:, columns] for mask, rows, columns in sides]

    def padded_keys_queries(self) -> tuple[Tensor, Tensor]:
        """q and k at every padded position."""
        student, teacher = self.student, self.teacher
        q = queries(student.embed(student.inputs), student.embed(student.targets), self.attention.query)
        k = keys(teacher.embed(teacher.inputs), teacher.embed(teacher.targets), self.normalisation.sigma_k)
        return q, k

    def ct_matching(self) -> Matching:
        """The published conditional transport, over all padded positions whatever the valid ones are."""
        return lambda _queries, _keys: released_transport(self.transport, *self.padded_keys_queries())

    def gan_matching(self) -> Matching:
        padding = ReplayPadding(
            self.student.embeddings[0].detach(),
            self.teacher.embeddings[0].detach(),
            int((~self.student.response).sum()),
            int((~self.teacher.response).sum()),
        )
        return released_matching(self.discriminator, padding, self.attention.query, self.normalisation.sigma_k)


def _side(folder: Path, batch: dict[str, Tensor], name: str, *, train: bool) -> Side:
    model = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32, attn_implementation="eager").eval()
    model.requires_grad_(train)
    inputs, labels = batch[f"{name}.input_ids"], batch[f"{name}.labels"]
    positions = {"position_ids": batch[key]} if (key := f"{name}.position_ids") in batch else {}
    out = model(inputs, attention_mask=batch[f"{name}.attention_mask"], output_hidden_states=True, **positions)
    return Side(model, inputs, labels, labels != -100, out.hidden_states[-1])


def load_case(folder: Path) -> Case:
    """Runs both models over the fixture's batch; the student's states carry a gradient."""
    batch = load_file(folder / "batch.safetensors")
    student, teacher = _side(folder, batch, "student", train=True), _side(folder, batch, "teacher", train=False)
    attention = CrossModelAttention(student.hidden.shape[-1], teacher.hidden.shape[-1])
    attention.load_state_dict(load_file(folder / "projectors.safetensors"))
    weights = load_file(folder / "discriminator.safetensors")
    hidden_dim, key_dim = weights["hidden.weight"].shape
    discriminator = Discriminator(key_dim, hidden_dim)
    discriminator.load_state_dict(weights)
    weights = load_file(folder / "conditional_transport.safetensors")
    transport = ConditionalTransport(key_dim, len(weights["critic_token.hidden.bias"]))
    transport.load_state_dict(weights)
    normalisation = batch_sigmas(
        teacher.embed(teacher.inputs),
        teacher.embed(teacher.targets),
        teacher.hidden,
        teacher.response,
        teacher.embeddings[0],
    )
    return Case(student, teacher, attention, discriminator, transport, normalisation, batch["chunk_mask"].bool())


def run_dskd_cma(case: Case, divergence: str, matching: Matching | None = None, **options: object) -> LossTerms:
    """One objective of the library at the fixtures' settings, gradients taken."""
    case.student.model.zero_grad()
    case.attention.zero_grad()
    terms = dskd_cma(
        case.states(),
        case.attention,
        Heads(case.student.head, case.teacher.head),
        case.normalisation,
        kd_rate=KD_RATE,
        temperature=TEMPERATURE,
        divergence=RELEASED_DIVERGENCES[divergence],
        matching=matching,
        kappa=KAPPA,
        reduction="sum",
        **options,
    )
    terms.loss.backward(retain_graph=True)
    return terms


def run_uld(case: Case) -> LossTerms:
    """ULD at the fixtures' settings (no temperature), gradients taken."""
    case.student.model.zero_grad()
    case.attention.zero_grad()
    heads = Heads(case.student.head, case.teacher.head)
    terms = uld(case.states(), heads, kd_rate=KD_RATE, temperature=1.0, reduction="sum")
    terms.loss.backward(retain_graph=True)
    return terms


def quantities(case: Case, terms: LossTerms) -> dict[str, float | None]:
    """Named as in expected.json; its s2t accuracy is a count scaled to the number of student targets."""
    kd_loss = float(terms.t2s_ce + terms.t2s_kd + terms.s2t_kd)
    projectors = {name: getattr(case.attention, name).weight for name in ("query", "t2s", "s2t")}
    grads = {**projectors, "student_embedding": case.student.embeddings}
    return {
        "nll_loss": float(terms.ce),
        "t2s_ce_loss": float(terms.t2s_ce),
        "t2s_acc": float(terms.t2s_correct),
        "max_t2s_prob": float(terms.max_t2s_prob),
        "t2s_kd_loss": float(terms.t2s_kd),
        "s2t_kd_loss": float(terms.s2t_kd),
        "s2t_acc": float(terms.s2t_correct) * terms.n_student / terms.n_teacher,
        "kd_loss": kd_loss,
        "kq_loss": None if terms.kq is None else float(terms.kq),
        "uld_loss": None if terms.kd is None else float(terms.kd),
        "loss": float(terms.loss.detach()),
        "accuracy": float(terms.student_correct),
        **{f"grad_norm.{name}": None if p.grad is None else float(p.grad.norm()) for name, p in grads.items()},
    }


def map_rows(case: Case, folder: Path) -> Iterator[Row]:
    """The largest deviation of each example's t2s map over valid rows; under chunks, over those that have a chunk."""
    for method, expected in load_file(folder / "expected_maps.safetensors").items():
        for index, (want, q, k) in enumerate(zip(expected, *case.padded_keys_queries(), strict=True)):
            rows, columns = case.student.response[index], case.teacher.response[index]
            chunk = case.chunks()[index]
            if method == "dskd-cma":
                mask = torch.ones_like(chunk)
            else:
                mask = chunk[chunk.any(1)]
                rows = rows.nonzero().squeeze(1)[chunk.any(1)]
            scores = torch.zeros(mask.shape) if method == "dskd-clp" else attention_scores(q[rows], k[columns])
            deviation = (t2s_weights(scores, mask) - want[rows][:, columns]).abs().max().item()
            yield Row(f"maps/{method}", f"example {index}: max |deviation|", 0.0, deviation)


def compare(folder: Path) -> Iterator[Row]:
    """Every quantity of a fixture folder."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    case = load_case(folder)
    for name, numbers in expected.items():
        method, _, divergence = name.rpartition("/")
        if method == "dskd-cma":
            ours = quantities(case, run_dskd_cma(case, divergence))
        elif method == "dskd-cma-ga/gan-released":
            ours = quantities(case, run_dskd_cma(case, divergence, case.gan_matching()))
        elif method == "dskd-cma-ga/ct-released":
            ours = quantities(case, run_dskd_cma(case, divergence, case.ct_matching()))
        elif name == "uld":
            ours = quantities(case, run_uld(case))
        elif method == "dskd-cla":
            ours = quantities(case, run_dskd_cma(case, divergence, masks=case.chunks()))
        elif method == "dskd-clp":
            maps = [chunk.float() / chunk.sum(1, keepdim=True) for chunk in case.chunks()]
            ours = quantities(case, run_dskd_cma(case, divergence, maps=maps))
        else:
            yield Row(name, NOT_COVERED, None, None)
            continue
        yield from (Row(name, quantity, value, ours.get(quantity)) for quantity, value in numbers.items())
    yield from map_rows(case, folder)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="fixture folders (default: those of tests/golden/)")
    folders = parser.parse_args(argv).folders or sorted(path.parent for path in GOLDEN.glob("*/expected.json"))
    failed = compared = 0
    for folder in folders:
        if not (folder / "expected.json").is_file():
            print(f"{folder}: wanted a fixture folder with expected.json, found none", file=sys.stderr)
            return 2
        print(f"\n{folder.name}\n{'case':38}{'quantity':32}{'expected':>14}{'ours':>14}{'deviation':>12}")
        for row in compare(folder):
            if row.quantity == NOT_COVERED:
                print(f"{row.case:38}{row.quantity}  DIFFERS")
                compared, failed = compared + 1, failed + 1
                continue
            compared, failed = compared + 1, failed + (not row.matches)
            numbers = "".join(
                f"{'none':>14}" if value is None else f"{value:14.6f}" for value in (row.expected, row.ours)
            )
            verdict = "" if row.matches else "  DIFFERS"
            print(f"{row.case:38}{row.quantity:32}{numbers}{row.deviation:12.2e}{verdict}")
    print(f"\n{compared - failed} of {compared} quantities match")
    return 1 if failed or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
