"""Checks of a config and of the data it points to, before any training."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flexseg.config.findings import Finding, Severity, examples
from flexseg.config.load import LoadedConfig
from flexseg.config.schema import Experiment
from flexseg.data.images import is_8bit, read_image, read_mask
from flexseg.data.labels import LabelMap
from flexseg.data.pairing import Case
from flexseg.data.preprocess import Preprocessing
from flexseg.data.splits import SPLITS, SplitName, find_splits
from flexseg.data.store import check_same_aspect
from flexseg.errors import ConfigError, DataError, FlexsegError

_TOP_UNKNOWN = 40
# A blend of two class colours at an edge is no class of its own; a colour that makes up
# this share of all mask pixels probably is.
_CLASS_SHARE = 0.001


@dataclass
class CaseFacts:
    """What reading one case told."""

    case: Case
    size: tuple[int, int] | None = None
    mode: str = ""
    mask_mode: str = ""
    digest: str = ""
    constant: bool = False
    lossy: bool = False
    class_pixels: tuple[int, ...] = ()
    unknown: dict[Any, int] = field(default_factory=dict)
    unknown_pixels: int = 0
    problems: list[FlexsegError] = field(default_factory=list)
    other_resolution: bool = False


@dataclass
class CheckReport:
    """The result of `flexseg check`.

    Attributes
    ----------
    values : (section.key, effective value, source), first the keys that were set.
    splits : per split the facts for people.
    """

    loaded: LoadedConfig
    findings: list[Finding] = field(default_factory=list)
    values: list[tuple[str, str, str]] = field(default_factory=list)
    splits: list[dict[str, Any]] = field(default_factory=list)

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
    if with_data and report.exit_code == 0:
        _check_data(loaded.experiment, report, on_case)
    order = list(Severity)
    report.findings.sort(key=lambda f: order.index(f.severity))
    return report


def _short(value: Any) -> str:
    if isinstance(value, list) and value and hasattr(value[0], "color"):
        return ", ".join(f"{c.id} {c.name or c.color}" for c in value)
    return str(value)


def _check_names(loaded: LoadedConfig) -> list[Finding]:
    """Model, sizes, losses, metrics and colours: what only their registries know."""
    from flexseg.backend import select

    select()
    from flexseg.losses import get_loss, get_metric
    from flexseg.models.build import check_size
    from flexseg.models.registry import MODELS

    config = loaded.experiment.model
    findings = []

    def attempt(action: Callable[[], Any], where: str) -> None:
        try:
            action()
        except ConfigError as error:
            findings.append(_finding(error, "config", where))

    def check_model() -> None:
        if ":" in config.model:
            _check_custom(config.model, loaded.path.parent)
            return
        check_size(config, MODELS.get(config.model).multiple(config))

    attempt(check_model, f"{loaded.source('model', 'model')}, [model] model")
    attempt(partial(get_loss, config.loss, config.num_classes), "[model] loss")
    for name in config.metrics:
        attempt(partial(get_metric, name, config.num_classes), "[model] metrics")
    attempt(partial(Preprocessing.from_experiment, loaded.experiment), "[image]")
    attempt(partial(LabelMap.from_experiment, loaded.experiment), "[mask]")
    return findings


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
            f"There is no module {module!r}.", "Install it, or put it beside the config file."
        )


def _finding(error: FlexsegError, scope: str, where: str = "") -> Finding:
    code = type(error).__name__.removesuffix("Error").lower()
    return Finding(Severity.ERROR, scope, code, error.where or where, error.problem, error.fix)


def _check_data(
    experiment: Experiment, report: CheckReport, on_case: Callable[[int, int], None] | None
) -> None:
    try:
        splits = find_splits(experiment)
        report.findings += splits.findings
        if report.exit_code == 0:
            splits.need("train")
    except DataError as error:
        report.findings.append(_finding(error, "data"))
        return
    except ConfigError as error:
        report.findings.append(_finding(error, "config"))
        return
    labels = LabelMap.from_experiment(experiment)
    preprocessing = Preprocessing.from_experiment(experiment)
    cases = [(split, case) for split in SPLITS for case in splits.cases.get(split, ())]
    facts: dict[SplitName, list[CaseFacts]] = defaultdict(list)
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda item: _examine(item[1], labels, preprocessing), cases)
        for done, ((split, _), fact) in enumerate(zip(cases, results, strict=True), start=1):
            facts[split].append(fact)
            if on_case is not None:
                on_case(done, len(cases))
    all_facts = [fact for split in SPLITS for fact in facts[split]]
    for split in SPLITS:
        if facts[split]:
            report.splits.append(_split_summary(split, facts[split], labels))
            report.findings += _split_findings(split, facts[split], labels)
    report.findings += _file_findings(all_facts)
    report.findings += _unknown_findings(all_facts, labels, experiment, report.loaded.legacy)
    report.findings += _leak_findings(experiment, facts)
    report.findings += _infer_findings(experiment)


def _examine(case: Case, labels: LabelMap, preprocessing: Preprocessing) -> CaseFacts:
    """Read one case as training would, and note everything about it."""
    facts = CaseFacts(case)
    try:
        image = read_image(case.image)
        facts.size = (image.shape[0], image.shape[1])
        facts.mode = f"{image.shape[2]} x {image.dtype}"
        facts.constant = bool(image.min() == image.max())
        content = str(image.shape).encode() + np.ascontiguousarray(image).tobytes()
        facts.digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        preprocessing.image(image[:2, :2], str(case.image))
    except FlexsegError as error:
        facts.problems.append(error)
    try:
        mask = read_mask(case.mask)
        facts.mask_mode = mask.mode
        facts.lossy = mask.lossy
        encoded = labels.encode(mask, str(case.mask))
        facts.class_pixels = tuple(
            np.bincount(encoded.labels.ravel(), minlength=len(labels.classes)).tolist()
        )
        facts.unknown_pixels = sum(encoded.unknown.values())
        facts.unknown = dict(Counter(encoded.unknown).most_common(_TOP_UNKNOWN))
        if facts.size is not None and encoded.labels.shape != facts.size:
            facts.other_resolution = True
            check_same_aspect(encoded.labels.shape, facts.size, case)
    except FlexsegError as error:
        facts.problems.append(error)
    return facts


def _split_summary(split: str, facts: list[CaseFacts], labels: LabelMap) -> dict[str, Any]:
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


def _data(
    severity: Severity, code: str, where: str, what: str, fix: str, items: list[str]
) -> Finding:
    return Finding(severity, "data", code, where, what, fix, tuple(items))


def _split_findings(split: str, facts: list[CaseFacts], labels: LabelMap) -> list[Finding]:
    findings = []
    read = [f for f in facts if f.class_pixels]
    empty = [f.case.id for f in read if sum(f.class_pixels[1:]) == 0]
    where = f"[{split}]"
    if read and len(empty) == len(read):
        findings.append(
            _data(
                Severity.ERROR,
                "all-masks-empty",
                where,
                f"All {len(read)} masks are empty (background only).",
                "The colours or values of the masks do not fit the classes; see below.",
                empty,
            )
        )
    elif empty:
        findings.append(
            _data(
                Severity.NOTE,
                "empty-masks",
                where,
                f"{len(empty)} of {len(read)} masks are empty: {examples(empty)}.",
                "",
                empty,
            )
        )
    for c in labels.foreground:
        if len(empty) < len(read) and not any(f.class_pixels[c.id] for f in read):
            findings.append(
                _data(
                    Severity.WARNING,
                    "class-absent",
                    where,
                    f"The class {c.id} ({c.name}) occurs in no mask of this split.",
                    "Check its colour in the map, or split the cases otherwise.",
                    [],
                )
            )
    return findings


def _file_findings(facts: list[CaseFacts]) -> list[Finding]:
    findings = [_finding(error, "data") for f in facts for error in f.problems]
    lossy = [f.case.mask.name for f in facts if f.lossy]
    if lossy:
        findings.append(
            _data(
                Severity.WARNING,
                "lossy-masks",
                "masks",
                f"{len(lossy)} masks are JPEG, which blurs the values at every edge: "
                f"{examples(lossy)}.",
                "They are read by threshold or nearest colour; PNG masks would be exact.",
                lossy,
            )
        )
    scaled = [f.case.id for f in facts if f.other_resolution and not f.problems]
    if scaled:
        findings.append(
            _data(
                Severity.WARNING,
                "mask-resolution",
                "masks",
                f"{len(scaled)} masks have another resolution than their image: "
                f"{examples(scaled)}.",
                "They are scaled by nearest neighbour; export them at the image's size.",
                scaled,
            )
        )
    constant = [f.case.image.name for f in facts if f.constant]
    if constant:
        findings.append(
            _data(
                Severity.WARNING,
                "constant-images",
                "images",
                f"{len(constant)} images are of one value only: {examples(constant)}.",
                "Look at them; such an image can teach nothing.",
                constant,
            )
        )
    wide = {is_8bit(f.case.image) for f in facts}
    if len(wide) == 2:
        findings.append(
            _data(
                Severity.WARNING,
                "mixed-depth",
                "images",
                "8-bit images and images of more bits are mixed.",
                "Set [image] window if their intensities mean different things.",
                [],
            )
        )
    return findings


def _unknown_findings(
    facts: list[CaseFacts], labels: LabelMap, experiment: Experiment, legacy: bool
) -> list[Finding]:
    unknown: Counter[Any] = Counter()
    for f in facts:
        unknown.update(f.unknown)
    pixels = sum(sum(f.class_pixels) for f in facts)
    outside = sum(f.unknown_pixels for f in facts)
    if not outside:
        return []
    files = sorted({str(f.case.mask) for f in facts if f.unknown_pixels})
    top = [f"{key} ({count / pixels:.3%})" for key, count in unknown.most_common(6)]
    large = [key for key, count in unknown.most_common() if count / pixels >= _CLASS_SHARE]
    refused = experiment.mask.unknown_colors == "error"
    severity = Severity.ERROR if refused else Severity.WARNING if large else Severity.NOTE
    treatment = "are refused" if refused else "take the nearest class"
    what = (
        f"{outside / pixels:.3%} of the mask pixels, in {len(files)} files, have a colour or value "
        f"that is in no class and {treatment}: {', '.join(top)}"
        f"{' ...' if len(unknown) > 6 else ''}."
    )
    if large:
        fix = f"Proposed map: {_proposed_map(labels, large, _known_values(labels, facts), legacy)}"
    elif refused:
        fix = "These look like blended edges: set [mask] unknown_colors = 'nearest'."
    else:
        fix = ""
    return [_data(severity, "unknown-colors", "masks", what, fix, files)]


def _known_values(labels: LabelMap, facts: list[CaseFacts]) -> dict[int, int]:
    """Foreground value -> class id, as far as the masks are already understood."""
    given = {v: c.id for c in labels.foreground for v in c.values}
    foreground = sum(sum(f.class_pixels[1:]) for f in facts)
    # More foreground than unknown pixels: some masks hold the ids themselves as values.
    if not given and not labels.explicit and foreground > sum(f.unknown_pixels for f in facts):
        return {c.id: c.id for c in labels.foreground}
    return given


def _proposed_map(labels: LabelMap, found: list[Any], known: dict[int, int], legacy: bool) -> str:
    """A map with all that was found, in the syntax of the config at hand."""
    if all(isinstance(v, int | float) for v in found):
        ids = dict(known)
        for v in sorted({int(v) for v in found} - {0, *known}):
            ids[v] = max(ids.values(), default=0) + 1
        arrows = ", ".join(f"{v} -> {i}" for v, i in ids.items())
        count = max(ids.values(), default=0) + 1
        if legacy:
            grays = ", ".join(f"({v},{v},{v}): {i}" for v, i in {0: 0, **ids}.items())
            return f"{arrows}; rgb_map = {{{grays}}}, num_classes = {count}."
        tables = " ".join(
            f"[[mask.classes]] id = {i}, color = [{v % 256}, {v % 256}, {v % 256}], values = [{v}];"
            for v, i in ids.items()
        )
        return f"{arrows}; in the config: {tables} num_classes = {count}."
    colors = [c.colors[0] for c in labels.classes] if labels.explicit else [(0, 0, 0)]
    as_colors = [v if isinstance(v, tuple) else (int(v),) * 3 for v in found]
    entries = list(dict.fromkeys([*colors, *as_colors]))
    if legacy:
        body = ", ".join(f"({r},{g},{b}): {i}" for i, (r, g, b) in enumerate(entries))
        return f"rgb_map = {{{body}}}, num_classes = {len(entries)}."
    body = " ".join(
        f"[[mask.classes]] id = {i}, color = {list(rgb)};" for i, rgb in enumerate(entries)
    )
    return f"{body} num_classes = {len(entries)}."


def _leak_findings(
    experiment: Experiment, facts: dict[SplitName, list[CaseFacts]]
) -> list[Finding]:
    findings = []
    valid, test = experiment.valid.images_dir, experiment.test.images_dir
    same_folder = valid is not None and valid == test
    if same_folder:
        findings.append(
            _data(
                Severity.WARNING,
                "validation-is-test",
                "[valid] and [test]",
                "The validation set is the test set: the best epoch is chosen on the images that "
                "it is then scored on, so the score is too good.",
                "Take validation images from the training set.",
                [],
            )
        )
    where_seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    groups: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for f in facts[split]:
            groups[f.case.group].add(split)
            if f.digest:
                where_seen[f.digest][split].append(f.case.id)
    across, within = [], []
    for seen in where_seen.values():
        names = [f"{split} {name}" for split, ids in seen.items() for name in ids]
        hidden = same_folder and set(seen) == {"valid", "test"}
        if len(seen) > 1 and not hidden:
            across.append(" = ".join(names))
        elif any(len(ids) > 1 for ids in seen.values()):
            within.append(" = ".join(names))
    if across:
        findings.append(
            _data(
                Severity.WARNING,
                "duplicates-across-splits",
                "splits",
                f"{len(across)} images are in more than one split, pixel for pixel: "
                f"{examples(across)}.",
                "Keep each of them in one split only; a score on seen images is no score.",
                across,
            )
        )
    if within:
        findings.append(
            _data(
                Severity.NOTE,
                "duplicates",
                "splits",
                f"{len(within)} images occur twice within a split: {examples(within)}.",
                "",
                within,
            )
        )
    shared = sorted(g for g, names in groups.items() if len(names) > 1)
    if shared and experiment.dataset.group and not same_folder:
        findings.append(
            _data(
                Severity.WARNING,
                "groups-across-splits",
                "splits",
                f"{len(shared)} groups (patients, volumes) have cases in more than one split: "
                f"{examples(shared)}.",
                "Split by group: cases of one patient resemble each other.",
                shared,
            )
        )
    return findings


def _infer_findings(experiment: Experiment) -> list[Finding]:
    source = experiment.infer.images_dir
    if source is None or source.exists():
        return []
    return [
        _data(
            Severity.WARNING,
            "no-infer-images",
            "[infer] images_dir",
            f"{source} does not exist: no predictions at epoch changes, nothing to infer.",
            "Create it, or give `flexseg infer --input PATH`.",
            [],
        )
    ]
