"""Processes of a training killed or stopped: python tests/fuzz/kill_processes.py [--kills N].

Two commands on this machine train together as if on two; one of their four processes is killed (or
stopped) at a random moment, the next training goes on where that one has ended, and so on. All have
to end within a minute with the reason, and what an unkilled training in one process writes has to
come out in the end. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ports import free_port
from synthetic import write_dataset

CONFIG = """
[model]
image_width = 32
image_height = 32
num_classes = 3
num_layers = 2
base_filters = 4
learning_rate = 0.0005
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 40
epoch_steps = 10
batch_size = 4
epoch_change_infer = false
patience = 0
checkpoint_minutes = 0.01
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = "#00ff00"
[[mask.classes]]
id = 2
color = "#ff0000"
"""
ROLES = ("supervisor 0", "supervisor 1", "process 0", "process 1")
# What tests choose for themselves would be another engine.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
# All have to be gone after so many seconds.
LIMIT = 60.0


@dataclass
class Ended:
    """What came of a training of which a process was killed."""

    seconds: float
    codes: list[int]
    said: list[str]


class Pair:
    """Two commands that train together.

    Parameters
    ----------
    options : of each, behind `train CONFIG`.
    """

    def __init__(self, config: Path, options: Sequence[Sequence[str]] = ((), ())) -> None:
        port = free_port()
        self.logs = [config.with_name(f"said_{index}.txt") for index in (0, 1)]
        self.commands = []
        for index, log in enumerate(self.logs):
            with log.open("w") as file:
                self.commands.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "flexseg.cli", "train", str(config), *options[index],
                         "--coordinator", f"127.0.0.1:{port}", "--process", str(index),
                         "--processes", "2"],
                        stdout=file, stderr=subprocess.STDOUT,
                        start_new_session=True, env=ENVIRONMENT,
                    )
                )  # fmt: skip

    def numbers(self) -> dict[str, int]:
        """Role -> number of the process, of those that are there."""
        found = {}
        for index, command in enumerate(self.commands):
            if command.poll() is None:
                found[f"supervisor {index}"] = command.pid
                if child := _child_of(command.pid):
                    found[f"process {index}"] = child
        return found

    def wait(self, seconds: float, but: int | None = None) -> Ended:
        """Wait until both have ended, children included; what has not by then is killed.

        Parameters
        ----------
        but : number of a process that was stopped, and cannot end by itself.
        """
        begin = time.monotonic()
        there = self.numbers()
        children = [number for role, number in there.items() if role.startswith("process")]
        awaited = set(there.values()) - {but}
        while time.monotonic() - begin < seconds:
            for command in self.commands:
                command.poll()
            if not any(map(_runs, awaited)):
                break
            time.sleep(0.1)
        took = time.monotonic() - begin
        for command in self.commands:
            command.kill()
            command.wait()
        for number in filter(_runs, children):
            os.kill(number, signal.SIGKILL)
        said = [log.read_text(encoding="utf-8", errors="replace") for log in self.logs]
        return Ended(took, [command.returncode for command in self.commands], said)


def _child_of(number: int) -> int | None:
    text = Path(f"/proc/{number}/task/{number}/children").read_text()
    return int(text.split()[0]) if text.split() else None


def _runs(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def prepare(folder: Path) -> Path:
    """Write images and a config; returns the config."""
    write_dataset(folder / "dataset", {"train": 10, "valid": 5}, size=(32, 32), classes=3)
    config = folder / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def alone(config: Path, *options: str) -> dict[str, list[float]]:
    """The history of the same training in one process."""
    command = [sys.executable, "-m", "flexseg.cli", "train", str(config), "--backend", "jax",
               "--set", f"train.run_dir={config.parent / 'alone'}", *options]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return json.loads((config.parent / "alone" / "history.json").read_text())


def kill(
    config: Path, role: str, moment: float, number: int = signal.SIGKILL, *, training: bool
) -> Ended:
    """Train, going on where an earlier training has ended, and kill one of the processes.

    Parameters
    ----------
    moment : seconds until then.
    training : from the first state that is saved on; else from the start.
    """
    pair = Pair(config, [_on(config)] * 2)
    saved, start = config.parent / "models" / "checkpoint.npz", time.time()
    while any(command.poll() is None for command in pair.commands):
        begun = not training or (saved.exists() and saved.stat().st_mtime > start)
        if begun and role in pair.numbers():
            time.sleep(moment)
            break
        time.sleep(0.02)
    killed = pair.numbers().get(role)
    if killed is not None:
        os.kill(killed, number)
    return pair.wait(LIMIT, but=killed if number == signal.SIGSTOP else None)


def _on(config: Path) -> list[str]:
    """The option to go on, where there is something to go on with."""
    return ["--resume"] if (config.parent / "run.json").exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--stop", action="store_true", help="stop processes instead of killing")
    parser.add_argument("--longest", type=float, default=30.0, help="seconds of a start")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        config = prepare(Path(folder))
        expected = alone(config)
        for i in range(options.kills):
            role, training = ROLES[i % 4], i // 4 % 2 == 1
            moment = random.Random(i).uniform(0.0, 1.0 if training else options.longest)
            number = signal.SIGSTOP if options.stop else signal.SIGKILL
            ended = kill(config, role, moment, number, training=training)
            explained = any("Error:" in text or "Best epoch" in text for text in ended.said)
            failed += ended.seconds >= LIMIT or not explained
            reasons = [line for t in ended.said for line in t.splitlines() if "Error:" in line]
            since = "the first state saved" if training else "the start"
            print(  # noqa: T201
                f"{i}: {role} {moment:.1f} s after {since}; all ended {ended.seconds:.1f} s later, "
                f"codes {ended.codes}: {reasons or [t[-300:] for t in ended.said]}",
                flush=True,
            )
        last = Pair(config, [_on(config)] * 2).wait(900.0)
        found = json.loads((config.parent / "history.json").read_text())
        far = {
            name: np.abs(np.array(found[name]) / np.array(expected[name]) - 1)
            for name in ("loss", "val_loss")
        }
        # Rounding, which differs with the number of processes, grows from step to step.
        same = all(one[:10].max() < 1e-5 and one.max() < 1e-2 for one in far.values())
        failed += last.codes != [0, 0] or not same
        print(f"In the end: codes {last.codes}, equal losses: {same}; {failed} failed")  # noqa: T201
        for name, one in far.items():
            print(f"{name} of each epoch differs by {' '.join(f'{x:.0e}' for x in one)}")  # noqa: T201
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
