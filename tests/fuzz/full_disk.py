"""Whole commands on a disk that becomes full: python tests/fuzz/full_disk.py [--commands ...].

Each runs on a file system of 30 MB in a namespace of its own, on which only a part of the room is
left that it takes. It must end with exit code 4 and name what it could not write, and leave no cut
file under a final name. Linux only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
_DISK = "FLEXSEG_FULL_DISK"
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
COLUMNS = (
    "refused", "room enough", "unfit", "other exit codes", "nothing named", "cut files", "lost files",
    "tracebacks",
)  # fmt: skip
_FAILURES = COLUMNS[3:]
# Of the room that a command takes, as much is left.
_SHARES = (0.0, 0.4, 0.9)
_BLOCK = 4096


def on_a_disk_of_its_own(place: Path) -> int:
    """Run this program again where a small file system is mounted; 77 if nobody may do so."""
    mount = f"mount -t tmpfs -o size=30m tmpfs {place}"
    if subprocess.run(
        [*_NAMESPACE, "sh", "-c", mount], capture_output=True, check=False
    ).returncode:
        return 77
    line = f'{mount} && exec "$0" "$@"'
    arguments = [sys.executable, *sys.argv]
    environment = os.environ | {_DISK: str(place)}
    again = [*_NAMESPACE, "sh", "-c", line, *arguments]
    return subprocess.run(again, env=environment, check=False).returncode


class FullDisk:
    """Commands in copies of one project, on a disk.

    Parameters
    ----------
    folder : for the project, on another disk.
    """

    def __init__(self, folder: Path, disk: Path, trained: bool) -> None:
        from fuzz_project import prepare

        self.base, self.disk, self.place = folder / "base", disk, disk / "p"
        prepare(self.base, trained)

    def run(self, name: str) -> tuple[str, Counter[str]]:
        """What came of a command with less and less lack of room."""
        from fuzz_project import COMMANDS, finished, started
        from kills import is_cut

        log = self.base.parent / "said"
        line, counts, told = COMMANDS[name], Counter[str](), ""
        before = self._begin()
        code, said = finished(*started(self.place, line, log))
        if code:
            return f"{name} with room: exit code {code}\n{said[-2000:]}", Counter(unfit=1)
        names = {path.name for path in self.place.rglob("*")}
        taken = self._used() - before
        for share in _SHARES:
            self._begin()
            self._fill(int(taken * share))
            code, said = finished(*started(self.place, line, log))
            (self.disk / "filling").unlink()
            cut = [str(p) for p in self.place.rglob("*") if is_cut(p, self.place)]
            found = self._judged(code, said, names, len(cut))
            counts.update(found)
            if any(found[kind] for kind in _FAILURES):
                told += f"\n{share:.0%} of {taken} bytes, exit code {code}: {found} {cut}\n{said[-3000:]}"
        return f"{name}: {counts}{told}", counts

    def _judged(self, code: int, said: str, names: set[str], cut: int) -> Counter[str]:
        from kills import hashes

        joined = said.replace("\n", "")
        named = str(self.disk) in joined or any(name in joined for name in names)
        lost = hashes(self.base) - hashes(self.place)
        return +Counter(
            {
                "refused": code == 4,
                "room enough": code == 0,
                "other exit codes": code not in (0, 4),
                "nothing named": code == 4 and not named,
                "cut files": cut,
                "lost files": code == 4 and bool(lost),
                "tracebacks": "Traceback" in said or "should not happen" in said,
            }
        )

    def _begin(self) -> int:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.base, self.place)
        return self._used()

    def _used(self) -> int:
        return shutil.disk_usage(self.disk).used

    def _fill(self, left: int) -> None:
        with (self.disk / "filling").open("wb", buffering=0) as file:
            room = shutil.disk_usage(self.disk).free - left
            for _ in range(max(0, room // _BLOCK)):
                file.write(bytes(_BLOCK))


def main() -> int:
    from fuzz_project import COMMANDS, TRAINED

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = any(name in TRAINED for name in options.commands)
        full = FullDisk(Path(folder), Path(os.environ[_DISK]), trained)
        for name in options.commands:
            told, found = full.run(name)
            counts += found
            print(told, flush=True)  # noqa: T201
    columns = ", ".join(f"{name} {counts[name]}" for name in COLUMNS)
    print(f"full disk: tried {len(options.commands) * len(_SHARES)}, {columns}")  # noqa: T201
    return int(any(counts[name] for name in _FAILURES))


if __name__ == "__main__":
    if _DISK in os.environ:
        from flexseg.backend import select

        select()
        sys.exit(main())
    with tempfile.TemporaryDirectory() as disk:
        sys.exit(on_a_disk_of_its_own(Path(disk)))
