"""What is told of short trainings, in words that fit the numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexseg.forecast.failing_groups import ScoredCase
from flexseg.forecast.statement import (
    Advice,
    Measured,
    Scored,
    Subject,
    make_advice,
    steps_in,
)

NAMES = [f"{i:02d}" for i in range(12)]
LOOKS = {name: ScoredCase(name, name, np.nan, {"cell": 100.0}, 4096, 90.0) for name in NAMES}
SUBJECT = Subject(cases=100, volumes=False, minutes=0, more=40)


def measured(cases: int, error: float, steps: int = 1000, seconds: float = 60.0) -> Measured:
    return Measured(cases, seconds, 10.0, steps, dict.fromkeys(NAMES, 1 - error))


def by_cases(exponent: float, times: int = 1) -> list[Measured]:
    """Trainings that only more cases make better."""
    found = [measured(n, 0.1 * (n / 100) ** -exponent) for n in (100, 50, 25, 12)]
    return [*found, measured(100, 0.1, 250, 22.5), measured(100, 0.1, 500, 35.0)] * times


def by_time(exponent: float) -> list[Measured]:
    """Trainings that only more steps make better."""
    times = [(1000, 60.0), (500, 35.0), (250, 22.5)]
    found = [measured(100, 0.1 * (s / 1000) ** -exponent, s, t) for s, t in times]
    return [*found, *(measured(n, 0.1) for n in (50, 25, 12))] * 2


def told(trainings: list[Measured], subject: Subject = SUBJECT) -> Advice:
    return make_advice(subject, trainings, LOOKS, None)[0]


def test_more_cases_or_more_time() -> None:
    cases = told(by_cases(0.6, times=2))
    assert "40 more cases would bring more than more time." in cases.sentences
    assert [f.cases for f in cases.more_cases] == [140, 200]
    assert cases.more_cases[0].gain.low > 0.004
    time = told(by_time(0.6))
    assert "More time would bring more than 40 more cases." in time.sentences
    assert time.more_time[0].seconds == 240 and time.more_time[0].gain.low > 0.02
    assert any("Four times the time (4m) would bring +0.0" in s for s in time.sentences)


def test_where_neither_brings_anything_that_is_told() -> None:
    flat = [replace(m, dice=dict.fromkeys(NAMES, 0.995)) for m in by_time(0.0)]
    assert any(s.startswith("Neither would bring much") for s in told(flat).sentences)


def test_forecasts_begin_with_the_time_of_the_config_if_it_is_near() -> None:
    near = told(by_time(0.5), replace(SUBJECT, minutes=5))
    assert near.seconds == 300 and near.more_time[0].seconds == 1200
    assert near.now.dice.median > told(by_time(0.5)).now.dice.median + 0.02
    assert any("for 5m, as the config says" in s for s in near.sentences)
    far = told(by_time(0.5), replace(SUBJECT, minutes=600))
    assert far.seconds == 60 and any("too far from these" in s for s in far.sentences)


def test_what_was_not_varied_is_not_told() -> None:
    advice = told([measured(100, 0.1), measured(100, 0.11)])
    assert not advice.more_cases and not advice.more_time
    assert advice.sentences[:2] == [
        "2 short trainings of up to 1m on 100 cases were scored on 12 validation cases.",
        "A forecast for more cases or more time needs several trainings: give a longer --time.",
    ]
    assert not any("should reach" in sentence for sentence in advice.sentences)
    only_cases = told([measured(100, 0.1), measured(50, 0.12)])
    assert sum("give a longer --time" in sentence for sentence in only_cases.sentences) == 1


def test_trainings_that_hardly_began_are_told() -> None:
    few = [replace(m, steps=max(1, m.steps // 100)) for m in by_time(0.5)]
    assert any("The longest on 100 cases did 10 steps" in s for s in told(few).sentences)
    assert not any("says little" in s for s in told(by_time(0.5)).sentences)


def test_words_for_volumes_and_groups() -> None:
    rng = np.random.default_rng(0)
    cases = [
        ScoredCase(str(i), str(i), float(0.9 - 0.3 * (i < 10) + rng.normal(0, 0.02)),
                   brightness=float(i), pixels=1.0)
        for i in range(30)
    ]  # fmt: skip
    subject = replace(SUBJECT, volumes=True)
    scored = Scored("out-of-fold", cases)
    advice, _ = make_advice(subject, by_cases(0.5), LOOKS, scored)
    text = " ".join(advice.sentences)
    assert "12 validation volumes" in text and "40 more volumes would bring" in text
    assert "Volumes with dark volumes (up to 9.67 on average) score lower: Dice 0.6" in text
    assert "in the other 20 out-of-fold volumes (p < 0.001)." in text


def test_advice_is_json(tmp_path: Path) -> None:
    advice = told(by_cases(0.5))
    advice.write(tmp_path)
    content = json.loads((tmp_path / "advice.json").read_text(encoding="utf-8"))
    assert content["trainings"][0]["dice"] == pytest.approx(0.9)
    assert content["now"]["cases"] == 100 and content["made_by"].endswith("advise")
    assert content["more_cases"][1]["what"] == "twice as many"


def test_steps_begin_after_the_first_one_was_made() -> None:
    trainings = by_time(0.5)  # 1000 steps in 60 s, of which 10 passed before
    assert [steps_in(t, trainings) for t in (60, 35, 110)] == [1000, 500, 2000]
    slow = [replace(m, began=70.0) for m in trainings]
    assert 0 < steps_in(60, slow) <= 1000 < steps_in(240, slow)
    assert steps_in(5, slow) > 0


def test_trainings_that_hardly_began_do_not_count() -> None:
    late = measured(100, 0.9, steps=3, seconds=22.5)
    advice = told([*by_time(0.5), late])
    assert late not in advice.trainings
    assert advice.sentences[1] == "1 other did too few steps on a busy machine to count."
    without = told(by_time(0.5))
    assert advice.more_time == without.more_time
    assert advice.sentences[2:] == without.sentences[1:]
