"""Does it pay to train on smaller images first? A part of the study behind `flexseg plan`.

    python benchmarks/progressive_size.py BASE.toml --seconds 80 --size 64 --share 0.33

Trains BASE.toml in two stages that share the seconds, with as many steps as `recipe_study.py`
would give each: at the small size with a constant learning rate after a warm-up, then at the
config's own size, from the weights of the first stage, with the rate falling to 0. The score is
to be compared with the row of BASE in `recipe_study.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from recipe_study import measured_step

# Validations, of both stages together as many as in recipe_study.py.
FIRST, SECOND = 5, 15


def main() -> None:
    """Run both stages and print the score; with --weights only the second, in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--seconds", type=float, default=80.0)
    parser.add_argument("--size", type=int, default=64, help="Pixels a side of the first stage.")
    parser.add_argument("--share", type=float, default=0.33, help="Of the time, for the first.")
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--set", dest="sets", action="append", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.weights:
        train_from(given.base, given.sets, given.weights)
    else:
        two_stages(given.base, given.seconds, given.size, given.share)


def two_stages(base: Path, seconds: float, size: int, share: float) -> None:
    """Train and score; prints one line."""
    with tempfile.TemporaryDirectory() as folder:
        small = [f"model.image_width={size}", f"model.image_height={size}"]
        first = [*small, *lasting(base, small, seconds * share, FIRST), f"train.run_dir={folder}/1"]
        rate = ["train.schedule=constant", "train.learning_rate_reducer=false"]
        # As long as that of one training of all the seconds.
        rate.append(f"train.warmup={min(0.9, 0.1 / share)}")
        run("-m", "flexseg.cli", "-q", "train", str(base), sets=[*first, *rate])

        second = [*lasting(base, [], seconds * (1 - share), SECOND), f"train.run_dir={folder}/2"]
        second.append("train.warmup=0")
        (weights,) = Path(folder, "1", "models").glob("*.h5")
        run(__file__, str(base), "--weights", str(weights), sets=second)
        run("-m", "flexseg.cli", "-q", "evaluate", str(base), sets=second)
        summary = Path(folder, "2", "evaluation", "summary.json").read_text(encoding="utf-8")
    dice = json.loads(summary)["macro"]["dice"]
    low, high = dice["ci95"]
    print(f"{size} px for {share:.0%} of the time: Dice {dice['mean']:.4f} ({low:.4f}-{high:.4f})")


def lasting(base: Path, sets: list[str], seconds: float, epochs: int) -> list[str]:
    """Keys for a training of so many seconds at the measured time of its step."""
    steps = int(seconds / measured_step(base, sets)["seconds"])
    each = max(1, steps // epochs)
    return ["train.minutes=0", f"train.epochs={epochs}", f"train.epoch_steps={each}"]


def train_from(base: Path, sets: list[str], weights: Path) -> None:
    """Train a config that begins with the weights of another size of the same network."""
    from rich.console import Console

    from flexseg.config.load import load
    from flexseg.models.package import ModelPackage
    from flexseg.models.weights import load_weights
    from flexseg.training.trainer import Training

    def start(package: ModelPackage) -> None:
        load_weights(package.model, weights)

    with mock.patch.object(ModelPackage, "pretrain", start):
        Training(load(base, sets), Console(quiet=True)).run()


def run(*command: str, sets: list[str]) -> None:
    """A process of this Python; ends the study if it fails."""
    flags = [part for text in sets for part in ("--set", text)]
    done = subprocess.run(
        [sys.executable, *command, *flags],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    main()
