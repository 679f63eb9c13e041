"""What `flexseg auto` reaches in given times, and whether it keeps them.

    python benchmarks/auto_clock.py DATASET --times 3m 7m 15m -o FOLDER

One run after the other, each a fresh process. Prints per run the wall time of the whole command and
of its training against what they were given, Dice, NSD and HD95 per class with 95 % intervals, and
the paired difference to the run before it. A run whose folder has its results already is not
repeated, so further times can be added.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any


def main() -> None:
    """Run all times and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--times", nargs="+", required=True, help="For example 3m 7m 15m.")
    parser.add_argument("-o", "--output", type=Path, default=Path("auto_clock"))
    parser.add_argument("options", nargs="*", help="Further options of `flexseg auto`, after --.")
    given = parser.parse_args()
    runs = [
        run(given.dataset, duration, given.output / duration, given.options)
        for duration in given.times
    ]
    print_clock(runs)
    print_scores(runs)
    for earlier, later in pairwise(runs):
        compare(earlier["folder"], later["folder"])


def run(dataset: Path, duration: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """One run, with what it took."""
    from flexseg.config.durations import parse_duration

    noted = folder / "wall.json"
    if not noted.exists():
        command = ["auto", str(dataset), "--time", duration, "-o", str(folder), *options]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "flexseg.cli", *command], check=True)
        noted.write_text(json.dumps({"seconds": time.perf_counter() - began}), encoding="utf-8")
    manifest = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    return {
        "time": duration,
        "seconds": parse_duration(duration),
        "wall": json.loads(noted.read_text(encoding="utf-8"))["seconds"],
        "training": manifest["seconds"],
        "given": 60 * manifest["config"]["train"]["minutes"],
        "summary": json.loads((folder / "run/evaluation/summary.json").read_text(encoding="utf-8")),
        "folder": folder,
    }


def print_clock(runs: list[dict[str, Any]]) -> None:
    """Times against budgets."""
    print("| time | whole command, s | of budget | training, s | of its budget |")
    print("|---|---|---|---|---|")
    for r in runs:
        print(
            f"| {r['time']} | {r['wall']:.0f} | {r['wall'] / r['seconds']:.1%} | "
            f"{r['training']:.0f} | {r['training'] / r['given']:.1%} |"
        )


def print_scores(runs: list[dict[str, Any]]) -> None:
    """Scores per class, and the mean of the classes."""
    print("\n| time | class | Dice | NSD | HD95 |\n|---|---|---|---|---|")
    for r in runs:
        rows = [(c["name"], c) for c in r["summary"]["classes"]]
        for name, entry in [*rows, ("mean", r["summary"]["macro"])]:
            cells = [_interval(entry.get(metric)) for metric in ("dice", "nsd", "hd95")]
            print(f"| {r['time']} | {name} | {' | '.join(cells)} |")


def _interval(statistic: dict[str, Any] | None) -> str:
    if not statistic or statistic.get("mean") is None:
        return "-"
    low, high = statistic.get("ci95") or (float("nan"), float("nan"))
    return f"{statistic['mean']:.4f} ({low:.4f}-{high:.4f})"


def compare(earlier: Path, later: Path) -> None:
    """The paired difference of two runs on the same cases."""
    folders = [str(folder / "run") for folder in (earlier, later)]
    print(flush=True)
    command = ["compare", *folders, "-o", str(later / "comparison")]
    subprocess.run([sys.executable, "-m", "flexseg.cli", *command], check=True)


if __name__ == "__main__":
    main()
