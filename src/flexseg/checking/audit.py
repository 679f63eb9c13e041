"""`flexseg check`: the config, then every file that it points to."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flexseg.augment.policy import policy_of, refuse_unscaled
from flexseg.checking.case_looks import looked_at
from flexseg.checking.costs import Costs, costs_of, room_findings, time_findings
from flexseg.checking.mirroring import mirror_findings
from flexseg.checking.rules import (
    fold_class_findings,
    infer_findings,
    network_findings,
    scale_findings,
    unknown_findings,
    unscored_findings,
)
from flexseg.checking.starting_point import start_case_findings, start_findings
from flexseg.config.findings import Finding, Severity
from flexseg.config.load import LoadedConfig, output_folders
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.grouping import unmatched_findings
from flexseg.dataset.division.splits import SPLITS
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import Look, read_cases
from flexseg.dataset.marks.judgement import mask_findings
from flexseg.dataset.quality.defects import file_findings, shows_classes, split_findings
from flexseg.dataset.quality.hash_file import HashFile
from flexseg.dataset.quality.leaks import fold_leak_findings, leak_findings
from flexseg.errors import ConfigError, DataError, FlexsegError, ResourceError
from flexseg.files.preprocess import Preprocessing
from flexseg.losses import get_loss, get_metric
from flexseg.models.build import check_architecture
from flexseg.outputs import try_outputs
from flexseg.runs.folds import ALL_FOLDS, Folds
from flexseg.training.callbacks.tensorboard import require_tensorboard
from flexseg.training.job import TrainingJob
from flexseg.training.supervision import wants_supervision


@dataclass
class CheckReport:
    """The result of `flexseg check`.

    Attributes
    ----------
    values : (section.key, effective value, source), first the keys that were set.
    splits : per split the facts for people.
    costs : of the training; None for a network of the user's own, and where the config is wrong.
    """

    loaded: LoadedConfig
    findings: list[Finding] = field(default_factory=list)
    values: list[tuple[str, str, str]] = field(default_factory=list)
    splits: list[dict[str, Any]] = field(default_factory=list)
    costs: Costs | None = None

    @property
    def exit_code(self) -> int:
        """0 it can run, 2 the config is wrong, 3 the data is wrong."""
        scopes = {f.scope for f in self.findings if f.severity is Severity.ERROR}
        return 2 if "config" in scopes else 3 if "data" in scopes else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        experiment = self.loaded.experiment.model_dump(mode="json")
        return {
            "ok": self.exit_code == 0,
            "exit_code": self.exit_code,
            "config": str(self.loaded.path),
            "findings": [f.as_dict() for f in self.findings],
            "values": {
                f"{section}.{key}": {"value": value, "from": self.loaded.source(section, key)}
                for section, content in experiment.items()
                for key, value in content.items()
            },
            "splits": self.splits,
            "costs": None if self.costs is None else self.costs.as_dict(),
        }


def audit(
    loaded: LoadedConfig,
    *,
    with_data: bool = True,
    on_case: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a loaded config, and with `with_data` every file that it points to.

    Parameters
    ----------
    on_case : called with (done, total) while files are read.
    """
    report = CheckReport(loaded, list(loaded.findings))
    for key, source in sorted(loaded.sources.items()):
        section, _, name = key.partition(".")
        value = getattr(getattr(loaded.experiment, section), name)
        report.values.append((key, _short(value), source))
    report.findings += _check_names(loaded)
    if not report.exit_code:
        report.findings += _output_findings(loaded)
        _check_costs(report)
        report.findings += start_findings(loaded)
    if report.exit_code == 0 and with_data:
        _check_data(loaded.experiment, report, on_case)
    elif report.exit_code == 0:
        labels = LabelMap.from_config(loaded.experiment.class_sections)
        report.findings += mirror_findings(loaded, labels, ())
    if report.costs is not None:
        report.findings += time_findings(report.costs, loaded)
    _worst_first(report.findings)
    return report


def audit_folds(
    loaded: LoadedConfig,
    division: Folds,
    on_case: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check every file of a cross-validation, each of which is read once.

    The findings tell of the config, of all cases, and of what crosses the boundary between the
    cases that a fold holds out and those that its network is trained on or chosen by.

    Parameters
    ----------
    on_case : called with (done, total) while files are read.
    """
    report = CheckReport(loaded, [*loaded.findings, *division.findings])
    labels = LabelMap.from_config(loaded.experiment.class_sections)
    hashes = HashFile()
    facts = _examined(loaded.experiment, division.cases, labels, hashes, on_case)
    known = {f.case.id: f for f in facts}
    held_out, trained = (
        {
            f"fold {k}": [known[case.id] for case in getattr(fold, part)]
            for k, fold in enumerate(division.folds)
        }
        for part in ("held_out", "train")
    )
    report.splits.append(_split_summary(ALL_FOLDS, facts, labels))
    report.findings += split_findings(ALL_FOLDS, facts, labels)
    report.findings += fold_class_findings(trained, labels)
    report.findings += mirror_findings(loaded, labels, division.cases)
    report.findings += _file_findings(report, facts, labels)
    named = _names_groups(report, division.cases)
    report.findings += fold_leak_findings(held_out, hashes, named=named)
    _worst_first(report.findings)
    return report


def _worst_first(findings: list[Finding]) -> None:
    order = list(Severity)
    findings.sort(key=lambda f: order.index(f.severity))


def _short(value: Any) -> str:
    if isinstance(value, list) and value and hasattr(value[0], "color"):
        return ", ".join(f"{c.id} {c.name or c.color}" for c in value)
    return str(value)


def _check_names(loaded: LoadedConfig) -> list[Finding]:
    """Model, sizes, losses, metrics and colours: what only their registries know."""
    e = loaded.experiment
    config = e.model
    findings = []

    def attempt(action: Callable[[], Any], where: str) -> None:
        try:
            action()
        except ConfigError as error:
            findings.append(Finding.of_error(error, "config", where))

    def check_model() -> None:
        if ":" in config.model:
            _check_custom(config.model, loaded.path.parent)
        else:
            check_architecture(config)
            wants_supervision(config.model, e.train.deep_supervision)

    attempt(check_model, f"{loaded.source('model', 'model')}, [model] model")
    ignoring = e.class_sections.ignores
    loss = partial(get_loss, config.loss, config.num_classes, ignoring=ignoring)
    attempt(loss, "[model] loss")
    for name in config.metrics:
        metric = partial(get_metric, name, config.num_classes, ignoring=ignoring)
        attempt(metric, "[model] metrics")
    attempt(lambda: Preprocessing.from_config(config, e.image, e.volume), "[image]")
    attempt(partial(LabelMap.from_config, e.class_sections), "[mask]")
    if not findings:
        findings += network_findings(loaded)
    if loaded.experiment.train.tensorboard:
        attempt(require_tensorboard, "[train] tensorboard")
    return findings


def _output_findings(loaded: LoadedConfig) -> list[Finding]:
    """Whether what the commands write can be written."""
    try:
        job = TrainingJob.from_config(loaded)
        try_outputs(job.files(), [*job.folders(), *output_folders(loaded.experiment).items()])
    except (ConfigError, ResourceError) as error:
        return [Finding.of_error(error, "config")]
    return []


def _check_costs(report: CheckReport) -> None:
    """Judge what the training would cost; that of a network of the user's own is not known."""
    if ":" in report.loaded.experiment.model.model:
        return
    try:
        report.costs = costs_of(report.loaded)
    except FlexsegError as error:
        report.findings.append(Finding.of_error(error, "config", "[model]"))
    else:
        report.findings += room_findings(report.costs, report.loaded)


def _check_custom(name: str, folder: Path) -> None:
    """Look for the module of a user's builder without running it."""
    module = name.partition(":")[0]
    beside = folder / f"{module.replace('.', '/')}.py"
    package = folder / module.replace(".", "/") / "__init__.py"
    try:
        found = importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        found = False
    if not (found or beside.exists() or package.exists()):
        raise ConfigError(
            f"There is no module {module!r}.",
            "Install it, or put it beside the config file or in a folder on PYTHONPATH.",
        )


def _check_data(
    experiment: Experiment, report: CheckReport, on_case: Callable[[int, int], None] | None
) -> None:
    try:
        splits = find_splits(experiment.data)
        report.findings += splits.findings
        if report.exit_code == 0:
            policy = policy_of(experiment.augmentation, experiment.trained_variants)
            size = (experiment.model.image_height, experiment.model.image_width)
            refuse_unscaled(policy, experiment.image, size, splits.need("train"))
    except DataError as error:
        report.findings.append(Finding.of_error(error, "data"))
        return
    except ConfigError as error:
        report.findings.append(Finding.of_error(error, "config"))
        return
    if report.costs is not None:
        counts = [len(splits.cases.get(s, ())) for s in ("train", "valid")]
        report.costs = replace(report.costs, cases=counts[0], validated=counts[1])
    labels = LabelMap.from_config(experiment.class_sections)
    cases = [case for split in SPLITS for case in splits.cases.get(split, ())]
    hashes = HashFile()
    rest = iter(_examined(experiment, cases, labels, hashes, on_case))
    facts: dict[str, list[Look]] = {
        split: [next(rest) for _ in splits.cases.get(split, ())] for split in SPLITS
    }
    if report.costs is not None:
        seen = Preprocessing.from_config(experiment.model, experiment.image, experiment.volume)
        trained, validated = ([f.size for f in facts[s] if f.size] for s in ("train", "valid"))
        report.costs = report.costs.of_images(trained, validated, seen)
    for split, found in facts.items():
        if found:
            report.splits.append(_split_summary(split, found, labels))
            report.findings += split_findings(
                split, found, labels, marked=split != "train" and shows_classes(facts["train"])
            )
    everything = [fact for found in facts.values() for fact in found]
    report.findings += mirror_findings(report.loaded, labels, splits.cases.get("train", ()))
    report.findings += _file_findings(report, everything, labels)
    valid, test = experiment.valid.images_dir, experiment.test.images_dir
    report.findings += leak_findings(
        facts,
        hashes,
        named=_names_groups(report, cases),
        one_folder=valid is not None and valid == test,
    )
    report.findings += unscored_findings(experiment.model.evaluation, splits)
    report.findings += infer_findings(experiment)
    report.findings += start_case_findings(report.loaded, splits)


def _names_groups(report: CheckReport, cases: Sequence[Case]) -> bool:
    """Whether the config's group finds anything, which the report tells if it does not."""
    group = report.loaded.experiment.dataset.group
    unmatched = unmatched_findings(group, [case.id for case in cases])
    report.findings += unmatched
    return group is not None and not unmatched


def _examined(
    experiment: Experiment,
    cases: Sequence[Case],
    labels: LabelMap,
    hashes: HashFile,
    on_case: Callable[[int, int], None] | None,
) -> list[Look]:
    """What reading each of some cases as training would tells; the file gets the images' hashes."""
    preprocessing = Preprocessing.from_config(
        experiment.model,
        experiment.image,
        experiment.volume,
        experiment.dataset.resize_interpolation,
    )

    return read_cases(cases, on_case, partial(looked_at, preprocessing, labels), hashes)


def _file_findings(report: CheckReport, facts: list[Look], labels: LabelMap) -> list[Finding]:
    """What is wrong or doubtful with single files, whatever they are used for."""
    experiment = report.loaded.experiment
    return [
        *file_findings(facts),
        *mask_findings(facts, labels),
        *scale_findings(facts, experiment),
        *unknown_findings(
            facts,
            labels,
            refused=experiment.mask.unknown_colors == "error",
            legacy=report.loaded.legacy,
        ),
    ]


def _split_summary(split: str, facts: list[Look], labels: LabelMap) -> dict[str, Any]:
    sizes = Counter(f.size for f in facts if f.size)
    pixels = np.sum([f.class_pixels for f in facts if f.class_pixels] or [(0,)], axis=0)
    total = max(int(np.sum(pixels)), 1)
    shares = [f"{c.name} {pixels[c.id] / total:.2%}" for c in labels.classes if c.id < len(pixels)]
    shown = [f"{w} x {h}" + (f" ({n})" if len(sizes) > 1 else "") for (h, w), n in
             sizes.most_common(3)]  # fmt: skip
    more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
    return {
        "split": split,
        "cases": len(facts),
        "groups": len({f.case.group for f in facts}),
        "sizes": ", ".join(shown) + more,
        "images": _counted(f.mode for f in facts),
        "masks": _counted(f.mask_mode for f in facts),
        "shares": ", ".join(shares),
    }


def _counted(values: Iterable[str]) -> str:
    counts = Counter(v for v in values if v)
    return ", ".join(f"{v} ({n})" if len(counts) > 1 else v for v, n in counts.most_common(4))
