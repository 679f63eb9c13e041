"""The model card: what the network is, what it was tested on, and the limits of its use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flexseg.config.findings import amount, some_of
from flexseg.config.schema import ModelConfig
from flexseg.evaluation.aggregate import HARDLY_ANYTHING, SMALL_SAMPLE, Statistic, classes_with_few
from flexseg.evaluation.summary import PredictionSettings
from flexseg.report.structure import CardSection, Evaluation, Report
from flexseg.runs.folds import ALL_FOLDS

_POOR_CALIBRATION = 0.05
_WIDE = 0.1
_SPLITS = {"valid": "validation", "train": "training"}
_LEAKS = (
    "groups-across-splits",
    "siblings-across-splits",
    "duplicates-across-splits",
    "near-duplicates-across-splits",
    "augmented-cases",
    "validation-is-test",
)


@dataclass(frozen=True)
class Trained:
    """What the config of a training says to readers.

    Attributes
    ----------
    window : intensities that images are read in; None: all.
    group : what tells the patient of a case; None: nothing.
    patches : the network sees patches of images, not whole ones.
    """

    model: ModelConfig
    window: tuple[float, float] | None
    group: str | None
    patches: bool = False


def headline(report: Report, trained: Trained | None) -> str:
    """The result in one or two sentences."""
    e = report.evaluation
    if e is None:
        status = f" Its training is {report.training.status}." if report.training else ""
        return f"This network has not been evaluated yet.{status}"
    dice = e.macro.get("dice")
    if dice is None or dice.mean is None:
        return f"{_count(e.cases, 'case')} scored, but no class is in any reference."
    tested = sum("dice" in c.statistics for c in e.classes)
    of = f"{tested} of {len(e.classes)}" if tested < len(e.classes) else str(tested)
    what = f"the mean Dice of {of} classes" if len(e.classes) > 1 else "the mean Dice"
    text = f"On {_sample(e)}, {what} is {_with_interval(dice)}."
    missed, invented = (
        sum(getattr(c, key) for c in e.classes) for key in ("missed", "false_positive")
    )
    if missed:
        text += f" A class was missed altogether {_times(missed)}."
    if invented:
        text += f" A class was marked {_times(invented)} where it is absent."
    if dice.mean < HARDLY_ANYTHING:
        text += f" {_why_so_low(e)}"
    elif not missed and not invented and all(v.grade == "good" for v in e.verdicts):
        absent = any(c.cases_with_empty_reference for c in e.classes)
        text += " No class was missed altogether"
        text += ", and none marked where it is absent." if absent else "."
    if report.quality is not None and report.quality.unlike:
        q = report.quality
        differing = some_of(q.foreign, q.checked, "input", "differs", "differ")
        text += f" {differing} from the training images."
    if e.out_of_fold:
        text += " Each was scored by a fold's network that had not seen it."
    elif trained is not None and report.training and trained.model.evaluation != "test":
        text += f" These are {trained.model.evaluation} cases, not test cases."
    return text


def _why_so_low(e: Evaluation) -> str:
    if e.inference is None:
        return "These masks hardly agree with their references: check that they belong together."
    return "This network has hardly learned anything: it needs more training, or other data."


def model_card(report: Report, trained: Trained | None) -> list[CardSection]:
    """The model card's sections; statements that nothing is known for are left out."""
    sections = [
        CardSection("What it is", _identity(report, trained)),
        CardSection("Trained on", _training_data(report)),
        CardSection("Tested on", _test_data(report, trained)),
        CardSection("Meant for", _use(report, trained)),
        CardSection("Limits", _limits(report, trained)),
    ]
    return [section for section in sections if section.points]


def _identity(report: Report, trained: Trained | None) -> list[str]:
    t, points = report.training, []
    if t is None:
        points.append("Masks of unknown origin: this report scores them, but knows no network.")
    elif trained is not None:
        m = trained.model
        size = f"{m.image_width} \N{MULTIPLICATION SIGN} {m.image_height}"
        parameters = f", {t.parameters:,} parameters" if t.parameters else ""
        kind = "patches" if trained.patches else "images"
        points.append(
            f"{m.model}{parameters}, sees {kind} of {size} pixels with "
            f"{amount(m.image_channels, 'channel')}; trained by {m.optimizer} on "
            f"{m.loss}, seed {t.seed}."
        )
    if t is not None:
        length = f" in {_duration(t.seconds)}" if t.seconds else ""
        best = f", best epoch {t.best_epoch}" if t.best_epoch else ""
        if t.epochs:
            points.append(f"{t.epochs} epochs{length}{best}; {t.precision}.")
        if t.status != "finished":
            points.append(f"The training is {t.status}: the weights are those of the best epoch.")
        if t.start:
            points.append(f"It began with {t.start}.")
        if t.versions:
            points.append(", ".join(f"{name} {value}" for name, value in t.versions.items()) + ".")
    if e := report.evaluation:
        verb = "Marks" if t is not None else "Scored classes:"
        names = ", ".join(c.name for c in e.classes)
        points.append(f"{verb} {names}; the rest is background.")
    return points


def _training_data(report: Report) -> list[str]:
    points = []
    for facts in report.data:
        if facts.split == "test":
            continue
        purpose = {"train": "training", "valid": "validation"}.get(facts.split, facts.split)
        groups = f" of {_count(facts.groups, 'group')}" if facts.groups else ""
        points.append(f"{_count(facts.cases, 'case')}{groups} for {purpose}.")
        if facts.split == ALL_FOLDS:
            points.append(
                "Each is held out in one fold, and used for training or validation in the others."
            )
        if facts.sizes:
            points.append(f"Sizes for {purpose}: {facts.sizes}.")
    return points


def _test_data(report: Report, trained: Trained | None) -> list[str]:
    e = report.evaluation
    if e is None:
        return ["Nothing yet."]
    split = f" ({trained.model.evaluation} split)" if trained and report.training else ""
    if e.out_of_fold:
        split = ", each by a fold's network that had not seen it"
    points = [f"{_sample(e)}{split}, scored at the images' own size."]
    if e.out_of_fold:
        points.append(
            "The scores are those of the folds' networks. Only cases that took no part can tell "
            "how good their ensemble is."
        )
    points += [
        f"{c.name}: in the reference of {_count(c.cases_with_reference, 'case')}, absent from "
        f"{c.cases_with_empty_reference}."
        for c in e.classes
    ]
    return points + (_prediction(e.inference) if e.inference else [])


def _prediction(inference: PredictionSettings) -> list[str]:
    """What was done with the network's probabilities, and what it was chosen by."""
    views, threshold = inference.get("tta") or (), inference.get("threshold")
    steps = inference.get("postprocess") or {}
    done = [f"the mean over {len(views) + 1} views"] if views else []
    done += [f"marked from a probability of {threshold:g} on"] if threshold is not None else []
    done += [f"postprocessed ({_steps(steps)})"] if steps else []
    if not done:
        return []
    chosen = inference.get("chosen_on") or {}
    split = str(chosen.get("split"))
    cases = _count(int(chosen.get("cases", 0)), "case")
    by = f", as chosen on {cases} ({_SPLITS.get(split, split)})" if chosen else ""
    return [f"Predictions are {', '.join(done)}{by}."]


def _steps(steps: Mapping[str, Mapping[str, Mapping[str, bool | int]]]) -> str:
    """The steps of `[postprocess]` by class; those of slices and volumes as one."""
    by_class: dict[str, dict[str, bool | int]] = {}
    for own in steps.values():
        for name, taken in own.items():
            by_class.setdefault(name, {}).update(taken)
    return "; ".join(
        f"{name}: "
        + ", ".join(key if value is True else f"{key} {value}" for key, value in taken.items())
        for name, taken in by_class.items()
    )


def _use(report: Report, trained: Trained | None) -> list[str]:
    points = ["Research, and drafts of masks that a qualified person checks one by one."]
    if report.training is not None:
        points.append("Images of the same kind, device and preparation as those it was trained on.")
    if trained is not None and trained.window is not None:
        low, high = trained.window
        points.append(f"Intensities are read in the window from {low:g} to {high:g}.")
    return points


def _limits(report: Report, trained: Trained | None) -> list[str]:
    points = [
        "This is not a medical device. It has not been validated for diagnosis, treatment or "
        "triage."
    ]
    if report.training is not None:
        points.append(
            "Other scanners, stains, hospitals and patient groups were not tested unless the test "
            "cases come from there; expect lower scores, and measure them."
        )
    e = report.evaluation
    if e is None:
        points.append(
            "Nothing is known about its errors: evaluate it on cases that it has not seen."
        )
        return points
    few = {c.name: c.groups_with_reference for c in e.classes}
    if named := classes_with_few(few, SMALL_SAMPLE):
        points.append(
            f"Tested on few independent groups, by class: {named}. Rare failures may not have "
            "shown, and the intervals are too narrow."
        )
    if trained is not None and trained.group is None and e.groups == e.cases:
        points.append(
            "Each image counts as a patient of its own. If several are of one patient, the "
            "intervals are too narrow and the split may leak; set [dataset] group."
        )
    for c in e.classes:
        if c.missed:
            share = c.missed / max(c.cases_with_reference, 1)
            points.append(
                f"{c.name} is missed altogether in {c.missed} of "
                f"{_count(c.cases_with_reference, 'case')} ({share:.0%}): an empty result does "
                "not prove absence."
            )
        if c.false_positive:
            points.append(
                f"{c.name} is marked in {c.false_positive} of "
                f"{_count(c.cases_with_empty_reference, 'case')} without it."
            )
        elif not c.cases_with_empty_reference:
            points.append(
                f"Every test case contains {c.name}: how often it is marked where it is absent "
                "is not known."
            )
        points += _weak_sizes(c.name, e, c.id)
        ci = c.statistics.get("dice", Statistic()).ci95
        if ci and ci[1] - ci[0] > _WIDE:
            points.append(f"The mean Dice of {c.name} is uncertain: {ci[0]:.2f} to {ci[1]:.2f}.")
    if report.training is not None:
        points.append(_calibration(e))
    leaks = [f for f in report.findings if f.code in _LEAKS]
    parts = "folds" if e.out_of_fold else "splits"
    if leaks:
        points.append(
            f"Images of different {parts} are, or look like, copies of each other (see the "
            "findings): the scores may be better than on new patients."
        )
    elif not report.audited and report.training is not None:
        points.append(f"The data were not audited for leaks between the {parts} for this report.")
    return points


def _weak_sizes(name: str, e: Evaluation, class_id: int) -> list[str]:
    lesions = next((c.lesions for c in e.classes if c.id == class_id), None)
    for b in lesions.by_size if lesions else ():
        if b.reference >= 5 and b.found / b.reference < 0.5:
            up_to = f"{b.from_px} to {b.to_px}" if b.to_px else f"at least {b.from_px}"
            return [
                f"{name}: of objects of {up_to} {e.elements}, only {b.found} of {b.reference} are "
                "found."
            ]
    return []


def _calibration(e: Evaluation) -> str:
    ece = e.calibration.ece if e.calibration else None
    if ece is None:
        return "Its probabilities were not checked: do not read them as confidence."
    if ece > _POOR_CALIBRATION:
        return f"Its probabilities are off by {ece:.0%} on average: do not read them as confidence."
    return (
        f"Its probabilities are off by {ece:.1%} on average over all pixels; most are "
        "easy, so be careful near outlines."
    )


def _sample(e: Evaluation) -> str:
    cases = _count(e.cases, "case")
    return cases if e.groups == e.cases else f"{cases} of {_count(e.groups, 'group')}"


def _with_interval(statistic: Statistic) -> str:
    text = f"{statistic.mean:.3f}"
    if statistic.ci95:
        low, high = statistic.ci95
        text += f" (95 % interval {low:.3f} to {high:.3f})"
    return text


def _count(n: int | None, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
