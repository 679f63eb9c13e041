"""Whether a learning curve forecasts what twice as many cases bring.

    python benchmarks/learning_curve.py --data DATA --sets wbc nuclei -o F

DATA has the sets, each with images/, masks/ and perhaps a split.json. Each is planned once with
`flexseg plan`. Of each, 6 draws of nested parts of 12, 25, 50, 100 and 200 training cases are
trained for a minute each, and scored on the same validation cases. Then each draw's trainings on
up to 50 cases forecast that on 100, and those on up to 100 that on 200, as `flexseg advise` does.

Prints for each forecast its error and whether the 90 % interval holds, and over all the mean
absolute error and the share of intervals that hold, beside those of the last training taken for
the next one. F keeps a JSON line for each finished training: what it has is not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (12, 25, 50, 100, 200)
Record = dict[str, Any]


@dataclass(frozen=True)
class Forecast:
    """What a draw forecast of its next training, and what that reached."""

    name: str
    draw: int
    cases: int
    last: float
    median: float
    low: float
    high: float
    reached: float


def main() -> None:
    """Train what is not in the file, and print the forecasts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["wbc", "nuclei"])
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training")
    parser.add_argument("-o", "--output", type=Path, default=Path("learning_curve.jsonl"))
    given = parser.parse_args()
    given.sizes.sort()
    found: list[Forecast] = []
    for name in given.sets:
        train(name, given)
        own = [record for record in read(given.output) if is_of(record, name, given)]
        found += forecasts(name, own, given.sizes)
    print_table(found)


def is_of(record: Record, name: str, given: argparse.Namespace) -> bool:
    """Whether a training is one of those that are asked for."""
    return bool(record["set"] == name and record["given"] == given.seconds)


def read(file: Path) -> list[Record]:
    """The finished trainings; a line that was cut off is none."""
    records = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            print(f"{file}: a line is cut off and left out", file=sys.stderr)
    return records


def write(file: Path, records: list[Record]) -> None:
    """All finished trainings, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.write_text("".join(f"{json.dumps(r)}\n" for r in records), encoding="utf-8")
    part.replace(file)


def train(name: str, given: argparse.Namespace) -> None:
    """The trainings of a set that are not in the file yet."""
    known = {(r["draw"], r["size"]) for r in read(given.output) if is_of(r, name, given)}
    wanted = [(draw, size) for draw in range(given.draws) for size in given.sizes]
    missing = [one for one in wanted if one not in known]
    if not missing:
        return
    from flexseg.backend import select

    select(None)
    from flexseg.dataset.division.dividing import nested_cases
    from flexseg.search.subset_trainings import Task, train_on
    from flexseg.training.at_once.quiet import load_engine

    job = job_of(name, given)
    load_engine(job.backend)
    total = len(job.table.cases)
    shares = [size / total for size in given.sizes[::-1]]
    if shares[0] > 1:
        sys.exit(f"{name} has {total} training cases, not {given.sizes[-1]}")
    for draw, size in missing:
        parts = nested_cases(job.table, shares, job.seed + draw)
        cases = parts[given.sizes[::-1].index(size)]
        outcome = train_on(job, Task(draw, size / total, 1.0), cases, given.seconds)
        record = {"set": name, "draw": draw, "size": size, "given": given.seconds}
        record |= {"took": outcome.took, **asdict(outcome.measured)}
        write(given.output, [*read(given.output), record])
        dice = np.mean(list(outcome.measured.dice.values()))
        print(f"{name}, draw {draw}, {len(cases)} cases: Dice {dice:.4f}", flush=True)


def job_of(name: str, given: argparse.Namespace) -> Any:
    """What `flexseg advise` would hand to its process."""
    import keras

    from flexseg.config.load import load
    from flexseg.dataset.division.config_splits import find_splits
    from flexseg.dataset.division.dividing import CaseTable
    from flexseg.dataset.labels import LabelMap
    from flexseg.dataset.looks import look_at, read_cases
    from flexseg.search.subset_trainings import SubsetJob

    folder = given.output.absolute().with_suffix("") / name
    config = folder / "flexseg.toml"
    if not config.exists():
        time = f"{max(20, round(given.seconds))}s"
        plan = ["plan", str(given.data / name), "--time", time, "-o", str(folder)]
        command = [sys.executable, "-m", "flexseg.cli", "-q", *plan]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    e = load(config).experiment
    splits = find_splits(e.data, only=("train", "valid"))
    labels = LabelMap.from_config(e.class_sections)
    looks = read_cases(splits.need("train"), look=lambda case: look_at(case, labels))
    return SubsetJob(
        config, (), folder, keras.backend.backend(), CaseTable.of_looks(looks, labels),
        splits.need("valid"), e.volume.images_dir is not None, given.seconds, float("inf"),
        e.train.seed,
    )  # fmt: skip


def forecasts(name: str, records: list[Record], sizes: list[int]) -> Iterator[Forecast]:
    """From each draw's smaller trainings the next one, from three sizes on."""
    from flexseg.forecast.learning_curve import LearningCurve, Point

    draws: dict[int, dict[int, Record]] = defaultdict(dict)
    for record in records:
        draws[record["draw"]][record["size"]] = record
    for draw, own in sorted(draws.items()):
        for i in range(min(3, len(sizes) - 1), len(sizes)):
            if not set(sizes[: i + 1]) <= own.keys():
                continue
            names = sorted(set.union(*(set(own[size]["dice"]) for size in sizes)))
            known = [own[size] for size in sizes[:i]]
            errors = [[1 - r["dice"].get(case, np.nan) for case in names] for r in known]
            # All have the same time: steps that differ with the machine's load are no axis.
            points = [Point(r["cases"], 1.0) for r in known]
            curve = LearningCurve.fit(points, np.array(errors), draw)
            next_one = own[sizes[i]]
            told = curve.dice_of_one(Point(next_one["cases"], 1.0))
            last, reached = (
                float(np.mean(list(r["dice"].values()))) for r in (known[-1], next_one)
            )
            yield Forecast(
                name, draw, next_one["cases"], last, told.median, told.low, told.high, reached
            )


def print_table(found: list[Forecast]) -> None:
    """Each forecast, and how good they are together."""
    for f in found:
        holds = "holds" if f.low <= f.reached <= f.high else "FAILS"
        print(
            f"{f.name}, draw {f.draw}, {f.cases} cases: forecast {f.median:.4f} "
            f"({f.low:.4f} to {f.high:.4f}), reached {f.reached:.4f}, {holds}"
        )
    groups = {"all": found} | {
        n: [f for f in found if f.name == n] for n in {f.name for f in found}
    }
    for name, own in groups.items():
        if not own:
            print("no draw is finished")
            continue
        error = np.mean([abs(f.median - f.reached) for f in own])
        naive = np.mean([abs(f.last - f.reached) for f in own])
        inside = np.mean([f.low <= f.reached <= f.high for f in own])
        width = np.mean([f.high - f.low for f in own])
        print(
            f"{name}: {len(own)} forecasts, mean absolute error {error:.4f} (of no change "
            f"{naive:.4f}), the interval holds in {inside:.0%}, its mean width is {width:.4f}"
        )


if __name__ == "__main__":
    main()
