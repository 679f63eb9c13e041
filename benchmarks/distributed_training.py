"""Two processes that train together, each on a core of its own, against two that train apart.

In turn (A B C A B C ...), all with the same work for a core and step:

- A: two trainings at the same time that know nothing of each other, batches of B images each;
- B: two processes of one training, batches of 2 B images;
- C: one such training as in A, alone on the machine.

With `--namespaces` (root) the two processes of B are in two network namespaces, joined by a pair of
virtual Ethernet devices, as on two computers; else they meet on localhost. Prints seconds per step
and the throughput of B, in parts of that of A (budget 0.85) and of two of C; the same in seconds of
the processor, which tell what working together costs where other programs take the cores as well.
Then how far the losses of B are from those of one process with batches of 2 B images.

    python benchmarks/distributed_training.py --namespaces [--rounds 5] [--size 128] [--batch 4]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _common import make_data, seconds_per_batch, spread, train_command, write_config

BUDGET = 0.85
HISTORY = "history.json"
PORT = 7733
NAMES = ("flexseg0", "flexseg1")
ADDRESSES = ("10.71.0.1", "10.71.0.2")


@contextmanager
def namespaces() -> Iterator[None]:
    """Two network namespaces, joined by a pair of virtual Ethernet devices."""
    run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    try:
        for name, address, device in zip(NAMES, ADDRESSES, ("veth0", "veth1"), strict=True):
            run("ip", "netns", "add", name)
            run("ip", "link", "set", device, "netns", name)
            inside = ("ip", "netns", "exec", name, "ip")
            run(*inside, "address", "add", f"{address}/24", "dev", device)
            run(*inside, "link", "set", device, "up")
            run(*inside, "link", "set", "lo", "up")
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        # Where a namespace could not be made, its device is left outside.
        subprocess.run(["ip", "link", "delete", "veth0"], check=False, stderr=subprocess.DEVNULL)


def run(*command: str) -> None:
    """Run a command; its errors end the benchmark."""
    subprocess.run(command, check=True)


def together(commands: list[list[str]], watched: Path) -> float:
    """Run commands at the same time, each on a core; their errors end the benchmark.

    Parameters
    ----------
    watched : the history of one of them, which is written after each epoch.

    Returns
    -------
    Seconds of the processor that each has taken after its first epoch.
    """
    if sys.platform != "linux":
        raise SystemExit("This needs taskset, of Linux.")
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    cores = sorted(os.sched_getaffinity(0))
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(cores[i % len(cores)]), *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )
        for i, command in enumerate(commands)
    ]  # fmt: skip
    taken: list[float] = []
    seen = 0.0
    while any(process.poll() is None for process in started):
        if watched.exists() and (written := watched.stat().st_mtime) != seen:
            seen = written
            taken.append(sum(processor_seconds(process.pid) for process in started))
        time.sleep(0.05)
    for command, process in zip(commands, started, strict=True):
        said, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{said}")
    return (taken[-1] - taken[0]) / len(commands)


def processor_seconds(number: int) -> float:
    """What a process and those that it has started have taken."""
    if sys.platform == "win32":  # there is no /proc
        return 0.0
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in children)


def two_processes(config: Path, run_dir: Path, batch: int, *, separate: bool) -> float:
    """Train in two processes; see `together`."""
    own = train_command(config, f"train.run_dir={run_dir}", f"train.batch_size={2 * batch}")
    host = ADDRESSES[0] if separate else "127.0.0.1"
    meeting = ["--coordinator", f"{host}:{PORT}", "--processes", "2"]
    commands = [[*own, *meeting, "--process", str(i)] for i in (0, 1)]
    if separate:
        commands = [
            ["ip", "netns", "exec", name, *command]
            for name, command in zip(NAMES, commands, strict=True)
        ]
    return together(commands, run_dir / HISTORY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20, help="of each of two epochs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if not options.namespaces:
            measure(place, options)
            return
        with namespaces():
            measure(place, options)


def measure(place: Path, options: argparse.Namespace) -> None:
    """Run all rounds, and print what came of them."""
    batch, steps = options.batch, options.steps
    make_data(place / "data", 4 * batch, options.size)
    config = write_config(
        place,
        size=options.size,
        layers=options.layers,
        filters=options.filters,
        kernel=3,
        batch=batch,
        epochs=2,
        precision="float32",
    )
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("[train]", f"[train]\nepoch_steps = {steps}"), encoding="utf-8")
    seconds: dict[str, list[float]] = {"apart": [], "together": [], "alone": []}
    taken: dict[str, list[float]] = {name: [] for name in seconds}
    for number in range(options.rounds):
        runs = [place / f"apart_{number}_{i}" for i in (0, 1)]
        commands = [train_command(config, f"train.run_dir={folder}") for folder in runs]
        taken["apart"].append(together(commands, runs[0] / HISTORY) / steps)
        seconds["apart"].append(statistics.mean(map(seconds_per_batch, runs)))
        pair = place / f"together_{number}"
        used = two_processes(config, pair, batch, separate=options.namespaces)
        taken["together"].append(used / steps)
        seconds["together"].append(seconds_per_batch(pair))
        alone = place / f"alone_{number}"
        command = train_command(config, f"train.run_dir={alone}")
        taken["alone"].append(together([command], alone / HISTORY) / steps)
        seconds["alone"].append(seconds_per_batch(alone))
        print(f"round {number}: { ({k: round(v[-1], 4) for k, v in seconds.items()}) }", flush=True)
    for name, values in seconds.items():
        print(f"{name}, s per step (min / median / max): {spread(values)}")
        print(f"{name}, s of the processor per step:     {spread(taken[name])}")
    for name, words in (("apart", "two apart"), ("alone", "two of one alone")):
        for times, unit in ((seconds, "by the clock"), (taken, "by the processor")):
            ratios = [a / b for a, b in zip(times[name], times["together"], strict=True)]
            print(f"throughput in parts of {words}, {unit}: {spread(ratios)}")
            if name == "apart":
                kept = statistics.median(ratios) >= BUDGET
                print(f"budget {BUDGET}: {'kept' if kept else 'MISSED'}")
    single = place / "single"
    command = train_command(config, f"train.run_dir={single}", f"train.batch_size={2 * batch}")
    together([command], single / HISTORY)
    one, two = (
        json.loads((folder / HISTORY).read_text(encoding="utf-8")) for folder in (single, pair)
    )
    for name in ("loss", "val_loss"):
        far = np.max(np.abs(np.array(two[name]) / np.array(one[name]) - 1))
        print(f"{name}: {two[name]} in two processes, {one[name]} in one; relative {far:.1e}")


if __name__ == "__main__":
    main()
