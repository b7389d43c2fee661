"""`make demo`: the shipped checkpoints, end to end, by the project's own commands; each is printed before it runs."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from probe import cli
from probe.errors import DamagedError, ProbeError
from probe.files import read_manifest, sha256_of

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ("checkpoints/dskd-cma", "checkpoints/dskd-cma-ga")
PROBE_SET = "analysis/gold/probe_set.jsonl"
GOLD = "analysis/gold/gold.jsonl"


class StepFailed(ProbeError):
    """A command of the demo failed; it has printed why."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def build_parser() -> argparse.ArgumentParser:
    """Options of the demo."""
    parser = cli.make_parser(
        "python -m analysis.demo",
        "Extract, score, report and draw the attention maps of the shipped checkpoints.",
        "\n  python -m analysis.demo --out out/demo\n  python -m analysis.demo --out /tmp/quick --limit 10",
    )
    parser.add_argument("--out", default="out/demo", metavar="DIR", help="where everything goes (default: out/demo)")
    parser.add_argument("--limit", type=int, default=0, help="only the first N examples of the probe set (0: all)")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw (default: 2)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Maps (kept when nothing that they are made of has changed), report, heatmaps, and what to do next."""
    started = time.monotonic()
    out = Path(args.out)
    maps = out / "maps"
    limit = ["--limit", str(args.limit)] if args.limit else []
    current = _is_current(maps, args.limit)
    if current:
        print(f"{maps} is up to date: same checkpoints, same texts")
    else:
        _step("probe", "extract", "--checkpoint", *CHECKPOINTS, "--untrained-baseline", "--data", PROBE_SET,
              "--out", str(maps), "--overwrite", *limit)  # fmt: skip
    _step("analysis.export_heatmaps", str(maps), "--gold", GOLD, "--out", str(out / "heatmaps"),
          "--workers", str(args.workers), "--resume", "--checkpoint", *(Path(c).name for c in CHECKPOINTS))  # fmt: skip
    if not current or not (out / "key_query" / "key_query.csv").is_file():
        _step("analysis.key_query", "--checkpoint", *CHECKPOINTS, "--data", PROBE_SET, "--out", str(out / "key_query"),
              *limit)  # fmt: skip
    _step("analysis.alignment_report", str(maps), "--gold", GOLD, "--out", str(out / "report"))
    _step("analysis.failures", str(maps), "--gold", GOLD, "--out", str(out / "failures"))
    print(
        f"""
done in {time.monotonic() - started:.0f} s
  maps       {maps}          a map store; read it with probe.maps.store.MapStore
  report     {out / "report"}        report.html (open it in a browser), runs.csv and other CSV files
  failures   {out / "failures"}      which links are wrong, and why: failure_causes.csv, failure_pairs.csv, failures.csv
  key_query  {out / "key_query"}     how far queries are from keys, before and after training
  heatmaps   {out / "heatmaps"}      one PNG per map, gold outlined

next
  make app                                            browse the maps
  python -m probe extract --help                      maps of your own checkpoint and texts
  python -m probe train probe/recipes/dskd-cma.yaml   train your own (docs/training.md)"""
    )


def _is_current(maps: Path, limit: int) -> bool:
    """Whether the store was made of these checkpoints and texts, by this version; a damaged one is not current."""
    try:
        provenance = read_manifest(maps, "map store", 1)["provenance"]
        stored = {name: entry.get("manifest_sha256") for name, entry in provenance["checkpoints"].items()}
        wanted = {Path(c).name: sha256_of(ROOT / c / "manifest.json") for c in CHECKPOINTS}
        return (
            all(stored.get(name) == digest for name, digest in wanted.items())
            and provenance["data"]["sha256"] == sha256_of(ROOT / PROBE_SET)
            and provenance["command"].count("--limit") == (1 if limit else 0)
            and (not limit or f"--limit {limit}" in provenance["command"])
        )
    except (DamagedError, KeyError, TypeError, AttributeError):
        return False


def _step(module: str, *arguments: str) -> None:
    """Run one command of the project, shown as a person would type it."""
    print(f"\n$ python -m {module} {shlex.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT).returncode
    if code:
        raise StepFailed(f"the command above failed with exit code {code}; the demo stops here.", code)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
