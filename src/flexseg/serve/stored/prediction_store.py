"""Predictions of cases: kept once, found again by the digest of pixels and model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from flexseg.files.display import shown_color
from flexseg.inference.results.prediction_table import counted
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.database import CaseRow, Database, JobRow, PredictionRow
from flexseg.serve.job_queue import JobQueue
from flexseg.serve.stored.case_files import CaseFiles
from flexseg.serve.uploads.case_facts import CaseFacts

if TYPE_CHECKING:
    from flexseg.inference.results.prediction import Prediction

# A job, and its case.
Waiting = tuple[JobRow, CaseRow]
# What is expected of a case that nothing is known of.
_UNKNOWN_DOUBT = 0.5


def file_of(key: str) -> str:
    """The label file of a prediction in the folder of its case."""
    return f"prediction_{key[:16]}.npy"


def measured(
    facts: CaseFacts, classes: list[dict[str, Any]], pixels: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Foreground classes with their pixels, and their area (mm²) or volume (ml) where pixels have a
    known size.

    Parameters
    ----------
    classes : id, name, color and quality.
    pixels : class id -> pixels.
    """
    size, unit = None, "px"
    if facts.kind == "volume":
        size, unit = facts.voxel_ml, "ml"
    elif facts.spacing is not None:
        size, unit = facts.spacing[0] * facts.spacing[1], "mm²"
    found = []
    for c in classes:
        count = int(pixels.get(c["id"], 0))
        area = None if size is None else round(count * size, 6)
        found.append({**c, "pixels": count, "area": area, "unit": unit})
    return found


class PredictionStore:
    """The predictions of all cases."""

    def __init__(
        self, database: Database, queue: JobQueue, files: CaseFiles, changes: ChangeEvents
    ) -> None:
        self._database, self._queue, self._files = database, queue, files
        self.changes = changes

    def reuse(self, waiting: Sequence[Waiting], version: str) -> list[Waiting]:
        """End jobs with equal predictions that are there already; those that are left."""
        keys = [_key(case, version) for _, case in waiting]
        with self._database.reading() as session:
            wanted = select(PredictionRow).where(PredictionRow.key.in_(keys))
            known = [*session.scalars(wanted)]
        left = []
        for (job, case), key in zip(waiting, keys, strict=True):
            equal = next((row for row in known if row.key == key and self._shares(case, row)), None)
            if equal is None:
                left.append((job, case))
                continue
            columns = ("flag", "foreign", "why_foreign", "classes")
            self._keep(job, case, version, {name: getattr(equal, name) for name in columns})
        return left

    def _shares(self, case: CaseRow, equal: PredictionRow) -> bool:
        """Take over the labels of an equal prediction; False if they are gone."""
        file = file_of(equal.key)
        return self._files.of(case.id).share_labels(file, self._files.of(equal.case_id).path / file)

    def add(self, job: JobRow, case: CaseRow, version: str, prediction: Prediction) -> None:
        """Keep a prediction, and end its job; nothing is kept of a case that is gone."""
        facts = CaseFacts.from_dict(case.facts)
        folder = self._files.of(case.id)
        if not folder.path.exists():
            return
        folder.write_labels(file_of(_key(case, version)), prediction.labels)
        judgement = prediction.judgement
        classes = []
        for c in prediction.label_map.foreground:
            q = judgement.quality.get(c.id)
            flag = judgement.flag_of(c.id)
            quality = q and {"dice": q.dice, "low": q.low, "high": q.high, "flag": flag}
            color = list(shown_color(c.colors[0], c.id))
            classes.append({"id": c.id, "name": c.name, "color": color, "quality": quality})
        values = {
            "flag": prediction.flag,
            "foreign": prediction.foreign if judgement.input.known else None,
            "why_foreign": list(prediction.why_foreign),
            "classes": measured(facts, classes, counted(prediction.labels)),
        }
        self._keep(job, case, version, values)

    def _keep(self, job: JobRow, case: CaseRow, version: str, values: dict[str, Any]) -> None:
        key = _key(case, version)
        with self._database.writing() as session:
            if not self._queue.end(session, job, "done", doubt=_doubt(values)):
                return
            # Of one version of a model one prediction is kept, which is the newest again. Another
            # model of the same content has its own.
            session.execute(
                delete(PredictionRow).where(
                    PredictionRow.case_id == case.id,
                    PredictionRow.model == job.model,
                    PredictionRow.key == key,
                )
            )
            session.add(
                PredictionRow(
                    case_id=case.id, model=job.model, version=version[:12], key=key, **values
                )
            )
        self.changes.tell(case=case.id, job=job.id)


def _key(case: CaseRow, version: str) -> str:
    return hashlib.sha256(f"{case.digest} {version}".encode()).hexdigest()


def _doubt(values: dict[str, Any]) -> float:
    """See `CaseRow.doubt`."""
    known = [c["quality"]["dice"] for c in values["classes"] if c["quality"] is not None]
    dice = [value for value in known if value is not None]
    doubt = 1 - min(dice) if dice else _UNKNOWN_DOUBT
    return max(doubt, _UNKNOWN_DOUBT) if values["foreign"] else doubt
