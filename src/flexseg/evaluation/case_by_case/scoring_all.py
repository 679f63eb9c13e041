"""Scores of all cases, by threads of this process or by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from flexseg.dataset.cases import Case
from flexseg.dataset.parallel import run_parallel, together
from flexseg.errors import DataError
from flexseg.evaluation.case_by_case.scored_case import ScoredCase
from flexseg.execution.mapping import one_by_one
from flexseg.execution.shared import Kept, open_workers, remembered
from flexseg.execution.work_manifest import Manifest, key_of
from flexseg.files.channel_files.channel_names import channel_files, image_of


def kept_cases(
    is_written: Callable[[Case], bool] = lambda _: True, files: int = 1
) -> Kept[Case, ScoredCase]:
    """How a manifest keeps scored cases.

    Parameters
    ----------
    is_written : whether the prediction of a case is there, where it was written.
    files : that an image may consist of, one for each channel.
    """

    def sources(case: Case) -> Iterable[Path]:
        if files > 1 and image_of(case.image) is not None:
            return (*channel_files(case.image, files), *case.files[1:])
        return case.files

    return Kept(lambda case: case.id, sources, ScoredCase.as_json, ScoredCase.from_json, is_written)


def score_all(
    score: Callable[[Case], ScoredCase],
    cases: Sequence[Case],
    folder: Path | None,
    on_case: Callable[[int, int], None] | None,
    *,
    threads: int | None = None,
    most_errors: int,
) -> list[ScoredCase]:
    """Score cases that are independent of each other, in order.

    Parameters
    ----------
    score : it is pickled where workers do it; what it is made of is all that scores depend on.
    folder : where workers note what is done, so that the work can go on; None: nowhere.
    threads : cases in memory at once, at most, where this process scores.
    most_errors : that are told.

    Raises
    ------
    DataError : cases that cannot be scored.
    """
    workers = None if folder is None else open_workers()
    if folder is None or workers is None:
        return run_parallel(score, cases, threads, on_case, most_errors)
    with Manifest.opened(folder, key_of({"score": repr(score)})) as manifest:
        found = remembered(
            partial(one_by_one, score), cases, workers, manifest, kept_cases(), on_case
        )
    return without_errors(found, most_errors)


def without_errors(
    found: Iterable[ScoredCase | DataError | None], most_errors: int
) -> list[ScoredCase]:
    """The scores; errors are raised together."""
    results = [*found]
    failed = [one for one in results if isinstance(one, DataError)]
    if failed:
        raise together(failed[:most_errors], stopped=len(failed) > most_errors)
    return [one for one in results if isinstance(one, ScoredCase)]
