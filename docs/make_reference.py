"""Write docs/reference/*.md from the schema and the registries: python docs/make_reference.py"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from flexseg.backend import select

FOLDER = Path(__file__).parent / "reference"


def config_reference() -> str:
    """All sections and keys with type, default and description."""
    from flexseg.config import Experiment

    lines = [
        "# Config reference",
        "",
        "Made from the schema by `python docs/make_reference.py`. Old configs use the same names; "
        "where the original systems have another default, `flexseg check` shows it.",
    ]
    for name, field in Experiment.model_fields.items():
        section = field.annotation
        lines += ["", f"## [{name}]", "", section.__doc__.strip().splitlines()[0], ""]
        if name == "model":
            lines += [
                "Each network also has [options of its own](models.md).",
                "",
            ]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        for key, option in section.model_fields.items():
            default = getattr(getattr(Experiment(), name), key)
            shown = f"`{default}`" if str(default) else '`""`'
            lines.append(
                f"| `{key}` | {shown.replace('|', chr(92) + '|')} | {option.description} |"
            )
    lines += ["", "## [[mask.classes]]", "", "| key | meaning |", "|---|---|"]
    from flexseg.config.schema import ClassConfig

    for key, option in ClassConfig.model_fields.items():
        lines.append(f"| `{key}` | {option.description} |")
    return "\n".join(lines) + "\n"


def score_reference() -> str:
    """All losses and metrics with their formulas."""
    from flexseg.losses import LOSSES, METRICS

    lines = [
        "# Losses and metrics",
        "",
        "`y` is the target (one-hot, or 0/1 for one class), `p` the predicted probability. Made "
        "from the docstrings by `python docs/make_reference.py`. These are the values that "
        "training shows; what `evaluate` reports is defined in [metrics](metrics.md): Dice = "
        "2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN), precision = TP / (TP + FP), recall = "
        "TP / (TP + FN), per case and class on hard labels at native resolution (Metrics "
        "Reloaded, Nature Methods 2024).",
    ]
    for title, registry in (("Losses", LOSSES), ("Metrics", METRICS)):
        lines += ["", f"## {title}", "", "| name | for | formula |", "|---|---|---|"]
        for name in sorted(registry):
            score = registry.get(name)
            text = " ".join((score.formula.__doc__ or "").split()).replace("|", "\\|")
            lines.append(f"| `{name}` | {score.head} | {text} |")
    return "\n".join(lines) + "\n"


def metric_reference() -> str:
    """The page of metrics with its tables made anew; the text around them stays."""
    text = (FOLDER / "metrics.md").read_text(encoding="utf-8")
    return re.sub(
        r"(<!-- metrics of (\w+) -->\n\n)(?:\|.*\n)*",
        lambda found: found[1] + "".join(f"{line}\n" for line in _metric_table(found[2])),
        text,
    )


def _metric_table(family: str) -> Iterator[str]:
    from flexseg.evaluation.metrics.metric import all_metrics

    yield "| name | formula | unit | better | missed | false positive | absent |"
    yield "|---|---|---|---|---|---|---|"
    for metric in all_metrics():
        if metric.family == family:
            unit = {"share": "0 to 1", "distance": "`units`", "signed share": "-1 and up"}
            missed = _where_empty(metric.missed)
            if metric.missed_in_mean is not None:
                missed += f", {metric.missed_in_mean:g} in means"
            cells = (
                f"`{metric.name}` ({metric.label_of(volumes=False)})",
                metric.formula,
                unit[metric.unit],
                metric.better,
                missed,
                _where_empty(metric.false_positive),
                _where_empty(metric.absent),
            )
            yield f"| {' | '.join(cells)} |"


def _where_empty(value: float | str | None) -> str:
    """What a metric is where a mask is empty."""
    if value is None:
        return "by formula"
    if isinstance(value, str):
        return value
    return "undefined" if math.isnan(value) else f"{value:g}"


def model_reference() -> str:
    """All networks with their source and options."""
    from flexseg.catalogue import as_config, models

    lines = [
        "# Networks",
        "",
        "What `[model] model` can name, in any letter case: the short name or one of the original "
        "ones. Made from the registry by `python docs/make_reference.py`; `flexseg list models` "
        "prints the same. A network takes images of any size: it pads inside to the multiple that "
        "its levels need and crops the result back; only SwinUNet is bound to sizes that its "
        "windows divide, and says which. The options are keys of `[model]`, as those are that "
        "[concern every network](config.md#model).",
    ]
    for entry in models():
        also = ", ".join(f"`{alias}`" for alias in entry["aliases"])
        lines += ["", f"## {entry['name']}", "", entry["summary"], "", f"After {entry['paper']}."]
        lines += [f"Also called {also}."] if also else []
        lines += ["", "| key | default | meaning |", "|---|---|---|"]
        for key, option in entry["options"].items():
            lines.append(f"| `{key}` | `{as_config(option['default'])}` | {option['meaning']} |")
    return "\n".join(lines) + "\n"


def augmentation_reference() -> str:
    """All transforms with their parameters and the keys that switch them on."""
    from flexseg.catalogue import augmentations

    lines = [
        "# Augmentations",
        "",
        "What can be done to the samples of a training. Made from the registries by `python "
        "docs/make_reference.py`; `flexseg list augmentations` prints the same. All geometric "
        "transforms of a sample are joined to one field, through which image and labels are seen "
        "once each. The keys of `[augmentation]` are probabilities, with the ranges of the "
        "parameters beside them ([config reference](config.md)); those of `[augmentor]` are the "
        "switches of the original systems.",
        "",
        "| name | changes | what it does | parameters | switched on by |",
        "|---|---|---|---|---|",
    ]
    for entry in augmentations():
        parameters, keys = (", ".join(f"`{n}`" for n in entry[k]) for k in ("parameters", "keys"))
        summary = entry["summary"].replace("|", "\\|")
        lines.append(f"| `{entry['name']}` | {entry['for']} | {summary} | {parameters} | {keys} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all files."""
    select()
    FOLDER.mkdir(exist_ok=True)
    for name, make in (
        ("config.md", config_reference),
        ("losses.md", score_reference),
        ("metrics.md", metric_reference),
        ("models.md", model_reference),
        ("augmentations.md", augmentation_reference),
    ):
        (FOLDER / name).write_text(make(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
