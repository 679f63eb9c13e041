"""What networks lose on images of another camera, stain or scanner, by how they were trained.

    python benchmarks/shifted_sets.py DATASET STUDY.toml --steps 1200 -o FOLDER
    python benchmarks/shifted_sets.py DATASET --networks old=CONFIG new=CONFIG -o FOLDER

DATASET has images/, masks/ and split.json. Its test cases are copied as they are ("home") and with
each shift of `_shifts.py`, which the augmentation does not know. STUDY.toml (`shifted_sets.toml`)
has one table [variants] of name = ["section.key=value", ...], what each changes in a config that
`flexseg plan` has written; all are trained for equally many steps, so that other load on the
machine changes nothing. --networks scores trained ones, by their configs (flexseg.toml of
`flexseg auto`).

Prints the mean Dice at home and under each shift with 95 % intervals, and the paired difference of
each network to the first. What is in FOLDER already is not made again; `--cases 4` and few steps
make it small.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from _shifts import shifts_of, write_shifted

from flexseg.evaluation.compare import MACRO, compare
from flexseg.runs.evaluations import read_results

HOME = "home"
VALIDATIONS = 10
NO_PICTURES = ("--set", "infer.merged_dir=none", "--set", "infer3d.previews=[]")


def make_sets(dataset: Path, folder: Path, count: int | None) -> list[str]:
    """Write images of the test cases, shifted and not, and their masks; returns the names."""
    test = json.loads((dataset / "split.json").read_text(encoding="utf-8"))["test"][:count]
    images, masks = (
        [next(path for path in sorted((dataset / kind).iterdir()) if path.name.startswith(f"{c}."))
         for c in test]
        for kind in ("images", "masks")
    )  # fmt: skip
    for kind, sources in ((f"images/{HOME}", images), ("masks", masks)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, folder / kind)
    shifts = shifts_of(images[0])
    for shift in shifts:
        place = folder / "images" / shift.__name__
        if not place.exists():
            part = folder / "part"
            shutil.rmtree(part, ignore_errors=True)
            for source in images:
                write_shifted(source, part / source.name, shift)
            part.rename(place)
    return [HOME, *(shift.__name__ for shift in shifts)]


def train_variants(dataset: Path, study: Path, folder: Path, given: argparse.Namespace) -> None:
    """Plan once, and train each variant that is not trained yet."""
    config = folder / "plan" / "flexseg.toml"
    if not config.exists():
        flexseg("plan", dataset, "--time", given.time, "-o", config.parent)
    each = max(1, given.steps // VALIDATIONS)
    for name, overrides in variants(study, given.only).items():
        run_dir = folder / "runs" / name
        done = run_dir / "trained"
        if not done.exists():
            sets = (*overrides, "train.minutes=0", f"train.epoch_steps={each}",
                    f"train.epochs={VALIDATIONS}", f"train.run_dir={run_dir}")  # fmt: skip
            flexseg("train", config, *(part for text in sets for part in ("--set", text)))
            done.touch()


def variants(study: Path, only: list[str] | None) -> dict[str, list[str]]:
    """What each variant changes, of all or of those named, in the order of their names."""
    found: dict[str, list[str]] = tomllib.loads(study.read_text(encoding="utf-8"))["variants"]
    return found if only is None else {name: found[name] for name in only}


def score(folder: Path, name: str, config: Path, options: list[str], sets: list[str]) -> None:
    """Predict all sets with a network, and score each as `flexseg evaluate` does."""
    predicted = folder / "predictions" / name
    if not (done := predicted / "done").exists():
        images = folder / "images"
        flexseg(
            "infer", config, "--recursive", "-i", images, "-o", predicted, *options, *NO_PICTURES
        )
        done.touch()
    if (predicted / "labels").is_dir():  # of volumes
        predicted = predicted / "labels"
    for own in sets:
        scores = folder / "scores" / name / own
        if not (scores / "summary.json").exists():
            pairs = ("--predictions", predicted / own, "--masks", folder / "masks")
            flexseg("evaluate", config, *pairs, "-o", scores, *options)


def flexseg(*arguments: str | Path) -> None:
    """Run the command."""
    command = [sys.executable, "-m", "flexseg.cli", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def print_scores(folder: Path, names: list[str], sets: list[str]) -> None:
    """A table of all networks and sets, and of the differences to the first network."""
    print(f"| images | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    means: dict[str, list[float]] = {name: [] for name in names}
    for own in sets:
        cells = []
        for name in names:
            text = (folder / "scores" / name / own / "summary.json").read_text(encoding="utf-8")
            dice = json.loads(text)["macro"]["dice"]
            low, high = dice["ci95"] or (float("nan"), float("nan"))
            cells.append(f"{dice['mean']:.3f} ({low:.3f}-{high:.3f})")
            means[name] += [dice["mean"]] if own != HOME else []
        print(f"| {own} | {' | '.join(cells)} |")
    shifted = [f"{sum(values) / len(values):.3f}" for values in means.values()]
    print(f"| mean of the shifts | {' | '.join(shifted)} |")
    first, *others = names
    for other in others:
        print(f"\n{other} less {first}, the same cases:")
        for own in sets:
            runs = [read_results(folder / "scores" / n / own, n) for n in (first, other)]
            change = compare(runs).difference(first, other, MACRO)
            low, high = change.ci95 or (float("nan"), float("nan"))
            print(f"  {own:18} {change.mean:+.4f} ({low:+.4f} to {high:+.4f})")


def main() -> None:
    """Make the sets, train, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("study", type=Path, nargs="?")
    parser.add_argument("--networks", nargs="*", default=[], metavar="NAME=CONFIG")
    parser.add_argument(
        "--only", nargs="+", metavar="VARIANT", help="The first one is compared to."
    )
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--time", default="5m", help="What the config is planned for.")
    parser.add_argument("--cases", type=int, help="So many test cases.")
    parser.add_argument("-o", "--output", type=Path, default=Path("shifted"))
    given = parser.parse_args()
    folder = given.output.absolute()
    sets = make_sets(given.dataset, folder, given.cases)
    networks: dict[str, tuple[Path, list[str]]] = {}
    if given.study is not None:
        train_variants(given.dataset.absolute(), given.study, folder, given)
        for name, overrides in variants(given.study, given.only).items():
            options = [*overrides, f"train.run_dir={folder / 'runs' / name}"]
            flags = [part for text in options for part in ("--set", text)]
            networks[name] = (folder / "plan" / "flexseg.toml", flags)
    for text in given.networks:
        name, _, config = text.partition("=")
        networks[name] = (Path(config).absolute(), [])
    for name, (config, options) in networks.items():
        score(folder, name, config, options, sets)
    print_scores(folder, list(networks), sets)


if __name__ == "__main__":
    main()
