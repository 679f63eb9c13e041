"""Does a start from a network that was trained on generated images pay? No one's data is in it.

    python benchmarks/generated_start.py pretrain --minutes 20 -o generated
    python benchmarks/generated_start.py screen wbc nuclei hippocampus --seconds 60 -o generated

`pretrain` trains the network of a plan for images of 128 x 128 pixels on those of `_generated.py`
and writes OUTPUT/pretrained/best_model.h5, a package as `[train] start_from` takes it. `screen`
plans each dataset, a folder with a split.json, with 10 and with all (0) of its training cases, see
`recipe_study.py`, and trains the plan fresh and started from the package, for as many steps as
the seconds hold at the measured speed; both have 16 filters. Each finished run is a line of
OUTPUT/screen.jsonl, and is not run again. Prints the mean Dice of both and the paired differences
with 95 % intervals (bootstrap over cases, each the mean of its seeds).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from recipe_study import VALIDATIONS, measured_step, planned
from warm_start import case_scores, interval

FRESH, STARTED = "fresh", "started"
# What each variant changes besides the package that it starts from.
VARIANTS: dict[str, list[str]] = {
    FRESH: [],
    STARTED: [],
    "started, gentle": ["model.learning_rate=0.0005", "train.warmup=0.05"],
}
FILTERS = "model.base_filters=16"
STEPS_PER_EPOCH = 200
LONG = 1_000_000


class Run(TypedDict):
    """A finished run: `scores` are the mean Dice of the classes by test case."""

    data: str
    cases: int
    variant: str
    seed: int
    ms_per_step: float
    steps: int
    scores: dict[str, float]


def main() -> None:
    """Pretrain, or screen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("pretrain")
    first.add_argument("--minutes", type=float, default=20.0)
    first.add_argument("--size", type=int, default=128, help="Pixels a side.")
    first.add_argument("--seed", type=int, default=137)
    second = commands.add_parser("screen")
    second.add_argument("datasets", nargs="+", type=Path)
    second.add_argument("--cases", nargs="+", type=int, default=[10, 0], help="0: all.")
    second.add_argument("--seconds", type=float, default=60.0)
    second.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    second.add_argument("--only", nargs="+", choices=VARIANTS, default=[FRESH, STARTED])
    for command in (first, second):
        command.add_argument("-o", "--output", type=Path, default=Path("generated"))
    given = parser.parse_args()
    package = (given.output / "pretrained" / "best_model.h5").absolute()
    if given.command == "pretrain":
        pretrain(package, 60 * given.minutes, given.size, given.seed)
    else:
        screen(package, given)


def pretrain(package_file: Path, seconds: float, size: int, seed: int) -> None:
    """Train on generated images for so many seconds, and write the package."""
    from flexseg import backend

    backend.select(None)
    from _generated import GeneratedBatches

    from flexseg.models.package import ModelPackage
    from flexseg.planning.recipe import LEARNING_RATE, WARMUP
    from flexseg.training.callbacks.clock import Clock, TimeLimit
    from flexseg.training.callbacks.schedule import LearningRate, factor
    from flexseg.training.compiling import compile_model

    if package_file.exists():
        sys.exit(f"{package_file} is there already.")
    experiment = planned_experiment(size)
    batch = experiment.train.batch_size
    assert isinstance(batch, int)
    backend.keep_freed_memory()
    backend.prepare(experiment.train.precision, seed)
    package = ModelPackage.create(experiment)
    compile_model(package.model, experiment.model)
    limit = TimeLimit(Clock(seconds, time.monotonic()), 0)
    shape = partial(factor, "cosine", warmup=WARMUP, cycles=1)
    rate = LearningRate(LEARNING_RATE, shape, lambda _: limit.share())
    batches = GeneratedBatches(size, batch, STEPS_PER_EPOCH, seed)
    package.model.fit(batches, epochs=LONG, verbose=2, shuffle=False, callbacks=[rate, limit])
    steps = int(np.asarray(package.model.optimizer.iterations))
    package_file.parent.mkdir(parents=True, exist_ok=True)
    package.save(package_file, {"generated": {"images": steps * batch, "seconds": seconds}})
    print(f"{package_file}: {steps} steps of {batch} images")


def planned_experiment(size: int) -> Any:
    """What a plan would say of the network for images of this size, and of its training."""
    from _generated import CLASSES

    from flexseg.config.schema import Experiment
    from flexseg.planning import recipe
    from flexseg.planning.network import natural_shape

    shape = natural_shape(size, size, LONG)
    model = {key: value for key, value, _ in recipe.NETWORK} | {
        "image_width": shape.width,
        "image_height": shape.height,
        "num_layers": shape.levels,
        "base_filters": shape.filters,
        "num_classes": len(CLASSES) + 1,
        "input_normalize": "standardize_channels",
        "loss": recipe.LOSS,
        "metrics": ["dice"],
        "optimizer": recipe.OPTIMIZER,
        "learning_rate": recipe.LEARNING_RATE,
    }
    classes = [
        {"id": i, "name": f"generated {name}", "values": [i], "color": [i, i, i]}
        for i, name in enumerate(CLASSES, start=1)
    ]
    return Experiment.model_validate(
        {"model": model, "mask": {"classes": classes}, "train": {"batch_size": shape.batch}}
    )


def screen(package: Path, given: argparse.Namespace) -> None:
    """Run what is not finished, and print all."""
    if not package.exists():
        sys.exit(f"There is no {package}: run `pretrain` first.")
    table = given.output / "screen.jsonl"
    done = {key(run) for run in finished(table)}
    for dataset in given.datasets:
        for cases in given.cases:
            folder = given.output / f"{dataset.name}_{cases or 'all'}"
            config = planned(dataset, cases, given.seconds, folder)
            seconds = seconds_of_step(config, folder / "step.json")
            each = max(1, int(given.seconds / seconds / VALIDATIONS))
            for seed in given.seeds:
                for variant in given.only:
                    if (dataset.name, cases, variant, seed) in done:
                        continue
                    start = [] if variant == FRESH else [f"train.start_from={package}"]
                    sets = [FILTERS, *VARIANTS[variant], *start, f"train.seed={seed}"]
                    scores = trained(config, sets, each, folder)
                    run = Run(
                        data=dataset.name,
                        cases=cases,
                        variant=variant,
                        seed=seed,
                        ms_per_step=round(1000 * seconds, 1),
                        steps=each * VALIDATIONS,
                        scores=scores,
                    )
                    with table.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(run) + "\n")
                    mean = np.mean([*scores.values()])
                    print(f"{dataset.name}, {cases or 'all'} cases, {variant}, seed {seed}: "
                          f"{run['steps']} steps, Dice {mean:.4f}", flush=True)  # fmt: skip
    show(finished(table))


def seconds_of_step(config: Path, noted: Path) -> float:
    """What a step of the plan takes, measured once."""
    if not noted.exists():
        noted.write_text(json.dumps(measured_step(config, [FILTERS])), encoding="utf-8")
    return float(json.loads(noted.read_text(encoding="utf-8"))["seconds"])


def trained(config: Path, sets: list[str], each: int, folder: Path) -> dict[str, float]:
    """Train, with `each` steps between validations, and evaluate; mean Dice by test case."""
    part = folder.absolute() / "part"
    shutil.rmtree(part, ignore_errors=True)
    sets = [*sets, f"train.run_dir={part / 'run'}", "train.minutes=0",
            f"train.epochs={VALIDATIONS}", f"train.epoch_steps={each}"]  # fmt: skip
    flags = [flag for text in sets for flag in ("--set", text)]
    for command in ("train", "evaluate"):
        line = [sys.executable, "-m", "flexseg.cli", "-q", command, str(config), *flags]
        result = subprocess.run(line, capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"{' '.join(line)}\n{result.stdout}\n{result.stderr}")
    scores = case_scores(part)
    shutil.rmtree(part)
    return scores


def finished(table: Path) -> list[Run]:
    """The runs that a file holds."""
    if not table.exists():
        return []
    return [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]


def key(run: Run) -> tuple[str, int, str, int]:
    """What tells runs apart."""
    return run["data"], run["cases"], run["variant"], run["seed"]


def show(runs: Iterable[Run]) -> None:
    """Means and paired differences of the seeds that both have."""
    scores = {key(run): run["scores"] for run in runs}
    print("\n| data | training cases | variant | fresh | started | started - fresh |")
    print("|---|---|---|---|---|---|")
    for data, cases, variant in dict.fromkeys(name[:3] for name in scores):
        pairs = [
            (scores[data, cases, FRESH, seed], own)
            for (*rest, seed), own in scores.items()
            if rest == [data, cases, variant] and (data, cases, FRESH, seed) in scores
        ]
        if variant == FRESH or not pairs:
            continue
        both = np.array([[[part[c] for c in pairs[0][0]] for part in pair] for pair in pairs])
        fresh, started = both.mean(axis=0)
        print(
            f"| {data} | {cases or 'all'} | {variant}, {len(pairs)} seeds | {fresh.mean():.4f} | "
            f"{started.mean():.4f} | {interval(started - fresh)} |"
        )


if __name__ == "__main__":
    main()
