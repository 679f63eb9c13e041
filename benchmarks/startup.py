"""Start-up: how long until something happens.

- `flexseg --help`; budget 0.5 s;
- `import flexseg` in a new Python, which takes some 0.02 s of it alone; budget 0.3 s;
- `flexseg train` of the seeds' FlexUNet (b16, k(9,9), 7 levels, 256 px, batch 2) until its first
  step is done: imports, building, tracing and compiling included; budget 15 s;
- `flexseg check` of 1000 cases of 512 px, divided into three splits; budget 20 s.

Each runs as a command in a separate process. Prints minimum, median and maximum.

    python benchmarks/startup.py [--rounds 3] [--cases 1000] [--only help import train check]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _common import in_one_folder, make_data, run, spread, write_config

BUDGETS = {"help": 0.5, "import": 0.3, "train": 15.0, "check": 20.0}

# The command as it is, which tells the time when its first step is done, and ends.
FIRST_STEP = """
import os, sys, time
from flexseg.backend import select
select()
import keras
class Tell(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits until it is computed
        print(time.time(), flush=True)
        os._exit(0)
def tell(self, model, set_model=keras.callbacks.CallbackList.set_model):
    self.callbacks.append(Tell())
    set_model(self, model)
keras.callbacks.CallbackList.set_model = tell
from flexseg.cli import main
main(["--quiet", "train", *sys.argv[1:]])
"""


def seconds(command: list[str]) -> float:
    """Duration of a command."""
    begin = time.perf_counter()
    run(command)
    return time.perf_counter() - begin


def until_first_step(config: Path, run_dir: Path) -> float:
    """Seconds from the start of `flexseg train` to the end of its first step."""
    begin = time.time()
    command = [sys.executable, "-c", FIRST_STEP, str(config), "--set", f"train.run_dir={run_dir}"]
    return float(run(command).split()[-1]) - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512, help="Of the cases to check.")
    parser.add_argument("--only", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    a = parser.parse_args()
    flexseg = [sys.executable, "-m", "flexseg.cli"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train").mkdir()
        (folder / "check").mkdir()
        if "train" in a.only:
            make_data(folder / "train" / "data", 8, 256)
        if "check" in a.only:
            make_data(folder / "check" / "data", a.cases, a.size)
        training = write_config(folder / "train")
        checked = in_one_folder(write_config(folder / "check", size=a.size))
        measures: dict[str, tuple[str, Callable[[int], float]]] = {
            "help": ("flexseg --help", lambda _: seconds([*flexseg, "--help"])),
            "import": (
                "import flexseg",
                lambda _: seconds([sys.executable, "-c", "import flexseg"]),
            ),
            "train": (
                "first step of the seeds' network",
                lambda i: until_first_step(training, folder / f"run{i}"),
            ),
            "check": (
                f"flexseg check, {a.cases} cases of {a.size} px",
                lambda _: seconds([*flexseg, "--quiet", "check", str(checked)]),
            ),
        }
        for key in a.only:
            title, measure = measures[key]
            times = [measure(i) for i in range(a.rounds)]
            kept = statistics.median(times) <= BUDGETS[key]
            print(
                f"{title:40s} {spread(times)} s, budget {BUDGETS[key]:g} s: "
                f"{'kept' if kept else 'MISSED'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
