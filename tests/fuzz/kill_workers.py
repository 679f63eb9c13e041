"""Parts of a command that shares its work killed: python tests/fuzz/kill_workers.py [--parts PART ...].

- `driver`: `infer --workers 2`, given again each time; a later one keeps what an earlier one has
  noted.
- `worker`: one of the two of such a command, which goes on.
- `machine`: `infer` and `infer3d` on a Ray cluster of two, both pretended here, with a raylet and a
  processor each; all processes of one of them are killed after a third of the work.

Drivers and workers are killed at --kills moments that are spread over the work. Every output of one
process has to come out in the end, once, bit for bit, and nothing else. Linux only.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flexseg.backend import select

select("tensorflow")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import flexseg.models  # noqa: F401, E402 - registers the networks
from flexseg.files.volumes.volume import Volume  # noqa: E402
from flexseg.files.volumes.write import write_volume  # noqa: E402
from worked_project import write_project, written  # noqa: E402

# What tests choose for themselves would be another engine; Ray would share out GPUs.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | {
    "CUDA_VISIBLE_DEVICES": "",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# Workers of a driver that was killed have to be gone after so many seconds.
LIMIT = 60.0
# Images that two workers may have written without the driver's note: two chunks each, of four
# batches of two.
UNNOTED = 32


@dataclass(frozen=True)
class Run:
    """A command that has ended."""

    code: int
    said: str
    seconds: float


class Project:
    """Images and volumes of noise, and a network of random weights.

    Parameters
    ----------
    folder : for all of it, and for results: those of `infer` into `NAME` are in `NAME/images`.
    """

    def __init__(self, folder: Path, images: int, volumes: int) -> None:
        self.folder = folder
        self.counts = {"images": images, "volumes": volumes}
        write_project(folder)
        for source in self.counts:
            shutil.rmtree(folder / source)
            (folder / source).mkdir()
        rng = np.random.default_rng(1)
        for i in range(images):
            pixels = rng.integers(0, 256, (64, 80), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{i:05}.png")
        for i in range(volumes):
            voxels = rng.integers(0, 256, (12, 64, 64)).astype(np.int16)
            write_volume(folder / "volumes" / f"{i:03}.nii.gz", Volume(voxels))

    def begin(self, source: str, name: str, *more: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Predict all images, or volumes; returns the command and the file of what it says."""
        command = {"images": "infer", "volumes": "infer3d"}[source]
        said = self.folder / f"said_{name}.txt"
        with said.open("wb") as file:
            child = subprocess.Popen(
                [sys.executable, "-m", "flexseg.cli", command, "a.toml",
                 "-i", source, "-o", f"{name}/{source}", *more],
                stdout=file, stderr=subprocess.STDOUT, cwd=self.folder, env=ENVIRONMENT,
            )  # fmt: skip
        return child, said

    def run(self, source: str, name: str, *more: str) -> Run:
        """`begin`, and wait for the end."""
        began = time.monotonic()
        child, said = self.begin(source, name, *more)
        code = child.wait()
        text = said.read_text(encoding="utf-8", errors="replace")
        return Run(code, text, time.monotonic() - began)

    def outputs(self, source: str, name: str) -> dict[str, os.stat_result]:
        """The masks that are there, by their names."""
        place = self.folder / name / source
        if source == "volumes":
            place /= "labels"
        try:
            with os.scandir(place) as entries:
                return {e.name: e.stat() for e in entries if e.name.endswith((".png", ".nii.gz"))}
        except FileNotFoundError:
            return {}

    def wait(self, source: str, name: str, count: int, child: subprocess.Popen[bytes]) -> None:
        """Until so many masks are there, or the command has ended."""
        while child.poll() is None and len(self.outputs(source, name)) < count:
            time.sleep(0.02)

    def compared(self, source: str, name: str, run: Run) -> bool:
        """Tell how many of the files that one process writes a command has written, and equal."""
        one, several = (written(self.folder / place) for place in (f"one_{source}", name))
        equal = sum(several.get(file) == content for file, content in one.items())
        more = sorted(several.keys() - one.keys())
        print(  # noqa: T201
            f"  exit code {run.code}; {len(self.outputs(source, name))} of {self.counts[source]} "
            f"masks; of {len(one)} files {len(one.keys() & several.keys())} are there, {equal} "
            f"equal; others: {more[:5]}",
            flush=True,
        )
        if good := run.code == 0 and equal == len(one) and not more:
            return good
        print(run.said[-2000:], flush=True)  # noqa: T201
        return False


def workers_of(number: int) -> list[int]:
    """The numbers of a command's workers."""
    try:
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in children if b"spawn_main" in _line_of(int(child))]


def _line_of(number: int) -> bytes:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()  # empty of one that has ended
    except OSError:
        return b""


def moments(kills: int, images: int) -> Iterator[int]:
    """After how many images to kill, one in each of equal parts of the work."""
    draw = random.Random(1)
    return (int((i + draw.random()) * images / kills) for i in range(kills))


def kill_drivers(project: Project, kills: int) -> bool:
    """Kill a command again and again; whether a later one has kept what was done."""
    found = []
    workers: set[int] = set()
    began = time.monotonic()
    for moment in moments(kills, project.counts["images"]):
        child, _ = project.begin("images", "driver", "--workers", "2")
        project.wait("images", "driver", moment, child)
        workers |= {*workers_of(child.pid)}
        child.kill()
        child.wait()
        found.append(project.outputs("images", "driver"))
    run = project.run("images", "driver", "--workers", "2")
    seconds = time.monotonic() - began
    last = {name: _identity(seen) for name, seen in project.outputs("images", "driver").items()}
    kept = [sum(_identity(s) == last.get(n) for n, s in before.items()) for before in found]
    print(f"driver killed {kills} times in {seconds:.0f} s")  # noqa: T201
    print(f"  masks at the kills: {[len(before) for before in found]}")  # noqa: T201
    print(f"  of these kept:      {kept}")  # noqa: T201
    left = _that_stay(workers)
    print(f"  of {len(workers)} workers of killed drivers stay: {len(left)}")  # noqa: T201
    # What a driver could not note is done again by a later one.
    lost = [len(before) - same for before, same in zip(found, kept, strict=True)]
    few = all(one <= UNNOTED * i for i, one in enumerate(lost, start=1))
    return project.compared("images", "driver", run) and few and not left


def _identity(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_ino, seen.st_mtime_ns


def _that_stay(workers: Iterable[int]) -> list[int]:
    """Those of some processes that do not end."""
    end = time.monotonic() + LIMIT
    while (left := [one for one in workers if b"spawn_main" in _line_of(one)]) and (
        time.monotonic() < end
    ):
        time.sleep(0.1)
    return left


def kill_workers(project: Project, kills: int) -> bool:
    """Kill one of two workers again and again."""
    draw = random.Random(2)
    began = time.monotonic()
    child, said = project.begin("images", "worker", "--workers", "2")
    found = []
    for moment in moments(kills, project.counts["images"]):
        project.wait("images", "worker", moment, child)
        while child.poll() is None and not (workers := workers_of(child.pid)):
            time.sleep(0.02)
        if child.poll() is None:
            os.kill(draw.choice(workers), signal.SIGKILL)
            found.append(len(project.outputs("images", "worker")))
    code = child.wait()
    seconds = time.monotonic() - began
    text = said.read_text(encoding="utf-8", errors="replace")
    print(f"worker killed {len(found)} times in {seconds:.0f} s")  # noqa: T201
    print(f"  masks at the kills: {found}")  # noqa: T201
    same = project.compared("images", "worker", Run(code, text, seconds))
    return same and len(found) == kills


def lose_machines(project: Project, _: int) -> bool:
    """Kill one of two machines of a Ray cluster while images, then volumes are predicted."""
    good = True
    for source, count in project.counts.items():
        run, found = _without_a_machine(project, source, count // 3)
        print(  # noqa: T201
            f"machine lost with {found} of {count} {source} done; {run.seconds:.0f} s in all",
        )
        good &= project.compared(source, f"machine_{source}", run) and found is not None
    return good


def _without_a_machine(project: Project, source: str, moment: int) -> tuple[Run, int | None]:
    """Lose one of two machines when so many masks are there; how many there were indeed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
    name = f"machine_{source}"
    found: list[int] = []
    ended = threading.Event()

    def lose() -> None:
        while len(there := project.outputs(source, name)) < moment:
            if ended.wait(0.02):
                return
        found.append(len(there))
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        run = project.run(source, name, "--ray", cluster.address)
    finally:
        ended.set()
        thread.join()
        cluster.shutdown()
    return run, found[0] if found else None


PARTS: dict[str, Callable[[Project, int], bool]] = {
    "driver": kill_drivers,
    "worker": kill_workers,
    "machine": lose_machines,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--volumes", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)  # of Ray's machines
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), options.images, options.volumes)
        for source in project.counts:
            run = project.run(source, f"one_{source}")
            print(f"{source}, one process: exit code {run.code}, {run.seconds:.0f} s")  # noqa: T201
        good = [PARTS[part](project, options.kills) for part in options.parts]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
