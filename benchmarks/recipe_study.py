"""What gives most per minute of training on this machine: the study behind `flexseg plan`.

    python benchmarks/recipe_study.py BASE.toml STUDY.toml --seconds 120 -o study.csv
    python benchmarks/recipe_study.py DATASET STUDY.toml --cases 25 --seconds 60 -o FOLDER/study.csv

STUDY.toml has one table [variants] of name = ["section.key=value", ...]: what a variant changes
in the config BASE.toml. For each variant a fresh process measures the time of a training step;
then the config is trained for as many steps as fit into the given seconds at that speed, with 20
validations, and scored on the split that `[model] evaluation` names. So a variant that is slower
gets fewer steps, and other load on the machine changes no result. Names that are in the output
already are not run again. Choose by cases that are neither trained on nor the final test: see
`--hold-out`. Of a DATASET, a folder with a split.json, so many training cases are planned for the
seconds, with a held-out split, in the folder of the output.

`--hold-out SPLIT.json` writes a split file of the training and validation cases of another one (two
thirds, a twelfth, a quarter), so that the test cases play no part in the choice.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

VALIDATIONS = 20
# Seconds for all that `plan` has to do before a training.
_PLANNING = 60
COLUMNS = ("variant", "seconds", "ms_per_step", "batch", "steps", "parameters", "dice", "low",
           "high", "classes", "overrides")  # fmt: skip


def main() -> None:
    """Run the study, or write a split for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="A config, or a folder of data.")
    parser.add_argument("study", type=Path)
    parser.add_argument("--cases", type=int, default=0, help="Of a folder, for training; 0: all.")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("-o", "--output", type=Path, default=Path("study.csv"))
    parser.add_argument("--hold-out", action="store_true", help="BASE and STUDY are split files.")
    parser.add_argument("--step", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.hold_out:
        hold_out(given.base, given.study)
    elif given.step is not None:
        print(json.dumps(step_time(given.base, given.step)))
    else:
        variants = tomllib.loads(given.study.read_text(encoding="utf-8"))["variants"]
        base = given.base
        if base.is_dir():
            base = planned(base, given.cases, given.seconds, given.output.absolute().parent)
        run_study(base, variants, given.seconds, given.output)


def hold_out(source: Path, target: Path) -> None:
    """Divide the training and validation cases of a split file anew."""
    split = json.loads(source.read_text(encoding="utf-8"))
    cases = sorted(split["train"] + split["valid"])
    random.Random(0).shuffle(cases)
    test, valid = len(cases) // 4, len(cases) // 12
    parts = {"test": cases[:test], "valid": cases[test : test + valid]}
    target.write_text(json.dumps(parts | {"train": cases[test + valid :]}), encoding="utf-8")


def planned(dataset: Path, cases: int, seconds: float, folder: Path) -> Path:
    """The config of a plan for so many training cases of a dataset, made unless it is there."""
    config = folder / "plan" / "flexseg.toml"
    if config.exists():
        return config
    folder.mkdir(parents=True, exist_ok=True)
    split = folder / "split.json"
    hold_out(dataset / "split.json", split)
    parts = json.loads(split.read_text(encoding="utf-8"))
    parts["train"] = parts["train"][: cases or None]
    split.write_text(json.dumps(parts), encoding="utf-8")
    command = ["plan", str(dataset), "--time", f"{seconds + _PLANNING:.0f}s",
               "--split", str(split), "-o", str(config.parent)]  # fmt: skip
    subprocess.run([sys.executable, "-m", "flexseg.cli", "-q", *command], check=True)
    return config


def run_study(base: Path, variants: dict[str, list[str]], seconds: float, output: Path) -> None:
    """Run all variants that the output lacks, and append a row for each."""
    done = set()
    if output.exists():
        with output.open(encoding="utf-8", newline="") as file:
            done = {row["variant"] for row in csv.DictReader(file)}
    for name, overrides in variants.items():
        if name in done:
            continue
        row = run_variant(base, overrides, seconds)
        new = not output.exists()
        with output.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow({"variant": name, "seconds": seconds, **row})
        print(
            f"{name:28} {row['ms_per_step']:7.1f} ms x {row['steps']:5d}  "
            f"Dice {row['dice']:.4f} ({row['low']:.4f}-{row['high']:.4f})",
            flush=True,
        )


def run_variant(base: Path, overrides: list[str], seconds: float) -> dict[str, object]:
    """Measure, train and score one variant."""
    measured = measured_step(base, overrides)
    steps = int(seconds / measured["seconds"])
    each = max(1, steps // VALIDATIONS)
    with tempfile.TemporaryDirectory() as folder:
        sets = [*overrides, f"train.run_dir={folder}", "train.minutes=0",
                f"train.epoch_steps={each}", f"train.epochs={VALIDATIONS}"]  # fmt: skip
        flags = [part for text in sets for part in ("--set", text)]
        for command in ("train", "evaluate"):
            _python(["-m", "flexseg.cli", "-q", command, str(base), *flags])
        summary = json.loads((Path(folder) / "evaluation" / "summary.json").read_text())
    dice = summary["macro"]["dice"]
    return {
        "ms_per_step": round(1000 * measured["seconds"], 1),
        "batch": measured["batch"],
        "steps": each * VALIDATIONS,
        "parameters": measured["parameters"],
        "dice": dice["mean"],
        "low": dice["ci95"][0],
        "high": dice["ci95"][1],
        "classes": " ".join(f"{c['dice']['mean']:.4f}" for c in summary["classes"]),
        "overrides": " ".join(overrides),
    }


def measured_step(base: Path, overrides: list[str]) -> dict[str, float]:
    """`step_time` in a fresh process, so that no variant is warm for another."""
    printed = _python([__file__, str(base), "-", "--step", *overrides])
    return json.loads(printed.strip().splitlines()[-1])


def _python(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def step_time(base: Path, overrides: list[str]) -> dict[str, float]:
    """Median seconds of a training step of a config, its batch and parameters."""
    from flexseg.config.load import load
    from flexseg.planning.timing import time_step

    step = time_step(load(base, overrides).experiment, steps=15)
    return {"seconds": step.fastest, "batch": step.batch, "parameters": step.parameters}


if __name__ == "__main__":
    main()
