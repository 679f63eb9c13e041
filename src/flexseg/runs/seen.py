"""The rule for cases that a model has seen in its training: they are no test of it.

A package holds hashes of the images that it was trained on and chosen by, so that it knows them
wherever it lies and whatever they are called now. Packages of earlier versions hold none; of these
the manifest of the run, or the list of its folds, tells names.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from flexseg.config.findings import examples, some_of
from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SplitName
from flexseg.errors import DataError
from flexseg.files.images import read_image
from flexseg.inference.ensemble import seen_by
from flexseg.inference.model_files import is_ensemble
from flexseg.model_file.seen_images import image_digest
from flexseg.runs.folds import read_folds
from flexseg.runs.manifest import Manifest

logger = logging.getLogger(__name__)

POOLED_SCORES = (
    "the pooled scores of a cross-validation's folds are in the run's evaluation folder."
)


def refuse_seen_cases(
    cases: Sequence[Case], split: SplitName, model: Path, run_dir: Path, *, one_folder: bool
) -> None:
    """Refuse to score a model on a split that it cannot be scored on.

    Test cases must be new to it. Validation cases may have chosen its weights; that it was trained
    on them is refused of an ensemble, and a warning of a single network, of which the training
    cases may be scored too.

    Parameters
    ----------
    model : a package, or an ensemble.
    run_dir : folder of its run, which may not exist.
    one_folder : a single folder holds all splits, in which a name stands for one image.

    Raises
    ------
    DataError : there are such cases, or a file is damaged.
    """
    if split == "test":
        if one_folder:
            refuse_changed_split(cases, split, run_dir)
        _refuse_seen_tests(cases, model, run_dir)
        return
    if is_ensemble(model):
        if trained_on(cases, model):
            raise DataError(
                f"The members of the ensemble were trained on cases of the {split} split.",
                f"Evaluate it on the test split; {POOLED_SCORES}",
                "[model] evaluation",
            )
    elif split == "valid":
        warn_of_trained_cases(cases, model)


def trained_on(cases: Sequence[Case], model: Path) -> bool:
    """Whether a model was trained on some cases, or may have been: it does not know.

    Raises
    ------
    DataError : a file is damaged.
    """
    seen = seen_by(model)
    return not seen.all or bool(_ids_in(cases, seen.trained))


def warn_of_trained_cases(cases: Sequence[Case], model: Path) -> None:
    """Warn of validation cases that a single network was trained on."""
    if ids := _ids_in(cases, seen_by(model).trained):
        logger.warning(
            "The model was trained on %d of the %d validation cases (%s): their scores are too "
            "good.",
            len(ids),
            len(cases),
            examples(ids),
        )


def refuse_changed_split(cases: Sequence[Case], split: SplitName, run_dir: Path) -> None:
    """Where one folder holds all splits, another seed or new files may divide it otherwise.

    Raises
    ------
    DataError : cases were in another split of the run, or its manifest is damaged.
    """
    manifest = Manifest.find(run_dir)
    if manifest is None:
        return
    for other, record in manifest.data.items():
        known = set(record.ids) if other != split else set()
        if ids := [case.id for case in cases if case.id in known]:
            raise DataError(
                f"{some_of(len(ids), len(cases), f'{split} case', 'was', 'were')} in the {other} "
                f"set of this run, e.g. {ids[0]}: the split has changed since.",
                "Use the same train.seed and files as in training, or train again.",
                str(manifest.path),
            )


def refuse_seen_tests(cases: Sequence[Case], seen: Collection[bytes]) -> None:
    """Refuse test cases whose images are among those that are known by their hashes.

    Raises
    ------
    DataError : there are such cases.
    """
    if ids := _ids_in(cases, seen):
        raise _seen_error(ids, len(cases))


def _refuse_seen_tests(cases: Sequence[Case], model: Path, run_dir: Path) -> None:
    """By content; names of folds tell nothing of a folder that counts from 1 like another one, but
    are all there is where the ensemble has no hashes."""
    seen = seen_by(model).all
    refuse_seen_tests(cases, seen)
    held_out = {i for fold in read_folds(run_dir) or () for i in fold.held_out}
    named = sorted({case.id for case in cases} & held_out) if is_ensemble(model) else []
    if named and not seen:
        raise _seen_error(named, len(cases))
    if named:
        logger.warning(
            "Test cases have the names of cases that members of the ensemble were trained on, "
            "but are other files (%d): %s. Make sure that they are not the same images.",
            len(named),
            examples(named),
        )


def _seen_error(ids: Sequence[str], count: int) -> DataError:
    return DataError(
        f"{some_of(len(ids), count, 'test case', 'was', 'were')} seen in the training of the "
        f"model, e.g. {ids[0]}.",
        f"Give test cases that took no part in it; {POOLED_SCORES}",
        "[test] images_dir",
    )


def _ids_in(cases: Sequence[Case], digests: Collection[bytes]) -> list[str]:
    """The cases whose images have these hashes; those of a single colour are equal by chance."""
    if not digests:
        return []
    return [
        case.id
        for case in cases
        if image_digest(case.image) in digests and not _of_one_colour(case.image)
    ]


def _of_one_colour(image: Path) -> bool:
    pixels = read_image(image)
    return bool((pixels == pixels[0, 0]).all())
