"""Position-to-position objectives against dense equations, and what each term may and may not reach."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from probe.distillation.losses import fused_head, student_head
from probe.distillation.losses.aligned import dskd, kd, mined, shared_beginnings, uld
from probe.distillation.losses.attended import sft
from probe.distillation.losses.divergences import DIVERGENCES, forward_kl, sorted_l1
from probe.distillation.losses.terms import Heads, LossTerms, PairedStates
from probe.errors import NonFiniteError
from probe.models.attention import SpaceProjectors

VOCAB_S, VOCAB_T, DIM_S, DIM_T = 23, 31, 6, 4
LENGTHS = (5, 3), (4, 6)
TAU, RATE = 2.0, 0.3
close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-11)


@pytest.fixture(autouse=True)
def _double_and_small_tiles(monkeypatch):
    torch.manual_seed(0)
    for module in (fused_head, student_head):
        monkeypatch.setattr(module, "TILE_FLOATS", 64)
    monkeypatch.setattr(student_head, "LEAST_ROWS", 2)  # several chunks even here
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


class World:
    """Random states of two examples, both heads with biases, and the projectors; ``same``: one tokenizer."""

    def __init__(self, *, same: bool, vocab_t: int = VOCAB_T) -> None:
        lengths = (LENGTHS[0], LENGTHS[0] if same else LENGTHS[1])
        self.hidden = torch.randn(sum(lengths[0]), DIM_S, requires_grad=True)
        self.head, self.bias = torch.randn(VOCAB_S, DIM_S, requires_grad=True), torch.randn(VOCAB_S, requires_grad=True)
        self.teacher_hidden = torch.randn(sum(lengths[1]), DIM_T, requires_grad=True)
        self.teacher_head = torch.randn(vocab_t, DIM_T, requires_grad=True)
        self.teacher_bias = torch.randn(vocab_t)
        self.projectors = SpaceProjectors(DIM_S, DIM_T)
        self.targets = torch.randint(VOCAB_S, (sum(lengths[0]),))
        self.teacher_targets = self.targets if same else torch.randint(vocab_t, (sum(lengths[1]),))
        self.lengths = lengths

    def states(self) -> PairedStates:
        return PairedStates(
            self.hidden, self.hidden.detach(), self.hidden.detach(), self.targets, self.lengths[0],
            self.teacher_hidden.detach(), self.teacher_hidden.detach(), self.teacher_hidden.detach(),
            self.teacher_targets, self.lengths[1],
        )  # fmt: skip

    @property
    def heads(self) -> Heads:
        return Heads(self.head, self.teacher_head, self.bias, self.teacher_bias)

    @property
    def options(self) -> dict[str, object]:
        return {"kd_rate": RATE, "reduction": "sum"}

    @property
    def logits(self) -> Tensor:
        return self.hidden @ self.head.T + self.bias

    @property
    def teacher_logits(self) -> Tensor:
        return self.teacher_hidden.detach() @ self.teacher_head.detach().T + self.teacher_bias

    def ce(self) -> Tensor:
        return F.cross_entropy(self.logits, self.targets, reduction="sum")

    def grads(self, loss: Tensor) -> dict[str, Tensor | None]:
        named = {"hidden": self.hidden, "head": self.head, "bias": self.bias, "teacher_head": self.teacher_head}
        named |= dict(self.projectors.named_parameters()) | {"teacher_hidden": self.teacher_hidden}
        return dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))

    def check(self, terms: LossTerms, dense: Tensor, reached: set[str]) -> None:
        """Value and every gradient of the dense objective, which must reach just ``reached``."""
        close(terms.loss, dense)
        ours, theirs = self.grads(terms.loss), self.grads(dense)
        assert {name for name, grad in ours.items() if grad is not None and grad.abs().sum() > 0} == reached
        for name in reached:
            close(ours[name], theirs[name])


STUDENT = {"hidden", "head", "bias"}
PROJECTORS = {"t2s.weight", "t2s.bias", "s2t.weight", "s2t.bias"}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_kd_is_the_divergence_of_both_models_logits(name):
    world = World(same=True, vocab_t=VOCAB_S)
    terms = kd(world.states(), world.heads, temperature=TAU, divergence=DIVERGENCES[name], **world.options)
    dense_kd = DIVERGENCES[name](world.logits, world.teacher_logits, TAU).sum()
    close(terms.kd, dense_kd.detach())
    close(terms.ce, world.ce().detach())
    world.check(terms, (1 - RATE) * world.ce() + RATE * dense_kd, STUDENT)
    assert set(terms.parts) == {"ce", "kd"} and terms.n_student == 8


@pytest.mark.parametrize("vocab_t", [VOCAB_S - 4, VOCAB_S + 5])
def test_kd_over_the_ids_that_two_padded_heads_share(vocab_t):
    world = World(same=True, vocab_t=vocab_t)
    world.targets.clamp_(max=VOCAB_S - 5)
    terms = kd(world.states(), world.heads, temperature=TAU, **world.options)
    shared = min(VOCAB_S, vocab_t)
    dense = forward_kl(world.logits[:, :shared], world.teacher_logits[:, :shared], TAU).sum()
    world.check(terms, (1 - RATE) * world.ce() + RATE * dense, STUDENT)


def test_kd_of_equal_models_is_the_cross_entropy_alone():
    world = World(same=True, vocab_t=VOCAB_S)
    world.teacher_hidden = world.hidden
    terms = kd(world.states(), Heads(world.head, world.head), kd_rate=0.5, reduction="sum")
    assert terms.kd.abs() < 1e-12
    close(terms.loss, 0.5 * sft(world.hidden, world.targets, world.head, reduction="sum").loss)


@pytest.mark.parametrize("method", [kd, dskd])
def test_one_tokenizer_is_asked_for(method):
    world = World(same=False)
    arguments = (world.projectors,) if method is dskd else ()
    with pytest.raises(ValueError, match="one tokenizer"):
        method(world.states(), *arguments, world.heads)


def dense_dskd(world: World, rows: list[int], columns: list[int], divergence=forward_kl) -> dict[str, Tensor]:
    t2s = world.projectors.t2s(world.teacher_hidden.detach()[columns]) @ world.head.detach().T + world.bias.detach()
    s2t = world.projectors.s2t(world.hidden[rows]) @ world.teacher_head.detach().T + world.teacher_bias
    return {
        "ce": world.ce(),
        "t2s_ce": F.cross_entropy(t2s, world.targets[rows], reduction="sum"),
        "t2s_kd": divergence(world.logits[rows], t2s.detach(), TAU).sum(),
        "s2t_kd": forward_kl(s2t, world.teacher_logits[columns], TAU).sum(),
    }


@pytest.mark.parametrize("pairs", [None, [[0, 2, 3, 7], [1, 2, 3, 9]]], ids=["one tokenizer", "eta"])
def test_dskd_is_its_equation(pairs):
    world = World(same=pairs is None)
    links = None if pairs is None else torch.tensor(pairs)
    terms = dskd(world.states(), world.projectors, world.heads, links, temperature=TAU, **world.options)
    rows, columns = (list(range(8)),) * 2 if pairs is None else pairs
    dense = dense_dskd(world, rows, columns)
    for name, value in dense.items():
        close(getattr(terms, name), value.detach())
    guided = dense["t2s_ce"] + dense["t2s_kd"] + dense["s2t_kd"]
    world.check(terms, (1 - RATE) * dense["ce"] + RATE * guided, STUDENT | PROJECTORS)
    assert (terms.n_student, terms.n_teacher) == (8, len(rows))


def test_eta_without_any_pair_is_the_cross_entropy():
    world = World(same=False)
    none = torch.zeros(2, 0, dtype=torch.long)
    terms = dskd(world.states(), world.projectors, world.heads, none, temperature=TAU, **world.options)
    close(terms.loss, (1 - RATE) * world.ce())


def test_uld_by_hand():
    student = torch.tensor([[0.2, 0.5, 0.3]]).log()
    teacher = torch.tensor([[0.1, 0.6, 0.05, 0.25]]).log()
    close(sorted_l1(student, teacher, 1.0), torch.tensor([0.1 + 0.05 + 0.1 + 0.05]))  # .5 .3 .2 0 and .6 .25 .1 .05
    close(sorted_l1(teacher, student, 1.0), torch.tensor([0.3]))
    assert sorted_l1(student, student.flip(1), 1.0).item() < 1e-12  # which token is likely does not matter


def test_uld_pairs_positions_as_far_as_both_reach():
    world = World(same=False)  # 5 and 3 student positions, 4 and 6 teacher positions
    rows, columns = shared_beginnings(world.states()).tolist()
    assert (rows, columns) == ([0, 1, 2, 3, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6])
    terms = uld(world.states(), world.heads, temperature=1.5, **world.options)
    p = torch.softmax(world.logits[rows] / 1.5, 1).sort(1, descending=True).values
    q = torch.softmax(world.teacher_logits[columns] / 1.5, 1).sort(1, descending=True).values
    dense = (F.pad(p, (0, VOCAB_T - VOCAB_S)) - q).abs().sum()
    close(terms.kd, dense.detach())
    world.check(terms, (1 - RATE) * world.ce() + RATE * dense, STUDENT)


def test_mined_maps_the_teachers_logits_and_falls_back_to_the_target():
    world = World(same=False)
    token_map = torch.arange(VOCAB_T) % 20  # tokens 20 to 22 of the student have none, 0 to 10 have two
    aligned = torch.tensor([0, -1, 3, 2, -1, 5, -1, 9])
    terms = mined(world.states(), world.heads, aligned, token_map, temperature=TAU, **world.options)
    dense = world.hidden.new_zeros(())
    log_p = torch.log_softmax(world.logits / TAU, 1)
    for i, j in enumerate(aligned.tolist()):
        if j < 0:
            dense = dense - log_p[i, world.targets[i]]
            continue
        logits = world.teacher_logits[j]
        mapped = torch.stack([logits[token_map == token].max() for token in range(20)])
        log_q = torch.log_softmax(mapped / TAU, 0)
        dense = dense + (log_q.exp() * (log_q - log_p[i, :20])).sum()
    close(terms.kd, dense.detach())
    world.check(terms, (1 - RATE) * world.ce() + RATE * dense, STUDENT)


def calls():
    token_map, aligned = torch.arange(VOCAB_T) % VOCAB_S, torch.tensor([0, -1, 3, 2, -1, 5, -1, 9])
    pairs = torch.tensor([[0, 2, 3, 7], [1, 2, 3, 9]])
    return {
        "kd": lambda w, **o: kd(w.states(), w.heads, **o),
        "dskd": lambda w, **o: dskd(w.states(), w.projectors, w.heads, **o),
        "eta": lambda w, **o: dskd(w.states(), w.projectors, w.heads, pairs, **o),
        "uld": lambda w, **o: uld(w.states(), w.heads, **o),
        "mined": lambda w, **o: mined(w.states(), w.heads, aligned, token_map, **o),
    }


@pytest.mark.parametrize("name", calls())
def test_mean_divides_by_student_targets(name):
    world = World(same=name in ("kd", "dskd"))
    close(calls()[name](world).loss, calls()[name](world, reduction="sum").loss / 8)


@pytest.mark.parametrize("name", calls())
def test_evaluation_gives_the_same_numbers_without_a_gradient(name):
    world = World(same=name in ("kd", "dskd"))
    with torch.no_grad():
        quiet = calls()[name](world)
    close(quiet.loss, calls()[name](world).loss.detach())
    assert not quiet.loss.requires_grad


@pytest.mark.parametrize("name", calls())
def test_numbers_that_are_not_finite_are_named(name):
    world = World(same=name in ("kd", "dskd"))
    with torch.no_grad():
        world.hidden[1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="ce = nan"):
        calls()[name](world)


class Widest(TorchDispatchMode):
    """The most rows of a tensor that is as wide as the teacher's vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor) and tensor.ndim == 2 and tensor.shape[1] == VOCAB_T:
                self.rows = max(self.rows, tensor.shape[0])
        return out


@pytest.mark.parametrize("name", ["uld", "mined"])
def test_the_teachers_logits_never_exist_for_more_than_a_chunk(name):
    world = World(same=False)
    with Widest() as widest:
        calls()[name](world).loss.backward()
    assert widest.rows == DIM_T  # the transposed head; logits of a chunk have 2 rows
