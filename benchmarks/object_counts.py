"""Objects found, missed and false by `panoptica`, known answers of tests/evaluation/metrics.

panoptica wants an older numpy than flexseg and a package under the LGPL (connected-components-3d),
so it has an environment of its own:

    python -m venv ENV && ENV/bin/pip install panoptica==2.1.7
    ENV/bin/python benchmarks/object_counts.py

With --masks it only makes the masks, which works without panoptica.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from overlapping_discs import discs

SEEDS = range(5)


def main() -> None:
    """Print seed, found, missed and false objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", action="store_true", help="make the masks, and no more")
    if parser.parse_args().masks:
        for seed in SEEDS:
            print(seed, [int(mask.sum()) for mask in discs(seed)])
    else:
        count()


def count() -> None:
    """What panoptica counts."""
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )
    from panoptica.utils.constants import CCABackend

    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(CCABackend.cc3d),
        instance_matcher=NaiveThresholdMatching(matching_threshold=0.5),
    )
    for seed in SEEDS:
        # cc3d connects corners in volumes only by its default, so the image is one of a slice.
        reference, prediction = discs(seed)[:, np.newaxis].astype(np.uint8)
        result = evaluator.evaluate(prediction, reference, verbose=False)["ungrouped"]
        print((seed, result.tp, result.fn, result.fp))


if __name__ == "__main__":
    main()
