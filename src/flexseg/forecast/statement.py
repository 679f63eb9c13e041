"""What short trainings tell of more cases and more time, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.config.durations import format_duration
from flexseg.config.findings import amount
from flexseg.forecast.failing_groups import (
    FEWEST_CASES,
    FailingGroup,
    ScoredCase,
    failing_groups,
    independent_units,
)
from flexseg.forecast.learning_curve import LearningCurve, Point, Range, several
from flexseg.outputs import write_json
from flexseg.runs.given import ADVICE_FILE

PICTURE_NAME = "learning_curve.png"
_TIMES = 4
# A longer time than so many times that of the trainings is not forecast.
_FARTHEST = 16
# With fewer validation cases or groups the intervals themselves are unsure.
_FEW = 10
# Of the steps of a training in full time: with fewer it is at a start that no power law describes.
_FEWEST_STEPS = 0.2
# Trainings of fewer steps say little.
_HARDLY_BEGUN = 50
_SURE = 0.9
_LITTLE = 0.005


@dataclass(frozen=True)
class Measured:
    """A finished training on some of the cases.

    Attributes
    ----------
    cases : that it was trained on; of slices their volumes.
    seconds : that it was given, the first `began` of which passed before its first step was done.
    steps : that it has done.
    dice : validation case -> mean Dice of its classes.
    """

    cases: int
    seconds: float
    began: float
    steps: int
    dice: dict[str, float]


@dataclass(frozen=True)
class Forecast:
    """What a training would reach.

    Attributes
    ----------
    what : it has more of, in words.
    gain : in Dice, on average over trainings.
    dice : on average over trainings.
    one : the Dice of a single training.
    """

    what: str
    cases: int
    seconds: float
    gain: Range
    dice: Range
    one: Range


@dataclass(frozen=True)
class Scored:
    """Cases whose scores tell which ones fail, of which `kind` they are ("validation")."""

    kind: str
    cases: Sequence[ScoredCase]


@dataclass(frozen=True)
class Subject:
    """What is asked.

    Attributes
    ----------
    cases : training cases; of slices their volumes.
    volumes : the cases are volumes.
    minutes : of the config's own training; 0: it does not say.
    more : cases, whose benefit is asked for.
    """

    cases: int
    volumes: bool
    minutes: float
    more: int

    def amount(self, number: int, kind: str = "") -> str:
        """A number of cases or volumes, in words."""
        return amount(number, f"{kind} {'volume' if self.volumes else 'case'}".strip())


@dataclass(frozen=True)
class Advice:
    """All that is told.

    Attributes
    ----------
    seconds : of the training that the forecasts begin with: the config's own time, or the full
        time of the short ones, `measured_seconds`.
    validation : cases that scored all trainings.
    now : such a training with all cases.
    """

    subject: Subject
    measured_seconds: float
    seconds: float
    validation: int
    trainings: list[Measured]
    now: Forecast
    more_cases: list[Forecast]
    more_time: list[Forecast]
    groups: list[FailingGroup]
    sentences: list[str]

    @property
    def is_curve(self) -> bool:
        """The trainings differ in cases or in time."""
        return bool(self.more_cases or self.more_time)

    def write(self, folder: Path) -> None:
        """Write `advice.json`."""
        content = asdict(self) | {"made_by": f"flexseg {__version__} advise"}
        for entry, one in zip(content["trainings"], self.trainings, strict=True):
            entry["dice"] = float(np.mean(list(one.dice.values())))
        write_json(folder / ADVICE_FILE, content)


def make_advice(
    subject: Subject,
    trainings: Sequence[Measured],
    looks: Mapping[str, ScoredCase],
    scored: Scored | None,
    seed: int = 0,
) -> tuple[Advice, LearningCurve]:
    """What is to be told, and the curve that it is from.

    Parameters
    ----------
    looks : what the validation cases are like.
    scored : cases whose scores tell which ones fail; None: the validation cases of the trainings
        on all cases in full time.
    """
    everything, trainings = trainings, usable(trainings)
    full = in_full_time(trainings)
    largest = [m for m in full if m.cases == max(one.cases for one in full)]
    errors = _errors(trainings, looks)
    curve = LearningCurve.fit([Point(m.cases, m.steps) for m in trainings], errors, seed)
    given = max(m.seconds for m in trainings)
    wanted = 60 * subject.minutes
    seconds = wanted if given < wanted <= _FARTHEST * given else given

    def at(cases: int, time: float) -> Point:
        return Point(cases, steps_in(time, trainings))

    now = at(subject.cases, seconds)

    def forecast(what: str, cases: int, time: float) -> Forecast:
        point = at(cases, time)
        return Forecast(what, cases, time, curve.gain(point, now), curve.dice(point),
                        curve.dice_of_one(point))  # fmt: skip

    by_cases = several(np.array([m.cases for m in trainings], float))
    by_steps = several(np.array([m.steps for m in trainings if m.cases == subject.cases], float))
    more_cases, more_time = [], []
    if by_cases:
        n, more = subject.cases, subject.more
        more_cases = [
            forecast(subject.amount(more, "more"), n + more, seconds),
            forecast("twice as many", 2 * n, seconds),
        ]
    if by_steps:
        more_time = [forecast("four times the time", subject.cases, _TIMES * seconds)]
    if scored is None:
        scored = Scored("validation", [
            replace(look, dice=float(np.mean(own)))
            for name, look in looks.items()
            if (own := [m.dice[name] for m in largest if name in m.dice])
        ])  # fmt: skip
    advice = Advice(
        subject, given, seconds, len(looks), list(trainings),
        forecast("", subject.cases, seconds), more_cases, more_time,
        failing_groups(scored.cases, volumes=subject.volumes), [],
    )  # fmt: skip
    longer = 0.5
    if by_cases and by_steps:
        points = at(subject.cases, _TIMES * seconds), at(subject.cases + subject.more, seconds)
        gains = [curve.gain_draws(point, now) for point in points]
        longer = float(np.mean(gains[0] > gains[1]))
    told = _sentences(advice, scored, longer)
    if left_out := len(everything) - len(trainings):
        told.insert(1, f"{amount(left_out, 'other')} did too few steps on a busy machine to count.")
    return replace(advice, sentences=told), curve


def in_full_time(trainings: Sequence[Measured]) -> list[Measured]:
    """Those that were given as much time as any."""
    return [m for m in trainings if m.seconds >= 0.99 * max(one.seconds for one in trainings)]


def usable(trainings: Sequence[Measured]) -> list[Measured]:
    """Those that did as many steps as a curve can use; other programs may have taken the time."""
    steps = float(np.median([m.steps for m in in_full_time(trainings)]))
    return [m for m in trainings if m.steps >= _FEWEST_STEPS * steps]


def steps_in(seconds: float, trainings: Sequence[Measured]) -> float:
    """The steps that a training does in a time, the first of which is not done at once."""
    full = in_full_time(trainings)
    given = max(m.seconds for m in full)
    # A busy machine may take nearly all the time, or more, for the first step alone.
    began = min(float(np.median([m.began for m in trainings])), 0.9 * given)
    steps = float(np.median([m.steps for m in full]))
    return steps * max(seconds - began, 0.01 * given) / (given - began)


def _errors(trainings: Sequence[Measured], looks: Mapping[str, ScoredCase]) -> NDArray[np.float64]:
    """[trainings, independent cases] 1 - Dice; NaN where there is none."""
    names = [name for name in looks if any(name in m.dice for m in trainings)]
    units: dict[str, list[str]] = {}
    for name, unit in zip(names, independent_units([looks[n] for n in names]), strict=True):
        units.setdefault(unit, []).append(name)
    table = np.full((len(trainings), len(units)), np.nan)
    for row, m in enumerate(trainings):
        for column, own in enumerate(units.values()):
            values = [m.dice[name] for name in own if name in m.dice]
            if values:
                table[row, column] = 1 - np.mean(values)
    return table


def _sentences(advice: Advice, scored: Scored, longer: float) -> list[str]:
    subject, now = advice.subject, advice.now
    counts = [m.cases for m in advice.trainings]
    time = format_duration(advice.measured_seconds)
    fewest = f"{min(counts)} to " if min(counts) < max(counts) else ""
    told = [
        f"{amount(len(counts), 'short training')} of up to {time} on {fewest}"
        f"{subject.amount(max(counts))} {'was' if len(counts) == 1 else 'were'} scored on "
        f"{subject.amount(advice.validation, 'validation')}."
    ]
    if not advice.is_curve:
        told.append(
            "A forecast for more cases or more time needs several trainings: give a longer --time."
        )
        return told + _of_groups(advice, scored)
    if advice.validation < _FEW:
        told.append("These are few: the intervals themselves are uncertain.")
    steps = max(m.steps for m in advice.trainings if m.cases == max(counts))
    if steps < _HARDLY_BEGUN:
        told.append(
            f"The longest on {subject.amount(max(counts))} did {amount(steps, 'step')}: what a "
            "training does so early says little of a longer one. Give a longer --time."
        )
    many = "all" if subject.cases > 1 else "the"
    own = "as the config says" if advice.seconds > advice.measured_seconds else "as these"
    told.append(
        f"A training on {many} {subject.amount(subject.cases)} for "
        f"{format_duration(advice.seconds)}, {own}, should reach a Dice of {_range(now.one)}."
    )
    if 60 * subject.minutes > advice.seconds:
        told.append(
            f"The config's own {format_duration(60 * subject.minutes)} are too far from these "
            "trainings for a forecast: give a longer --time."
        )
    told += _of_cases(advice)
    if advice.more_time:
        gain = advice.more_time[0].gain
        told.append(
            f"Four times the time ({format_duration(_TIMES * advice.seconds)}) would bring "
            f"{_gain(gain)}."
        )
    else:
        told.append(
            "A forecast for more time needs trainings of other lengths: give a longer --time."
        )
    if advice.more_cases and advice.more_time:
        told.append(_verdict(advice, longer))
    return told + _of_groups(advice, scored)


def _of_cases(advice: Advice) -> list[str]:
    if not advice.more_cases:
        return ["A forecast for more cases needs trainings on fewer cases: give a longer --time."]
    more, twice = advice.more_cases
    return [
        f"{_capital(more.what)} would bring {_gain(more.gain)}, twice as many "
        f"({advice.subject.amount(twice.cases)}) {_gain(twice.gain)}."
    ]


def _verdict(advice: Advice, longer: float) -> str:
    more = advice.more_cases[0]
    if max(more.gain.high, advice.more_time[0].gain.high) < _LITTLE:
        return "Neither would bring much: look at the masks and at the cases that fail."
    if longer >= _SURE:
        return f"More time would bring more than {more.what}."
    if longer <= 1 - _SURE:
        return f"{_capital(more.what)} would bring more than more time."
    return "These trainings do not tell which of the two would bring more."


def _of_groups(advice: Advice, scored: Scored) -> list[str]:
    if len(scored.cases) < FEWEST_CASES:
        return [
            f"{advice.subject.amount(len(scored.cases), scored.kind)} are too few to tell which "
            "kinds fail."
        ]
    if not advice.groups:
        return [
            f"Among {advice.subject.amount(len(scored.cases), scored.kind)}, no group (by size "
            "of objects or images, brightness, name) scores lower than chance explains."
        ]
    cases = "Volumes" if advice.subject.volumes else "Cases"
    return [
        f"{cases} {group.what} score lower: Dice {group.dice:.3f} in {group.cases}, "
        f"{group.dice_of_others:.3f} in the other "
        f"{advice.subject.amount(group.others, scored.kind)} (p {_p(group.p)})."
        for group in advice.groups
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _range(values: Range) -> str:
    return f"{values.median:.3f} (90 % interval {values.low:.3f} to {values.high:.3f})"


def _gain(values: Range) -> str:
    return f"{values.median:+.3f} ({values.low:+.3f} to {values.high:+.3f})"
