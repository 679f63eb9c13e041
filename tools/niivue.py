"""Fetch NiiVue, which the viewer of volumes needs, from npm: `python tools/niivue.py`.

The file is checked and put into the package, where sdist and wheel take it from.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@niivue/niivue@0.54.0"
MEMBER = "package/dist/niivue.umd.js"
SHA256 = "cfa93e307f183ceaf16981cbb94e5d1002557bb45bb0fec3776a86393b48dd92"
TARGET = Path(__file__).parents[1] / "src/flexseg/inference/pictures/assets/niivue.umd.js"


class UnavailableError(Exception):
    """npm is not installed, or does not reach a registry."""


class AlteredError(Exception):
    """The file is not the one that was tested and whose licences are named."""


def fetch(folder: Path) -> Path:
    """Download the package; returns its archive in `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed; it comes with Node.js (https://nodejs.org).")
    command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if result.returncode:
        raise UnavailableError(f"npm cannot fetch {PACKAGE}: {result.stderr.strip()}")
    return folder / result.stdout.strip().splitlines()[-1]


def bundle(archive: Path) -> bytes:
    """The bundle in the archive of the package, checked by its hash."""
    with tarfile.open(archive) as package:
        file = package.extractfile(MEMBER)
        content = file.read() if file else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise AlteredError(f"{MEMBER} of {PACKAGE} is not the file with SHA-256 {SHA256}.")
    return content


def is_current(path: Path) -> bool:
    """Whether the file is there and the right one."""
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def main(arguments: list[str] | None = None) -> int:
    """Put the file into the package. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optional", action="store_true", help="exit with 0 if npm is not there")
    optional = parser.parse_args(arguments).optional
    try:
        if not is_current(TARGET):
            with tempfile.TemporaryDirectory() as scratch:
                content = bundle(fetch(Path(scratch)))
            TARGET.write_bytes(content)
        TARGET.touch()
        print(f"{PACKAGE} is in {TARGET.parent}; the installation takes it from there.")
    except UnavailableError as error:
        print(f"flexseg will lack its viewer of volumes: {error}", file=sys.stderr)
        return 0 if optional else 1
    except AlteredError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
