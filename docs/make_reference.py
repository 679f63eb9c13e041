"""Write docs/reference/*.md from the schema and the registries: python docs/make_reference.py"""

from __future__ import annotations

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
        "training shows; what `evaluate` reports is defined in `evaluation/overlap.py`: Dice = "
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


def main() -> None:
    """Write both files."""
    select()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.md").write_text(config_reference(), encoding="utf-8", newline="\n")
    (FOLDER / "losses.md").write_text(score_reference(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
