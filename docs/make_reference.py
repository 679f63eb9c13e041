"""Write docs/reference/*.md from the schema and the registries: python docs/make_reference.py"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

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
        "from the docstrings by `python docs/make_reference.py`. These are the values that a "
        "training shows. What `evaluate` reports is defined in [metrics](metrics.md): Dice = "
        "2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN), precision = TP / (TP + FP), recall = "
        "TP / (TP + FN), per case and class, on hard labels at native resolution (Metrics "
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
        "What `[model] model` can name: the short name or one of the original ones, in upper or "
        "lower case. Made from the registry by `python docs/make_reference.py`; `flexseg list "
        "models` prints the same. A network takes images of any size: it pads them to the multiple "
        "that its levels need, and crops the result back. Only SwinUNet needs sizes that its "
        "windows divide, and says which. The options are keys of `[model]`, in addition to those "
        "that [every network has](config.md#model).",
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
        "transforms of a sample are combined into one field, and image and labels are sampled "
        "through it once each. The keys of `[augmentation]` are probabilities, with the ranges of "
        "the parameters beside them ([config reference](config.md#augmentation)); those of "
        "`[augmentor]` are the switches of the original systems.",
        "",
        "| name | changes | what it does | parameters | switched on by |",
        "|---|---|---|---|---|",
    ]
    for entry in augmentations():
        parameters, keys = (", ".join(f"`{n}`" for n in entry[k]) for k in ("parameters", "keys"))
        summary = entry["summary"].replace("|", "\\|")
        lines.append(f"| `{entry['name']}` | {entry['for']} | {summary} | {parameters} | {keys} |")
    return "\n".join(lines) + "\n"


def command_reference() -> str:
    """All commands with their arguments, options and defaults."""
    from typer.main import get_command

    from flexseg.cli.app import app

    application = get_command(app)
    tasks: dict[str, dict[str, Any]] = {}
    for name, command in application.commands.items():
        tasks.setdefault(command.rich_help_panel, {})[name] = command
    lines = [
        "# Commands",
        "",
        "`flexseg COMMAND --help` prints the same. Made from the commands by `python "
        "docs/make_reference.py`. Exit codes: 0 done, 1 failed, 2 usage or config is wrong, 3 the "
        "data are wrong, 4 memory, disk or permissions, 130 interrupted.",
        "",
        "| task | commands |",
        "|---|---|",
    ]
    for task, commands in tasks.items():
        links = ", ".join(f"[{name}](#flexseg-{name})" for name in commands)
        lines.append(f"| {task} | {links} |")
    lines += [
        "",
        "These go before the name of the command, as in `flexseg --quiet train CONFIG`:",
        "",
        *_parameter_table(application),
    ]
    for task, commands in tasks.items():
        lines += ["", f"## {task}"]
        for name, command in commands.items():
            lines += [*_command_section(f"flexseg {name}", command, level=3)]
    return "\n".join(lines) + "\n"


def _command_section(name: str, command: Any, level: int) -> Iterator[str]:
    children = getattr(command, "commands", {})
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    usage = [name, "COMMAND"] if children else [name, *map(_usage, arguments), "[OPTIONS]"]
    yield from ("", f"{'#' * level} {name}", "", _prose(command.help), "")
    yield from ("```text", " ".join(usage), "```")
    if command.params:
        yield from ("", *_parameter_table(command))
    for child_name, child in children.items():
        yield from _command_section(f"{name} {child_name}", child, level + 1)


def _usage(argument: Any) -> str:
    shown = argument.metavar or argument.name.upper()
    shown += "..." if argument.nargs == -1 else ""
    return shown if argument.required else f"[{shown}]"


def _parameter_table(command: Any) -> Iterator[str]:
    """Arguments, then options; `help` is left out."""
    hints = get_type_hints(command.callback) if command.callback else {}
    yield "| | default | meaning |"
    yield "|---|---|---|"
    for parameter in command.params:
        if parameter.name not in ("help", "install_completion", "show_completion"):
            spelling = _spelling(parameter, hints.get(parameter.name))
            cells = (spelling, _default(parameter), _prose(parameter.help or ""))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _spelling(parameter: Any, hint: Any) -> str:
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len, reverse=True)
    if not names[0].startswith("-"):
        return f"`{_usage(parameter)}`"
    value = parameter.metavar or _value(hint)
    first = f"{names[0]} {value}".strip()
    return ", ".join(f"`{name}`" for name in (first, *names[1:]))


def _value(hint: Any) -> str:
    """What stands for the value of an option: its choices, or its kind; nothing for a switch."""
    if get_origin(hint) in (Union, UnionType, list):
        return next(_value(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    return {bool: "", int: "NUMBER", float: "NUMBER", Path: "PATH"}.get(hint, "TEXT")


def _default(parameter: Any) -> str:
    """As the help shows it; nothing where there is none, and for switches."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.required:
        return "required"
    default = parameter.default
    return "" if default in (None, False, True, []) else f"`{default}`"


def _prose(text: str) -> str:
    """A help text on one line, as Markdown; Rich prints what it escapes by a backslash."""
    parts = " ".join(text.replace("\\[", "[").split()).split("`")
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([<*\[]|(?<!\w)_)", r"\\\1", parts[i])
        parts[i] = re.sub(r"(--[a-z0-9-]+)", r"`\1`", parts[i])
    return "`".join(parts)


def main() -> None:
    """Write all files."""
    select()
    FOLDER.mkdir(exist_ok=True)
    for name, make in (
        ("commands.md", command_reference),
        ("config.md", config_reference),
        ("losses.md", score_reference),
        ("metrics.md", metric_reference),
        ("models.md", model_reference),
        ("augmentations.md", augmentation_reference),
    ):
        (FOLDER / name).write_text(make(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
