"""`python -m tests.bench.engine`: a DSKD-CMA step, with and without cached teacher states, against the dense step.

Each side runs in a process of its own, so that a peak of memory is its own. The teacher has the shape of SmolLM2-135M
with random weights (costs do not depend on their values), the student is GPT-2 4 x 256 with GPT-2's 50,257 tokens. Four
examples padded to 512, as the public code pads them; ours leaves the padding out. A step is zero_grad, forward, loss,
backward; without a cache the teacher's forward is in it too, as it is in every dense step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from probe.distillation.activations import fuse_activations
from probe.distillation.dataset import SideBatch
from probe.distillation.losses.attended import PairedStates, dskd_cma
from probe.distillation.losses.fused_head import TeacherSummary, teacher_summary
from probe.distillation.losses.terms import Heads
from probe.distillation.unpadded import response_states
from probe.models.attention import CrossModelAttention, measure_sigmas
from tests.support.reference import IGNORED, PaddedSide, dense_dskd_cma

LENGTH = 512
# (prompt, response) tokens of each example. The means of the first are Dolly's (77 and 86 tokens of SmolLM2).
DOLLY_LIKE = ((40, 40), (60, 60), (90, 90), (118, 154))
ONE_AT_THE_LIMIT = ((60, 452), (150, 40), (40, 70), (60, 90))
ALL_RESPONSE = ((1, 511),) * 4
VOCAB_S, VOCAB_T, DIM_S, DIM_T = 50257, 49152, 256, 576


@dataclass(frozen=True)
class Measured:
    """One side: the loss per target, CPU seconds of its fastest step, MiB at its peak and before its first step."""

    loss: float
    seconds: float
    peak_mib: float
    resting_mib: float


@dataclass(frozen=True)
class Comparison:
    """Both sides of one batch; `dense / ours`, so more is better for ours. `cache`: what of the teacher was at hand."""

    batch: str
    cache: str
    response_share: float
    dense: Measured
    ours: Measured

    @property
    def speed(self) -> float:
        return self.dense.seconds / self.ours.seconds

    @property
    def memory(self) -> float:
        return self.dense.peak_mib / self.ours.peak_mib

    @property
    def loss_deviation(self) -> float:
        return abs(self.ours.loss - self.dense.loss) / max(1.0, abs(self.dense.loss))


def build_student() -> PreTrainedModel:
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=VOCAB_S, n_embd=DIM_S, n_layer=4, n_head=4, n_positions=LENGTH, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def build_teacher() -> PreTrainedModel:
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=VOCAB_T, hidden_size=DIM_T, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=LENGTH,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def build_attention() -> CrossModelAttention:
    torch.manual_seed(3)
    return CrossModelAttention(DIM_S, DIM_T)


def padded_batch(lengths: tuple[tuple[int, int], ...], vocab: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random input ids, labels (-100 outside the response) and attention mask, all [4, 512]."""
    torch.manual_seed(seed)
    ids = torch.randint(1, vocab, (len(lengths), LENGTH + 1))
    place = torch.arange(LENGTH)
    total = torch.tensor([prompt + response for prompt, response in lengths]).unsqueeze(1)
    start = torch.tensor([prompt - 1 for prompt, _ in lengths]).unsqueeze(1)
    mask = place < total - 1
    return ids[:, :-1].where(mask, 0), ids[:, 1:].where(mask & (place >= start), IGNORED), mask.long()


def sides(lengths: tuple[tuple[int, int], ...], folder: Path) -> tuple[PaddedSide, tuple[Tensor, Tensor, Tensor]]:
    """The student's padded side, with the labels that `prepare` planted, and the teacher's batch."""
    inputs, _, mask = padded_batch(lengths, VOCAB_S, 4)
    labels = load_file(folder / "labels.safetensors")["labels"]
    return PaddedSide(build_student(), inputs, labels, mask), padded_batch(lengths, VOCAB_T, 5)


def prepare(lengths: tuple[tuple[int, int], ...], folder: Path) -> None:
    """Caches the teacher's states; plants as every second target what the t2s logits say, so that L_t2s_kd counts."""
    inputs, labels, mask = padded_batch(lengths, VOCAB_S, 4)
    teacher = PaddedSide(build_teacher(), *padded_batch(lengths, VOCAB_T, 5))
    with torch.no_grad():
        hidden = teacher.model.model(teacher.input_ids, attention_mask=teacher.attention_mask).last_hidden_state
        response = teacher.response
        emb_x, emb_z = (pair[response] for pair in teacher.pairs())
        sigmas = measure_sigmas(emb_x, emb_z, hidden[response])
        student, attention = build_student(), build_attention()
        guided = attention.t2s(hidden[response] / sigmas.sigma_h + emb_z / sigmas.sigma_e)
        parts = guided.split(response.sum(1).tolist())
        head = student.get_output_embeddings().weight
        for row, part in enumerate(parts):
            places = (labels[row] != IGNORED).nonzero().squeeze(1)[::2]
            labels[row, places] = (part.mean(0) @ head.T).argmax()
        head_t = teacher.model.get_output_embeddings().weight
        summary = teacher_summary(hidden[response], head_t, 2.0)
    save_file({"labels": labels}, folder / "labels.safetensors")
    save_file(
        {
            "hidden": hidden[response], "emb_x": emb_x.clone(), "emb_z": emb_z.clone(), "head": head_t.clone(),
            "expected_head": summary.expected_head, "negentropy": summary.negentropy,
        },
        folder / "teacher.safetensors",
    )  # fmt: skip


def measure(step: Callable[[], float], repeats: int) -> Measured:
    resting = _status_mib("VmRSS")
    loss, best = step(), float("inf")
    for _ in range(repeats):
        start = time.process_time()  # CPU seconds: one thread, and other processes' load does not count
        loss = step()
        best = min(best, time.process_time() - start)
    return Measured(loss, best, _status_mib("VmHWM"), resting)


def run_dense(lengths: tuple[tuple[int, int], ...], folder: Path) -> Measured:
    student, batch = sides(lengths, folder)
    teacher = PaddedSide(build_teacher(), *batch)
    attention = build_attention()
    cached = load_file(folder / "teacher.safetensors")
    frozen = measure_sigmas(cached["emb_x"], cached["emb_z"], cached["hidden"])
    del cached

    def step() -> float:
        student.model.zero_grad()
        attention.zero_grad()
        sigmas = (frozen.sigma_k, frozen.sigma_h, frozen.sigma_e)
        loss = dense_dskd_cma(student, teacher, attention, sigmas=sigmas).loss / int(student.response.sum())
        loss.backward()
        return loss.item()

    return measure(step, repeats=1)


def side_batch(ids: Tensor, labels: Tensor, mask: Tensor) -> SideBatch:
    """The batch as training makes it: padded to its longest text, response positions flat."""
    width, response = int(mask.sum(1).max()), labels != IGNORED
    rows, places = response.nonzero(as_tuple=True)
    lengths, ends = tuple(response.sum(1).tolist()), tuple(mask.sum(1).tolist())
    return SideBatch(ids[:, :width], mask[:, :width], rows, places, ids[response], labels[response], lengths, ends)


def run_ours(lengths: tuple[tuple[int, int], ...], folder: Path, cache: str = "summary") -> Measured:
    """Our step. `cache`: "summary" (states and their s2t summary, as from the second epoch on), "states", or "none"."""
    padded, teacher_batch = sides(lengths, folder)
    student, attention = padded.model, build_attention()
    fuse_activations(student)
    student_side = side_batch(padded.input_ids, padded.labels, padded.attention_mask)
    teacher_side = side_batch(*teacher_batch)
    cached = load_file(folder / "teacher.safetensors")
    frozen = measure_sigmas(cached["emb_x"], cached["emb_z"], cached["hidden"])
    emb_x, emb_y = (pair[padded.response] for pair in padded.pairs())
    teacher = build_teacher() if cache == "none" else None
    if teacher is not None:  # its own tables, so that nothing is held twice
        cached["head"] = teacher.get_output_embeddings().weight
    summary = TeacherSummary(cached["expected_head"], cached["negentropy"]) if cache == "summary" else None

    def step() -> float:
        student.zero_grad()
        attention.zero_grad()
        with torch.no_grad():
            hidden_t = cached["hidden"] if teacher is None else response_states(teacher, teacher_side)
        states = PairedStates(
            response_states(student, student_side), emb_x, emb_y, student_side.targets, student_side.lengths,
            hidden_t, cached["emb_x"], cached["emb_z"], teacher_side.targets, teacher_side.lengths,
        )  # fmt: skip
        head = student.get_output_embeddings().weight
        terms = dskd_cma(states, attention, Heads(head, cached["head"]), frozen, summary=summary)
        terms.loss.backward()
        return terms.loss.item()

    return measure(step, repeats=5)


def compare(name: str, lengths: tuple[tuple[int, int], ...], rounds: int = 1) -> list[Comparison]:
    """Runs preparation, and in turn the dense side and ours with each cache, each in its own process of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        _in_process("prepare", name, folder)
        measured: dict[str, list[Measured]] = {side: [] for side in SIDES if side != "prepare"}
        for _ in range(rounds):
            for side, found in measured.items():
                found.append(Measured(**_in_process(side, name, folder)))
    share = sum(response for _, response in lengths) / (len(lengths) * LENGTH)
    fastest = {side: min(found, key=lambda one: one.seconds) for side, found in measured.items()}
    return [Comparison(name, cache, share, fastest["dense"], fastest[f"ours-{cache}"]) for cache in CACHES]


def _in_process(side: str, name: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.engine", "--side", side, "--batch", name, "--folder", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"the {side} side of the bench failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


BATCHES = {"dolly-like": DOLLY_LIKE, "one-at-the-limit": ONE_AT_THE_LIMIT, "all-response": ALL_RESPONSE}
CACHES = ("summary", "states", "none")
SIDES: dict[str, Callable[..., Measured | None]] = {
    "prepare": prepare,
    "dense": run_dense,
    **{f"ours-{cache}": partial(run_ours, cache=cache) for cache in CACHES},
}


def _status_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def report(one: Comparison) -> str:
    dense, ours = one.dense, one.ours
    return (
        f"DSKD-CMA step, batch 4 x {LENGTH}, {one.batch} ({one.response_share:.0%} of positions are response), "
        f"teacher cache: {one.cache}\n"
        f"  seconds   dense {dense.seconds:8.2f}   ours {ours.seconds:8.3f}   ratio {one.speed:6.1f}\n"
        f"  peak MiB  dense {dense.peak_mib:8.0f}   ours {ours.peak_mib:8.0f}   ratio {one.memory:6.1f}"
        f"   (at rest {dense.resting_mib:.0f} and {ours.resting_mib:.0f})\n"
        f"  loss      dense {dense.loss:8.5f}   ours {ours.loss:8.5f}   deviation {one.loss_deviation:.1e}"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--batch", choices=BATCHES, help="only this batch (default: all three)")
    parser.add_argument("--rounds", type=int, default=1, help="measure each side so often, in turn; the fastest counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object a batch and cache")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side:
        torch.set_num_threads(1)
        result = SIDES[args.side](BATCHES[args.batch], args.folder)
        print(json.dumps(asdict(result) if result else {}))
        return 0
    for name in [args.batch] if args.batch else BATCHES:
        for one in compare(name, BATCHES[name], args.rounds):
            ratios = {"speed": one.speed, "memory": one.memory, "loss_deviation": one.loss_deviation}
            print(json.dumps({**asdict(one), **ratios}) if args.json else report(one), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
