"""Everything that a report says, gathered into one structure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from flexseg import __version__
from flexseg.evaluation.json_values import Json, count, mapping, sequence
from flexseg.machine import typed
from flexseg.report.card import Trained, headline, model_card
from flexseg.report.doubts.quality_table import read_quality
from flexseg.report.doubts.suspicious_masks import read_suspicious
from flexseg.report.evaluated import choose_cases, find_failures, read_evaluation
from flexseg.report.next_steps import next_steps
from flexseg.report.repaired import read_repair
from flexseg.report.sources import Missing, ReportSource, advice_folder
from flexseg.report.structure import (
    AuditFinding,
    EpochStrip,
    Report,
    Setting,
    SplitFacts,
    TrainingFacts,
)
from flexseg.runs.folds import ALL_FOLDS
from flexseg.runs.given import ADVICE_FILE as ADVICE
from flexseg.runs.manifest import BestEpoch, Manifest, SplitRecord

_EPOCH_FILE = re.compile(r"Epoch_(\d+)_(.+)\.(?:png|jpe?g|bmp)$", re.IGNORECASE)
_STRIPS = 3

# Of which there is a curve.
_FEWEST_EPOCHS = 2


def gather(
    source: ReportSource,
    audit: Json | None = None,
) -> Report:
    """The content of a report. Parts that are not there are listed under `missing`.

    Parameters
    ----------
    audit : `CheckReport.as_dict()` of the data, for sizes, shares and findings; None: what the
        manifest of the training knows.
    """
    m = source.manifest
    evaluation = read_evaluation(source)
    scores = evaluation.scores if evaluation else []
    report = Report(
        title=source.title,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        flexseg_version=__version__,
        source=str(source.run_dir or source.evaluation),
        headline="",
        training=None if m is None else _training(m),
        curves=_curves(source),
        epoch_changes=_epoch_changes(source),
        data=_data(source, {} if m is None else m.data, audit),
        audited=audit is not None or (m is not None and m.audited),
        findings=_findings(
            (m.findings if m else ()) if audit is None else sequence(audit.get("findings"))
        ),
        evaluation=evaluation,
        repair=read_repair(source),
        advice=_advice(source),
        quality=read_quality(source, evaluation),
        review=read_suspicious(source),
        failures=find_failures(scores),
        shown_cases=choose_cases(scores),
        config=_config(source),
    )
    report.missing = source.missing
    trained = None
    if source.loaded is not None:
        e = source.loaded.experiment
        trained = Trained(e.model, e.image.window, e.dataset.group, e.image.patch_scale is not None)
    report.headline = headline(report, trained)
    if report.repair is not None and report.repair.comparison.verdict:
        report.headline += f" {report.repair.comparison.verdict}"
    report.card = model_card(report, trained)
    report.next_steps = next_steps(source, evaluation)
    return report


def _training(m: Manifest) -> TrainingFacts:
    best = m.best or BestEpoch()
    return TrainingFacts(
        status=m.status,
        started=m.started or "",
        seconds=m.seconds,
        epochs=m.epochs,
        best_epoch=None if best.epoch is None else best.epoch + 1,
        best_loss=best.loss,
        parameters=m.parameters,
        precision=m.precision or "",
        seed=m.seed,
        versions={k: str(v) for k, v in m.versions.items()},
        start="" if m.origin is None else m.origin.named,
    )


def _findings(known: Iterable[object]) -> list[AuditFinding]:
    """Findings of a check or manifest; what a program of another version wrote may lack parts."""
    keys = ("severity", "scope", "code", "where", "what", "fix")
    return [
        AuditFinding(
            **{key: str(entry.get(key) or "") for key in keys},
            items=list(map(str, sequence(entry.get("items")))),
        )
        for entry in map(mapping, known)
    ]


def _curves(source: ReportSource) -> dict[str, list[float | None]]:
    if source.run_dir is None:
        return {}
    if source.crossval:
        fold = typed(source.run_dir / "fold_0")
        why = f"each fold has a report of its own, e.g. flexseg report {fold}"
        source.missing.append(Missing("curves of the trainings", why))
        return {}
    found = {name: values for name, values in source.history(source.run_dir).items() if values}
    if found and max(map(len, found.values())) < _FEWEST_EPOCHS:
        why = "the training has only one epoch, which makes no curve"
        source.missing.append(Missing("curves of the training", why))
        return {}
    return found


def _advice(source: ReportSource) -> list[str]:
    """The sentences of `flexseg advise`; none where it was not asked for."""
    file = advice_folder(source) / ADVICE
    if source.run_dir is None or not file.is_file():
        return []
    content = mapping(source.json(file, "what more cases or time would bring"))
    return [str(sentence) for sentence in sequence(content.get("sentences"))]


def epoch_change_folder(source: ReportSource) -> Path | None:
    """Where the predictions after each epoch are; None without a training."""
    if source.run_dir is None:
        return None
    default = source.run_dir / "epoch_change_infer"
    if source.loaded is None:
        return default
    named = source.loaded.experiment.train.epoch_change_infer_dir
    # A run folder that was moved has its pictures still inside.
    return named if named.is_dir() else default


def _epoch_changes(source: ReportSource) -> list[EpochStrip]:
    """Per image the files of the first, middle and last epoch."""
    folder = epoch_change_folder(source)
    if folder is None or source.crossval:
        return []
    found: dict[str, dict[int, str]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _EPOCH_FILE.match(path.name):
            found.setdefault(match[2], {})[int(match[1])] = path.name
    if not found:
        why = f"there are no files Epoch_<n>_<image>.png in {folder}"
        source.missing.append(Missing("predictions during training", why))
    strips = []
    for image, files in list(found.items())[:_STRIPS]:
        epochs = sorted(files)
        chosen = sorted({epochs[0], epochs[len(epochs) // 2], epochs[-1]})
        strips.append(EpochStrip(image, {epoch: files[epoch] for epoch in chosen}))
    return strips


def _data(
    source: ReportSource, known: Mapping[str, SplitRecord], audit: Json | None
) -> list[SplitFacts]:
    """What the run was trained on, with what the audit sees there now if it is as many cases."""
    rows = map(mapping, sequence((audit or {}).get("splits")))
    seen = {str(row.get("split")): row for row in rows}
    # The cases of a cross-validation train, validate and are held out in turn: they are one part,
    # which its manifest has under "train".
    parts = {ALL_FOLDS: "train"} if source.crossval else {s: s for s in ("train", "valid", "test")}
    facts = []
    for split, name in parts.items():
        row, noted = mapping(seen.get(split)), known.get(name)
        if not row and not noted:
            continue
        if row and noted and row.get("cases") != noted.cases:
            why = f"there were {noted.cases} cases, but now there are {row.get('cases')}"
            part = split if split == ALL_FOLDS else f"the {split} split"
            source.missing.append(Missing(f"sizes and class shares of {part}", why))
            row = {}
        facts.append(
            SplitFacts(
                split,
                (noted.cases or 0) if noted else count(row.get("cases")),
                noted.groups if noted else count(row["groups"]) if "groups" in row else None,
                **{k: str(row.get(k) or "") for k in ("sizes", "images", "masks", "shares")},
                fingerprint=noted.fingerprint if noted else "",
            )
        )
    return facts


def _config(source: ReportSource) -> list[Setting]:
    """All values, section by section, what was set marked by where."""
    sections: Mapping[str, Mapping[str, object]] = {}
    set_by: Mapping[str, str] = {}
    if source.loaded is not None:
        sections, set_by = source.loaded.experiment.model_dump(mode="json"), source.loaded.sources
    elif source.manifest is not None:
        sections = source.manifest.config
    return [
        Setting(f"{section}.{key}", _text(value), set_by.get(f"{section}.{key}", ""))
        for section, values in sections.items()
        for key, value in values.items()
    ]


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(v) for v in value) if value else "none"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) + "}"
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
