"""What commands make of a folder of data: the class ids of every case, as a training sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config import load
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.reading import Dataset
from flexseg.files.images import read_image
from support import flexseg

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """A case as a command takes it.

    Attributes
    ----------
    image : [H, W, C] as stored.
    labels : class ids [H, W], 255 where nothing counts.
    """

    image: NDArray
    labels: Labels


@dataclass(frozen=True)
class Answer:
    """What a command says of a folder: the cases, or why there are none.

    Attributes
    ----------
    code : the exit code.
    said : all that was printed, in one line.
    cases : by their ids.
    classes : the names of the foreground classes.
    """

    code: int
    said: str
    cases: dict[str, Seen]
    classes: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, Labels]:
        """The class ids of each case."""
        return {name: seen.labels for name, seen in self.cases.items()}


@dataclass
class Asking:
    """Runs commands on folders, each into a new place of its own.

    Attributes
    ----------
    work : where results go.
    capsys : pytest's.
    """

    work: Path
    capsys: pytest.CaptureFixture[str]
    count: int = 0

    def run(self, *arguments: str | Path) -> tuple[int, str]:
        """A command's exit code, and what it prints, in one line."""
        self.capsys.readouterr()
        code = flexseg(*arguments)
        printed = self.capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    def place(self, name: str) -> Path:
        """A new place for a result."""
        self.count += 1
        return self.work / f"{name} {self.count}"

    def init(self, folder: Path, *options: str) -> Answer:
        """`init`: what a training with its config takes."""
        place = self.place("init")
        return self._configured(*self.run("init", folder, "-o", place, *options), place)

    def plan(self, folder: Path, *options: str) -> Answer:
        """`plan`: what a training with its config takes."""
        place = self.place("plan")
        line = ("plan", folder, "-o", place, "--time", "60s", *options)
        return self._configured(*self.run(*line), place)

    def check(self, folder: Path, *options: str) -> tuple[int, str]:
        """`check` of the config that `init` writes."""
        place = self.place("check")
        assert self.run("init", folder, "-o", place, *options)[0] == 0
        return self.run("check", place / "flexseg.toml")

    def folders(self, images: Path, masks: Path, *options: str) -> Answer:
        """`derive folders`: the dataset that it writes."""
        return self.derived("folders", images, masks, *options)

    def derived(self, kind: str, *arguments: str | Path) -> Answer:
        """A command of `derive`: the dataset that it writes."""
        place = self.place(f"derive {kind}")
        code, said = self.run("derive", kind, *arguments, "-o", place)
        if code:
            return Answer(code, said, {})
        data = Dataset.open(place)
        return _answer(code, said, data.cases, data.labels)

    def _configured(self, code: int, said: str, place: Path) -> Answer:
        if code:
            return Answer(code, said, {})
        experiment = load(place / "flexseg.toml", strict=True).experiment
        splits = find_splits(experiment.data)
        splits.raise_errors()
        cases = [case for own in splits.cases.values() for case in own]
        return _answer(code, said, cases, _labels(experiment))

    def images(self, folder: Path) -> dict[str, Answer]:
        """`init`, `plan` and `derive folders` of images/ and masks/ in a folder."""
        return {
            "init": self.init(folder),
            "plan": self.plan(folder),
            "derive folders": self.folders(folder / "images", folder / "masks"),
        }


def _labels(experiment: Experiment) -> LabelMap:
    return LabelMap.from_config(experiment.class_sections)


def _answer(code: int, said: str, cases: list[Case] | tuple[Case, ...], labels: LabelMap) -> Answer:
    seen = {
        case.id: Seen(read_image(case.image), labels.encode(case_mask(case)).labels)
        for case in cases
    }
    return Answer(code, said, seen, tuple(c.name for c in labels.foreground))


def assert_labels(answer: Answer, right: dict[str, NDArray]) -> None:
    """All cases are there, and each pixel has its class."""
    assert answer.code == 0, answer.said
    assert answer.labels.keys() == right.keys(), answer.said
    for name, labels in right.items():
        found = answer.labels[name]
        assert found.shape == labels.shape, f"{name}: {found.shape} for {labels.shape}"
        wrong = int((found != labels).sum())
        assert not wrong, f"{name}: {wrong} pixels, classes {np.unique(found)}; {answer.said}"
