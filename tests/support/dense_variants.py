"""Variants of DSKD-CMA written out naively: bytes counted one by one, paths enumerated, one example after the other.

Nothing is shared with the toolkit but the equations: this is the other side of the tests of dskd-cma-b, dskd-cma-m,
contrastive matching and alm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from probe.distillation.losses.terms import PairedStates
from probe.text.one_side import TokenizedSide
from probe.text.tokenization import PairedTokens
from tests.support.aligned import axis
from tests.support.reference import cross_entropy, divergence

VOCAB_S, VOCAB_T, DIM_S, DIM_T = 19, 23, 6, 8
TEXTS = (
    (("ab", "c", "de", "f"), ("abc", "d", "ef")),
    (("x",), ("x",)),
    (("na", "ï", "ve"), ("n", "aï", "v", "e")),
)
SIGMAS = 0.9, 1.3, 0.7


def spans_of(pieces: tuple[Sequence[str], Sequence[str]]) -> tuple:
    """Byte spans of both cuts of one text, EOS last."""
    text = "".join(pieces[0])
    return axis(text, pieces[0]).spans, axis(text, pieces[1]).spans


def pair_of(pieces) -> PairedTokens:
    """A pair without a prompt whose response is cut in ``pieces``, EOS last."""
    text = "".join(pieces[0])
    axes = [axis(text, part) for part in pieces]
    sides = [TokenizedSide((0, *one.ids), 0, one) for one in axes]
    return PairedTokens("x", "", "", text, *sides, truncated=False)


@dataclass
class World:
    """Three examples, random states with gradient on the student's, random heads; every third target is easy."""

    spans: list[tuple] = field(default_factory=lambda: [spans_of(pieces) for pieces in TEXTS])
    states: PairedStates = field(init=False)
    heads: tuple[Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        lengths = [[len(side) for side in sides] for sides in zip(*self.spans, strict=True)]
        n, m = map(sum, lengths)
        hidden = (2 * torch.randn(n, DIM_S)).requires_grad_()
        self.heads = torch.randn(VOCAB_S, DIM_S).requires_grad_(), torch.randn(VOCAB_T, DIM_T)
        self.states = PairedStates(
            hidden, torch.randn(n, DIM_S), torch.randn(n, DIM_S), torch.randint(VOCAB_S, (n,)), lengths[0],
            2 * torch.randn(m, DIM_T), torch.randn(m, DIM_T), torch.randn(m, DIM_T), torch.randint(VOCAB_T, (m,)),
            lengths[1],
        )  # fmt: skip

    def part(self, number: int) -> dict[str, Tensor]:
        """The states of one example by name, without the side's lengths."""
        found = {}
        for side in ("student", "teacher"):
            lengths = getattr(self.states, f"{side}_lengths")
            for name in ("hidden", "input_emb", "target_emb", "targets"):
                found[f"{side}_{name}"] = getattr(self.states, f"{side}_{name}").split(list(lengths))[number]
        return found

    def scores(self, attention: nn.Module) -> list[Tensor]:
        """S of each example."""
        made = []
        for number in range(len(self.spans)):
            p = self.part(number)
            q = attention.query(torch.cat([p["student_input_emb"], p["student_target_emb"]], 1))
            k = torch.cat([p["teacher_input_emb"], p["teacher_target_emb"]], 1) / SIGMAS[0]
            made.append(q @ k.T / math.sqrt(2 * DIM_T))
        return made

    def gradients(self, loss: Tensor, *modules: nn.Module) -> dict[str, Tensor]:
        """d loss / d everything that may learn; zeros where it does not reach."""
        named = {"hidden": self.states.student_hidden, "head": self.heads[0]}
        named |= {name: p for module in modules for name, p in module.named_parameters()}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        return {
            name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), found, strict=True)
        }


def bytes_between(left: tuple[int, int], right: tuple[int, int]) -> int:
    """Steps from the nearest byte of one span to the nearest of the other; an empty span has the byte behind it."""
    first, second = (range(start, max(end, start + 1)) for start, end in (left, right))
    return min(abs(a - b) for a in first for b in second)


def gaps(spans: tuple) -> Tensor:
    """g, counted."""
    return torch.tensor([[float(bytes_between(left, right)) for right in spans[1]] for left in spans[0]])


def features(weights: Tensor, spans: tuple) -> Tensor:
    """φ(o, r) of each student row, from its definition."""
    rows = []
    for i, (a, b) in enumerate(spans[0]):
        o = sum(weights[i, j] * (a - c) / max(1, d - c) for j, (c, d) in enumerate(spans[1]))
        r = (b - a) / sum(weights[i, j] * max(1, d - c) for j, (c, d) in enumerate(spans[1]))
        share = r / (1 + r)
        angles = [math.pi / 2 * o, math.pi * o, math.pi / 2 * share, math.pi * share]
        rows.append(torch.stack([torch.sin(x) for x in angles] + [torch.cos(x) for x in angles]))
    return torch.stack(rows)


def paths(n: int, m: int, at: tuple[int, int] = (0, 0)) -> Iterator[list[tuple[int, int]]]:
    """Every monotone path from ``at`` to the last cell."""
    if at == (n - 1, m - 1):
        yield [at]
    for di, dj in ((1, 0), (0, 1), (1, 1)):
        i, j = at[0] + di, at[1] + dj
        if i < n and j < m:
            yield from ([at, *rest] for rest in paths(n, m, (i, j)))


def posteriors(scores: Tensor) -> Tensor:
    """P by enumeration: each cell's share of the weight of all paths."""
    all_paths = list(paths(*scores.shape))
    weight = torch.stack([sum(scores[cell] for cell in path) for path in all_paths]).softmax(0)  # type: ignore[arg-type]
    passes = torch.zeros(len(all_paths), *scores.shape)
    for number, path in enumerate(all_paths):
        for cell in path:
            passes[(number, *cell)] = 1
    return torch.einsum("p,pnm->nm", weight, passes)


def dense_loss(
    world: World,
    attention: nn.Module,
    weigh: Callable[[Tensor, tuple], tuple[Tensor, Tensor]],
    added: Callable[[Tensor, tuple], Tensor] = lambda weights, spans: torch.zeros(()),
    kd_rate: float = 0.5,
    temperature: float = 2.0,
) -> Tensor:
    """The sum of DSKD-CMA's terms with A_t2s and A_s2t from ``weigh``(S, spans), ``added`` to the t2s states."""
    total, heads = torch.zeros(()), world.heads
    for number, (spans, scores) in enumerate(zip(world.spans, world.scores(attention), strict=True)):
        p = world.part(number)
        a_t2s, a_s2t = weigh(scores, spans)
        value = attention.t2s(p["teacher_hidden"] / SIGMAS[1] + p["teacher_target_emb"] / SIGMAS[2])
        t2s_logits = (a_t2s @ value + added(a_t2s, spans)) @ heads[0].detach().T
        s2t_logits = (a_s2t.T @ attention.s2t(p["student_hidden"])) @ heads[1].T
        logits, targets = p["student_hidden"] @ heads[0].T, p["student_targets"]
        right = t2s_logits.argmax(-1) == targets
        kd = (divergence("forward_kl", logits, t2s_logits.detach(), temperature) * right).sum()
        s2t = divergence("forward_kl", s2t_logits, p["teacher_hidden"] @ heads[1].T, temperature).sum()
        total = total + (1 - kd_rate) * cross_entropy(logits, targets)
        total = total + kd_rate * (cross_entropy(t2s_logits, targets) + kd + s2t)
    return total


def chunks_of(pieces: tuple[Sequence[str], Sequence[str]]) -> list[tuple[list[int], list[int]]]:
    """Student and teacher indices of the smallest stretches with common ends, found from the pieces' running text."""
    ends = [list(itertools.accumulate(map(len, side))) for side in pieces]
    common = sorted(set(ends[0]) & set(ends[1]))
    found, before = [], 0
    for end in common:
        found.append(tuple([k for k, at in enumerate(side) if before < at <= end] for side in ends))
        before = end
    return [*found, ([len(pieces[0])], [len(pieces[1])])]  # type: ignore[list-item]
