"""What programs are told while something happens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from flexseg import events
from flexseg.events import ProgressEvents, emit, listening

ROOT = Path(__file__).parents[1]
Told = list[tuple[str, dict[str, object]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return []


def keeping(told: Told) -> events.Listener:
    def listener(event: str, values: Mapping[str, object]) -> None:
        told.append((event, dict(values)))

    return listener


def test_who_listens_is_told_within_the_block_only(told: Told) -> None:
    emit("stage", text="before")
    with listening(keeping(told)):
        emit("stage", text="within")
    emit("stage", text="after")
    assert told == [("stage", {"text": "within"})]


def test_progress_is_told_once_a_second_and_at_the_end(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(events.time, "monotonic", lambda: now)
    progress = ProgressEvents("Predicting")
    with listening(keeping(told)):
        for done in range(1, 31):
            now += 0.25
            progress.tell(done, 30)
    told_of = [values["done"] for _, values in told]
    assert told_of[-1] == 30 and told_of == [1, *range(5, 30, 4), 30]
    assert told[-1][1] == {"what": "Predicting", "done": 30, "total": 30, "seconds": 7.5}


def test_the_page_describes_every_event() -> None:
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r'\bemit\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    page = (ROOT / "docs/reference/events.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|\n]+\|[^|\n]+\|$", page, flags=re.MULTILINE)
    assert named == set(rows)
