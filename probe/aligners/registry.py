"""Every aligner by name: where it comes from, which version, under which licence, what it knows, what is ours in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from probe.aligners import alm, gold, nemo, plain, spans, stored, strings
from probe.aligners.cells import Align
from probe.aligners.stored import Reread
from probe.errors import UsageError

Knows = Literal["bytes", "strings", "order", "map", "nothing"]


@dataclass(frozen=True)
class Aligner:
    """One aligner: ``align`` makes weights from two token axes, ``reread`` from a stored map; one of the two is there.

    ``knows``: bytes (where tokens lie in the text), strings (how they are spelled), order, map (a stored map, and order
    or bytes beside it), nothing. ``source``, ``version``, ``licence`` are of the original, whose behaviour was learned
    and written again; ``ours`` says what could not be established or is not followed.
    """

    name: str
    knows: Knows
    source: str
    version: str
    licence: str
    align: Align | None = None
    reread: Reread | None = None
    ours: str = ""


_TRL, _NEMO, _TOKENKIT, _KDFLOW = "TRL, GOLD trainer", "NeMo RL", "tokenkit (ALM), arXiv 2503.20083", "KDFlow"
_ALL = (
    Aligner("span", "bytes", "this project's span rule", "1", "MIT", spans.span),
    Aligner("exact-boundary", "bytes", "this project's chunks", "1", "MIT", spans.exact_boundary),
    Aligner("byte-overlap", "bytes", "this project", "1", "MIT", spans.byte_overlap),
    Aligner("gold-bytes", "bytes", _TRL, "1.16.0", "Apache-2.0", gold.gold_bytes,
            ours="sentencepiece tokenizers, which TRL refuses, are walked by the same rule"),
    Aligner("gold-decode", "strings", f"{_TRL}, before byte offsets", "0.25", "Apache-2.0", gold.gold_decode,
            ours="prefixes are decoded from what the tokens spell, not by the tokenizer"),
    Aligner("gold-positional", "nothing", f"{_TRL}, use_extended_uld=False", "1.16.0", "Apache-2.0",
            gold.gold_positional),
    Aligner("nemo-dp", "strings", f"{_NEMO}, TokenAligner by dynamic programming", "pull request 2508, May 2026",
            "Apache-2.0", nemo.nemo_dp, ours="no anchors, no pieces of 128, no repair; display forms as tokens"),
    Aligner("nemo-offsets", "bytes", f"{_NEMO}, align_by_offsets_cluster", "mid 2026", "Apache-2.0", nemo.nemo_offsets,
            ours="offsets from what the tokens spell; no table of broken bytes, no check of decoded texts"),
    Aligner("alm-unconstrained", "bytes", _TOKENKIT, "2025", "Apache-2.0", alm.alm_unconstrained,
            ours="special tokens other than the EOS are not replaced by those of the other model"),
    Aligner("alm-space", "bytes", _TOKENKIT, "2025", "Apache-2.0", alm.alm_space,
            ours="special tokens other than the EOS do not end a group"),
    Aligner("eta", "bytes", "DSKDv2, arXiv 2504.11426", "paper", "–", spans.eta,
            ours="tokens by bytes; the authors' code (KDFlow) walks strings: simple-ctkd"),
    Aligner("simple-ctkd", "strings", f"{_KDFLOW}, simple_ctkd", "2026", "not established", strings.simple_ctkd),
    Aligner("mined-dtw", "strings", "MinED, arXiv 2401.10491", "paper", "–", strings.mined_dtw,
            ours="the path alone, without the filter by the token map"),
    Aligner("dpca", "bytes", "DPCA", "not established", "not established", strings.dpca,
            ours="no public text was found: only 'soft weights inside a chunk' is taken from it"),
    Aligner("uniform", "nothing", "baseline", "1", "MIT", plain.uniform),
    Aligner("diagonal", "nothing", "baseline", "1", "MIT", plain.diagonal),
    Aligner("monotone", "map", "soft-DTW, arXiv 1703.01541", "paper", "–", reread=stored.monotone),
    Aligner("soft-dtw", "map", "DWA-KD, arXiv 2602.21669", "paper", "–", reread=stored.soft_dtw,
            ours="costs from the stored map; temperature 0.1 and a band of 0.2 are ours"),
    Aligner("sinkhorn", "map", "Sinkhorn's scaling, arXiv 1306.0895", "paper", "–", reread=stored.sinkhorn),
)  # fmt: skip
ALIGNERS: dict[str, Aligner] = {one.name: one for one in _ALL if one.align is not None}
MAP_ALIGNERS: dict[str, Aligner] = {one.name: one for one in _ALL if one.reread is not None}


def aligner_named(name: str) -> Aligner:
    """The aligner of that name. Raises UsageError for an unknown one."""
    known = ALIGNERS | MAP_ALIGNERS
    if name not in known:
        raise UsageError(f"unknown aligner {name!r}; wanted one of {', '.join(known)}.")
    return known[name]
