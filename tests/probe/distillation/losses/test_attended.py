"""The fused losses against the dense reference, and what each term may and may not reach."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from probe.distillation.losses import fused_head, student_head
from probe.distillation.losses.attended import dskd_cma, sft
from probe.distillation.losses.divergences import DIVERGENCES, forward_kl
from probe.distillation.losses.fused_head import head_pass, summary_kl, teacher_summary
from probe.distillation.losses.key_query import Discriminator, KeyQueryTerm, gan_matching
from probe.distillation.losses.student_head import StudentTerms, student_side
from probe.distillation.losses.terms import Heads, PairedStates
from probe.errors import NonFiniteError
from probe.models.attention import (
    CrossModelAttention,
    Normalisation,
    SpaceProjectors,
    attention_scores,
    keys,
    measure_sigmas,
    queries,
    s2t_weights,
    t2s_weights,
)
from tests.support.reference import IGNORED, PaddedSide, dense_dskd_cma

VOCAB_S, VOCAB_T, DIM_S, DIM_T = 23, 31, 6, 8
close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-11)


class TinyLM(nn.Module):
    """A causal language model of one line, with tied embeddings, in the shape of transformers' outputs."""

    def __init__(self, vocab: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.head.weight = self.embedding.weight

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def forward(self, ids: Tensor, attention_mask: Tensor, output_hidden_states: bool) -> object:
        hidden = torch.tanh(self.embedding(ids).cumsum(1)) + 0.3 * self.embedding(ids)
        return type("Out", (), {"logits": self.head(hidden), "hidden_states": (hidden,)})


@pytest.fixture(autouse=True)
def _double_and_small_tiles(monkeypatch):
    torch.manual_seed(0)
    for module in (fused_head, student_head):
        monkeypatch.setattr(module, "TILE_FLOATS", 64)  # several rows and slices even here
    monkeypatch.setattr(student_head, "LEAST_ROWS", 2)  # several chunks even here
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def padded(model: nn.Module, vocab: int, spans: list[tuple[int, int]], length: int) -> PaddedSide:
    labels = torch.full((len(spans), length), IGNORED)
    mask = torch.zeros(len(spans), length, dtype=torch.long)
    for row, (start, end) in enumerate(spans):
        labels[row, start:end] = torch.randint(vocab, (end - start,))
        mask[row, :end] = 1
    return PaddedSide(model, torch.randint(vocab, labels.shape), labels, mask)


class World:
    """Three examples of unequal lengths; every third student target is what the t2s logits say."""

    def __init__(self, pad: int = 0) -> None:
        self.student = padded(TinyLM(VOCAB_S, DIM_S), VOCAB_S, [(2, 9), (0, 1), (3, 8)], 9 + pad)
        self.teacher = padded(
            TinyLM(VOCAB_T, DIM_T).requires_grad_(False), VOCAB_T, [(1, 7), (4, 6), (2, 10)], 10 + pad
        )
        self.attention = CrossModelAttention(DIM_S, DIM_T)
        states = self.states()
        self.normalisation = measure_sigmas(states.teacher_input_emb, states.teacher_target_emb, states.teacher_hidden)
        for _ in range(3):  # targets shape the queries, so this settles in a few rounds
            guided = self.t2s_logits().argmax(-1)
            self.student.labels[:, ::3] = torch.where(self.student.response, guided, IGNORED)[:, ::3]

    def t2s_logits(self) -> Tensor:
        terms = dense_dskd_cma(self.student, self.teacher, self.attention, sigmas=self.sigmas)
        _, hidden = self.teacher.forward()
        value = self.attention.t2s(hidden / self.sigmas[1] + self.teacher.pairs()[1] / self.sigmas[2])
        return terms.weights @ value @ self.head.T

    @property
    def sigmas(self) -> tuple[float, float, float]:
        return self.normalisation.sigma_k, self.normalisation.sigma_h, self.normalisation.sigma_e

    @property
    def head(self) -> Tensor:
        return self.student.model.head.weight

    @property
    def teacher_head(self) -> Tensor:
        return self.teacher.model.head.weight

    def states(self, rows: slice = slice(None)) -> PairedStates:
        parts = []
        for side in (self.student, self.teacher):
            response = side.response[rows]
            _, hidden = side.forward()
            x, y = side.pairs()
            parts += [hidden[rows][response], x[rows][response], y[rows][response], side.labels[rows][response]]
            parts.append(response.sum(1).tolist())
        return PairedStates(*parts)

    def loss(self, rows: slice = slice(None), **options):
        options = {"reduction": "sum", **options}
        return dskd_cma(
            self.states(rows), self.attention, Heads(self.head, self.teacher_head), self.normalisation, **options
        )

    def grads(self, loss: Tensor) -> dict[str, Tensor]:
        named = dict(self.attention.named_parameters()) | {"student": self.student.model.embedding.weight}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
        return {
            name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), found, strict=True)
        }


@pytest.mark.parametrize("name", DIVERGENCES)
def test_fused_equals_dense(name):
    world = World()
    ours = world.loss(divergence=DIVERGENCES[name], kd_rate=0.3)
    dense = dense_dskd_cma(
        world.student, world.teacher, world.attention, sigmas=world.sigmas, kd_rate=0.3, divergence_name=name
    )
    for term in ("loss", "ce", "t2s_ce", "t2s_kd", "s2t_kd"):
        close(getattr(ours, term), getattr(dense, term))
    assert 0 < ours.t2s_correct.item() == dense.t2s_correct.item() < ours.n_student
    assert (ours.n_student, ours.n_teacher) == (13, 16)
    for (key, got), want in zip(world.grads(ours.loss).items(), world.grads(dense.loss).values(), strict=True):
        assert want.abs().max() > 0, key
        close(got, want)


def test_padding_changes_nothing():
    torch.manual_seed(5)
    world = World(pad=0)
    before = world.loss()
    for side in (world.student, world.teacher):
        grow = torch.randint(1, 20, (3, 4))
        object.__setattr__(side, "input_ids", torch.cat([side.input_ids, grow], 1))
        object.__setattr__(side, "labels", torch.cat([side.labels, torch.full((3, 4), IGNORED)], 1))
    after = world.loss()
    close(after.loss, before.loss, rtol=0, atol=0)
    for a, b in zip(world.grads(after.loss).values(), world.grads(before.loss).values(), strict=True):
        close(a, b)


def test_batch_mates_change_nothing():
    world = World()
    whole, alone = world.loss(), [world.loss(slice(i, i + 1)) for i in range(3)]
    for term in ("loss", "ce", "t2s_ce", "t2s_kd", "s2t_kd", "t2s_correct", "s2t_correct", "max_t2s_prob"):
        close(getattr(whole, term), sum(getattr(one, term) for one in alone))
    whole_grads, parts = world.grads(whole.loss), [world.grads(one.loss) for one in alone]
    for name, grad in whole_grads.items():
        close(grad, sum(part[name] for part in parts))


def test_mean_divides_by_student_targets_and_kq_is_a_mean_already():
    world = World()
    total, mean = world.loss(), world.loss(reduction="mean")
    close(mean.loss, total.loss / 13)
    close(mean.ce, total.ce)  # reported parts stay sums

    def matching(_q, _k, per_target=False):
        return KeyQueryTerm(torch.tensor(2.0), torch.tensor(0.5), per_target)

    close(world.loss(reduction="mean", matching=matching, kappa=3.0).loss, total.loss / 13 + 6)
    released = partial(matching, per_target=True)
    close(world.loss(reduction="mean", matching=released, kappa=3.0).loss, (total.loss + 6) / 13)


def test_cross_entropy_alone_reaches_no_projector():
    world = World()
    grads = world.grads(world.loss(kd_rate=0.0).loss)
    assert grads.pop("student").abs().max() > 0
    assert all(grad.abs().max() == 0 for grad in grads.values())


def no_divergence(student: Tensor, _teacher: Tensor, _temperature: float) -> Tensor:
    return 0 * student.sum(-1)


def test_heads_inside_t2s_and_s2t_are_constants():
    world = World()
    head, teacher_head = (head.detach().clone().requires_grad_() for head in (world.head, world.teacher_head))
    states = world.states()
    hidden = states.student_hidden.detach().requires_grad_()
    terms = dskd_cma(
        replace(states, student_hidden=hidden), world.attention, Heads(head, teacher_head), world.normalisation,
        kd_rate=1.0, divergence=no_divergence,
    )  # fmt: skip
    terms.loss.backward()
    assert head.grad.abs().max() == 0  # neither t2s CE nor s2t KL
    assert teacher_head.grad is None
    assert hidden.grad.abs().max() > 0  # through s2t
    assert all(p.grad.abs().max() > 0 for name, p in world.attention.named_parameters() if name != "query.bias")


def test_t2s_divergence_teaches_the_student_alone():
    world = World()
    plain, with_kd = (world.grads(world.loss(divergence=d).loss) for d in (no_divergence, forward_kl))
    assert (plain.pop("student") - with_kd.pop("student")).abs().max() > 1e-3
    for name, grad in plain.items():  # t2s logits are constants in it
        close(with_kd[name], grad)


def test_key_query_term_reaches_the_query_projector_and_the_discriminator_alone():
    world, critic = World(), Discriminator(2 * DIM_T, 5)
    before, terms = world.loss(), world.loss(matching=gan_matching(critic), kappa=0.5)
    close(terms.loss - before.loss, 0.5 * terms.kq)
    assert 0 <= terms.discriminator_accuracy <= 1
    old, new = world.grads(before.loss), world.grads(terms.loss)
    assert (old.pop("query.weight") - new.pop("query.weight")).abs().max() > 1e-6
    assert (old.pop("query.bias") - new.pop("query.bias")).abs().max() > 1e-6
    for name, grad in old.items():
        close(new[name], grad)
    terms.loss.backward()
    assert all(p.grad.abs().max() > 0 for p in critic.parameters())


def test_no_right_row_no_divergence():
    world = World()
    wrong = world.t2s_logits().argmin(-1)
    states = world.states()
    states = replace(states, student_targets=wrong[world.student.response])
    terms = dskd_cma(states, world.attention, Heads(world.head, world.teacher_head), world.normalisation)
    assert terms.t2s_correct == 0 and terms.t2s_kd == 0
    assert terms.t2s_accuracy == 0


def test_cached_summary_is_the_computed_one():
    world = World()
    states = world.states()
    summary = teacher_summary(states.teacher_hidden, world.teacher_head, 2.0)
    close(world.loss(summary=summary).loss, world.loss().loss)


def test_one_normalisation_an_example():
    world = World()
    own = [Normalisation("example", 0.5 + i, 1.0 + i, 2.0 + i) for i in range(3)]
    together = dskd_cma(world.states(), world.attention, Heads(world.head, world.teacher_head), own, reduction="sum")
    alone = [
        dskd_cma(
            world.states(slice(i, i + 1)), world.attention, Heads(world.head, world.teacher_head), one, reduction="sum"
        )
        for i, one in enumerate(own)
    ]
    close(together.loss, sum(one.loss for one in alone))
    with pytest.raises(ValueError, match="3 examples need as many normalisations, got 2"):
        dskd_cma(world.states(), world.attention, Heads(world.head, world.teacher_head), own[:2])


def test_imposed_maps_and_masks():
    world = World()
    shapes = list(zip(world.states().student_lengths, world.states().teacher_lengths, strict=True))
    free = world.loss()
    close(world.loss(masks=[torch.ones(shape, dtype=torch.bool) for shape in shapes]).loss, free.loss)
    uniform = world.loss(maps=[torch.full(shape, 1 / shape[1]) for shape in shapes])
    assert world.grads(uniform.loss)["query.weight"].abs().max() == 0  # an imposed map needs no query
    with torch.no_grad():
        world.attention.query.weight.zero_()
        world.attention.query.bias.zero_()
    close(world.loss().loss, uniform.loss)  # equal scores are uniform maps


def test_a_row_or_column_without_a_chunk_may_use_everything():
    """A mask that leaves a row and a column nothing is the mask with that row full (t2s), that column full (s2t)."""
    world = World()
    shapes = list(zip(world.states().student_lengths, world.states().teacher_lengths, strict=True))
    masks = [torch.rand(shape) < 0.5 for shape in shapes]
    for mask in masks:
        mask[0], mask[:, 1] = False, False
    full_rows, full_columns = ([mask.clone() for mask in masks] for _ in range(2))
    for rows, columns in zip(full_rows, full_columns, strict=True):
        rows[~rows.any(1)] = True
        columns[:, ~columns.any(0)] = True
    states, attention = world.states(), world.attention
    query = queries(states.student_input_emb, states.student_target_emb, attention.query).split(states.student_lengths)
    key = keys(states.teacher_input_emb, states.teacher_target_emb, world.normalisation.sigma_k)
    scores = [attention_scores(q, k) for q, k in zip(query, key.split(states.teacher_lengths), strict=True)]
    maps = [t2s_weights(s, mask) for s, mask in zip(scores, full_rows, strict=True)]
    s2t_maps = [s2t_weights(s, mask) for s, mask in zip(scores, full_columns, strict=True)]
    masked, given = world.loss(masks=masks), world.loss(maps=maps, s2t_maps=s2t_maps)
    for term in ("loss", "t2s_ce", "t2s_kd", "s2t_kd"):
        close(getattr(masked, term), getattr(given, term))


def test_imposed_maps_leave_nothing_to_match():
    world = World()
    shapes = list(zip(world.states().student_lengths, world.states().teacher_lengths, strict=True))
    uniform = [torch.full(shape, 1 / shape[1]) for shape in shapes]
    with pytest.raises(ValueError, match="maps or matching, not both"):
        world.loss(maps=uniform, matching=gan_matching(Discriminator(2 * DIM_T, 4)))
    projectors = SpaceProjectors(DIM_S, DIM_T)  # without a query the objective is the same function
    projectors.load_state_dict({k: v for k, v in world.attention.state_dict().items() if not k.startswith("query")})
    arguments = projectors, Heads(world.head, world.teacher_head), world.normalisation
    close(dskd_cma(world.states(), *arguments, maps=uniform, reduction="sum").loss, world.loss(maps=uniform).loss)


def test_states_that_do_not_fit_are_refused():
    states = World().states()
    with pytest.raises((ValueError, TypeError), match="teacher_targets"):  # TypeError: jaxtyping was quicker
        replace(states, teacher_targets=states.teacher_targets[1:])
    with pytest.raises(ValueError, match="every example needs a student position"):
        replace(states, student_lengths=[13, 0, 0])
    with pytest.raises(ValueError, match="same examples, got 1 student and 3 teacher"):
        replace(states, student_lengths=[13])


def test_a_loss_that_is_not_finite_names_its_terms():
    world = World()
    states = world.states()
    broken = states.teacher_hidden.clone()
    broken[3, 2] = torch.nan
    with pytest.raises(NonFiniteError, match=r"t2s_ce = nan, .*s2t_kd = nan"):
        dskd_cma(
            replace(states, teacher_hidden=broken),
            world.attention,
            Heads(world.head, world.teacher_head),
            world.normalisation,
        )
    with pytest.raises(NonFiniteError, match=r"\(ce = nan\)"):
        sft(torch.full((2, 6), torch.nan), torch.zeros(2, dtype=torch.long), world.head)


def test_evaluation_gives_the_same_numbers_without_a_gradient():
    world = World()
    trained = world.loss()
    with torch.no_grad():
        evaluated = world.loss()
    assert not evaluated.loss.requires_grad
    for term in ("loss", "ce", "t2s_ce", "t2s_kd", "s2t_kd", "s2t_correct", "t2s_correct"):
        close(getattr(evaluated, term), getattr(trained, term).detach())


@pytest.mark.parametrize("with_bias", [False, True])
def test_sft_is_cross_entropy(with_bias):
    hidden, head = torch.randn(7, 4, requires_grad=True), torch.randn(19, 4, requires_grad=True)
    bias = torch.randn(19, requires_grad=True) if with_bias else None
    targets = torch.randint(19, (7,))
    ours, logits = sft(hidden, targets, head, bias=bias), F.linear(hidden, head, bias)
    expected = F.cross_entropy(logits, targets)
    close(ours.loss, expected)
    assert ours.accuracy == pytest.approx((logits.argmax(-1) == targets).double().mean().item())
    leaves = [leaf for leaf in (hidden, head, bias) if leaf is not None]
    for a, b in zip(torch.autograd.grad(3 * ours.loss, leaves), torch.autograd.grad(3 * expected, leaves), strict=True):
        close(a, b)


def test_summary_kl_with_bias_is_the_full_kl():
    hidden, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    head, bias, targets = torch.randn(37, 4), torch.randn(37), torch.randint(37, (5,))
    summary = teacher_summary(teacher, head, 2.0, bias)
    loss, correct = summary_kl(hidden, head, summary, targets, 2.0, bias)
    logits = hidden @ head.T + bias
    q = torch.softmax((teacher @ head.T + bias) / 2, -1)
    expected = (q * (q.log() - torch.log_softmax(logits / 2, -1))).sum()
    close(loss, expected)
    close(torch.autograd.grad(loss, hidden)[0], torch.autograd.grad(expected, hidden)[0])
    targets[0] = logits[0].argmax()
    assert summary_kl(hidden, head, summary, targets, 2.0, bias)[1] == (logits.argmax(-1) == targets).sum() >= 1


def test_student_side_with_bias_is_plain_autograd():
    hidden, t2s = torch.randn(2, 9, 4, requires_grad=True).unbind()
    head, bias = torch.randn(17, 4, requires_grad=True), torch.randn(17, requires_grad=True)
    guided = t2s @ head.detach().T + bias.detach()
    targets = torch.where(torch.arange(9) % 2 == 0, guided.argmax(-1), 0)
    ours = student_side(hidden, head, t2s, targets, StudentTerms(0.3, 0.7, 2.0, forward_kl), bias)
    own = hidden @ head.T + bias
    kd = (forward_kl(own, guided.detach(), 2.0) * (guided.argmax(-1) == targets)).sum()
    cross_entropy = partial(F.cross_entropy, target=targets, reduction="sum")
    expected = 0.3 * cross_entropy(own) + 0.7 * (cross_entropy(guided) + kd)
    close(ours.total, expected)
    close(ours.max_t2s_prob, torch.softmax(guided, -1).amax(-1).sum())
    leaves = (hidden, head, bias, t2s)
    for a, b in zip(torch.autograd.grad(ours.total, leaves), torch.autograd.grad(expected, leaves), strict=True):
        close(a, b)


def test_head_pass_survives_logits_that_grow_from_slice_to_slice():
    head = torch.arange(200.0).unsqueeze(1)
    done = head_pass(torch.tensor([[10.0], [-10.0]]), head, 1.0)
    tail = -torch.log1p(-torch.exp(torch.tensor(-10.0)))  # Σ_v exp(-10 v) is a geometric series
    close(done.logsumexp, torch.tensor([1990.0, 0.0]) + tail)
    assert done.expected_head.squeeze(1).tolist() == pytest.approx([199.0, 0.0], abs=1e-3)


class _Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if (
                isinstance(tensor, Tensor)
                and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            ):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_no_tensor_ever_holds_all_logits(monkeypatch):
    for module in (fused_head, student_head):
        monkeypatch.setattr(module, "TILE_FLOATS", 4096)
    monkeypatch.setattr(student_head, "LEAST_ROWS", 16)
    hidden, head = torch.randn(300, 4, requires_grad=True), torch.randn(2000, 4, requires_grad=True)
    targets = torch.randint(2000, (300,))
    with _Largest() as largest:
        summary = teacher_summary(hidden.detach(), head.detach(), 2.0)
        loss, _ = summary_kl(hidden, head.detach(), summary, targets, 2.0)
        terms = StudentTerms(0.5, 0.5, 2.0, forward_kl)
        (loss + student_side(hidden, head, hidden * 2, targets, terms).total).backward()
    assert largest.numel <= 300 * 2000 / 15
