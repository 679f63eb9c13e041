"""The manifest of a run: what was trained on what, with what, and how it went."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flexseg.config.findings import Finding
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.splits import SplitName
from flexseg.outputs import write_json

FILE_NAME = "run.json"
_SAMPLE = 65536


def data_fingerprint(cases: Iterable[Case]) -> str:
    """A hash of names, sizes and both ends of all files of some cases (sha256, hex)."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(case.id.encode())
        for path in (case.image, case.mask):
            size = path.stat().st_size
            digest.update(f"{path.suffix}:{size}:".encode())
            with path.open("rb") as file:
                digest.update(file.read(_SAMPLE))
                if size > 2 * _SAMPLE:
                    file.seek(-_SAMPLE, 2)
                    digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


class RunManifest:
    """`run.json`, rewritten whenever something is known better."""

    def __init__(self, folder: Path, loaded: LoadedConfig) -> None:
        self.path = folder / FILE_NAME
        self.content: dict[str, Any] = {
            "status": "running",
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "config_file": str(loaded.path),
            "config": loaded.experiment.model_dump(mode="json"),
            "sources": loaded.sources,
        }

    def keep_start(self) -> None:
        """Take over from the file of an interrupted run what only its start knows."""
        if self.path.exists():
            earlier = json.loads(self.path.read_text(encoding="utf-8"))
            kept = ("started", "batch_size")
            self.content |= {key: earlier[key] for key in kept if key in earlier}

    def add_data(
        self, splits: Mapping[SplitName, tuple[Case, ...]], findings: list[Finding]
    ) -> None:
        """Note what the run is trained on."""
        self.content["data"] = {
            name: {
                "cases": len(cases),
                "groups": len({case.group for case in cases}),
                "fingerprint": data_fingerprint(cases),
                "ids": [case.id for case in cases],
            }
            for name, cases in splits.items()
        }
        self.content["findings"] = [finding.as_dict() for finding in findings]

    def amend(self, **news: Any) -> None:
        """Change the file of an earlier process, which knew more than this one."""
        try:
            earlier = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if any(earlier.get(key) != value for key, value in news.items()):
            write_json(self.path, earlier | news)

    def write(self, **news: Any) -> None:
        """Add `news` and write the file."""
        self.content.update(news)
        self.content["updated"] = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(self.path, self.content)
