"""Curves of the loss: cost grows with response tokens, not with padding; memory does not grow with the vocabulary.

The whole loss from states to gradients, batch of 4 with 64 response positions each, widths of SmolLM2 and of a 256-wide
student. Padding is made as batches make it: the response stays, the padded length grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tests.bench.frame import Row, below, in_child

RESPONSE = 64
LENGTHS = (128, 256, 512, 1024)
VOCABULARIES = (6_000, 12_000, 25_000, 50_000)
QUICK = {"lengths": (16, 32), "vocabularies": (64, 128), "response": 8, "widths": (8, 12)}
WIDTHS = (256, 576)


def curves(quick: bool) -> Iterator[Row]:
    """Two rows over padding (time, memory), two over the vocabulary, and one over response tokens."""
    lengths = QUICK["lengths"] if quick else LENGTHS
    vocabularies = QUICK["vocabularies"] if quick else VOCABULARIES
    size = {"response": QUICK["response"], "widths": QUICK["widths"]} if quick else {}
    last, fixed = vocabularies[-1], lengths[0]
    padded = [in_child(loss_cost, length=length, vocabulary=last, **size) for length in lengths]
    how = _how("padded length", lengths, padded)
    yield below("loss, padding x8: time", padded[-1]["seconds"] / padded[0]["seconds"], 1.25, how, "x")
    yield below("loss, padding x8: memory", padded[-1]["peak_mib"] / padded[0]["peak_mib"], 1.1, how, "x")
    sizes = [in_child(loss_cost, length=fixed, vocabulary=vocabulary, **size) for vocabulary in vocabularies]
    how = _how("both vocabularies of", vocabularies, sizes)
    growth = vocabularies[-1] / vocabularies[0]
    yield below(f"loss, vocabulary x{growth:.1f}: time", sizes[-1]["seconds"] / sizes[0]["seconds"], 1.25 * growth, how)
    beyond = max(one["peak_mib"] - one["resting_mib"] - one["gradient_mib"] for one in sizes)
    yield below("loss: memory beyond the tables and the head's gradient", beyond, 64, how, " MiB")
    responses = [RESPONSE, 4 * RESPONSE] if not quick else [QUICK["response"], 2 * QUICK["response"]]
    longest = lengths[-1]
    counts = [
        in_child(loss_cost, length=longest, vocabulary=last, **{**size, "response": response})
        for response in responses
    ]
    times = responses[-1] / responses[0]
    how = _how("response positions a text", responses, counts)
    yield below(f"loss, response x{times:.0f}: time", counts[-1]["seconds"] / counts[0]["seconds"], 1.25 * times, how)


def _how(what: str, values: tuple[int, ...] | list[int], found: list[dict[str, float]]) -> str:
    cost = "; ".join(
        f"{value:,}: {one['seconds']:.3f} s, {one['peak_mib'] - one['resting_mib']:.0f} MiB above rest"
        for value, one in zip(values, found, strict=True)
    )
    return f"{what} {cost}; loss and gradients with the s2t summary computed in the step, 1 thread, CPU time"


def loss_cost(
    length: int, vocabulary: int, response: int = RESPONSE, widths: tuple[int, int] = WIDTHS, repeats: int = 3
) -> dict[str, float]:
    """CPU seconds and MiB of the loss and its gradients for states that lie in batches padded to ``length``."""
    torch.set_num_threads(1)
    step, gradient_mib = _loss_step(length, vocabulary, response, widths)
    resting = _mib("VmRSS")
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        step()
        best = min(best, time.process_time() - start)
    return {"seconds": best, "peak_mib": _mib("VmHWM"), "resting_mib": resting, "gradient_mib": gradient_mib}


def _loss_step(
    length: int, vocabulary: int, response: int, widths: tuple[int, int]
) -> tuple[Callable[[], None], float]:
    from probe.distillation.losses.attended import PairedStates, dskd_cma
    from probe.distillation.losses.terms import Heads
    from probe.models.attention import CrossModelAttention, measure_sigmas

    torch.manual_seed(0)
    d_s, d_t = widths
    padded = {"student": torch.randn(4, length, d_s), "teacher": torch.randn(4, length, d_t)}
    valid = torch.zeros(4, length, dtype=torch.bool)
    valid[:, length - response :] = True
    heads = torch.randn(vocabulary, d_s).mul_(0.05).requires_grad_(), torch.randn(vocabulary, d_t).mul_(0.05)
    targets = torch.randint(vocabulary, (4 * response,))
    attention = CrossModelAttention(d_s, d_t)
    lengths = [response] * 4
    emb_s, emb_t = (head.detach()[targets] for head in heads)
    sigmas = measure_sigmas(emb_t, emb_t, padded["teacher"][valid])
    states = PairedStates(
        padded["student"][valid], emb_s, emb_s, targets, lengths,
        padded["teacher"][valid], emb_t, emb_t, targets, lengths,
    )  # fmt: skip

    def step() -> None:
        hidden: Tensor = padded["student"].requires_grad_()
        terms = dskd_cma(replace(states, student_hidden=hidden[valid]), attention, Heads(*heads), sigmas)
        terms.loss.backward()
        hidden.grad = heads[0].grad = None

    return step, vocabulary * d_s * 4 / 2**20


def _mib(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024
