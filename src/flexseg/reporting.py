"""What the terminal shows of checks and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from flexseg.data.audit import CheckReport

_COLORS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_scores(console: Console, summary: dict[str, Any]) -> None:
    """The table of an evaluation: means with intervals, and what stands apart from them."""
    table = Table(
        title=f"{summary['cases']} cases ({summary['groups']} groups), native resolution; mean "
        "over cases with the class, 95 % interval",
        title_justify="left",
        title_style="",
    )
    for name in ("class", "Dice", "IoU", "precision", "recall"):
        table.add_column(name)
    for name in ("cases", "missed", "empty ref.", "false pos."):
        table.add_column(name, justify="right")
    for c in summary["classes"]:
        table.add_row(
            c["name"],
            *(_with_interval(c[m]) for m in ("dice", "iou", "precision", "recall")),
            str(c["cases_with_reference"]),
            str(c["missed"]),
            str(c["cases_with_empty_reference"]),
            str(c["false_positive"]),
        )
    if len(summary["classes"]) > 1:
        macro = summary["macro"]
        table.add_section()
        table.add_row(
            "mean of classes",
            *(_with_interval(macro[m]) for m in ("dice", "iou", "precision", "recall")),
        )
    console.print(table)
    for note in summary["notes"][1:]:
        console.print(f"Note: {note}")
    if legacy := summary.get("not_comparable_with_the_above"):
        values = ", ".join(f"{k} {v:.4f}" for k, v in legacy.items() if k != "what")
        console.print(f"The original systems' figures (soft, network size): {values}")


def _with_interval(entry: dict[str, Any]) -> str:
    if entry["mean"] is None:
        return "-"
    text = f"{entry['mean']:.3f}"
    return f"{text} ({entry['ci95'][0]:.3f}-{entry['ci95'][1]:.3f})" if entry["ci95"] else text


def print_check(console: Console, report: CheckReport) -> None:
    """Findings, effective values and data of a check."""
    values = Table(title="Effective values", title_justify="left", title_style="bold")
    values.add_column("key")
    values.add_column("value", overflow="fold")
    values.add_column("from")
    for key, value, source in report.values:
        values.add_row(key, escape(str(value)), source)
    console.print(values)
    if report.splits:
        data = Table(title="Data", title_justify="left", title_style="bold")
        for name in ("split", "cases", "sizes", "images", "masks", "share of pixels by class"):
            data.add_column(name, overflow="fold")
        for split in report.splits:
            data.add_row(
                split["split"],
                str(split["cases"]),
                split["sizes"],
                split["images"],
                split["masks"],
                split["shares"],
            )
        console.print(data)
    for finding in report.findings:
        color = _COLORS[finding.severity]
        console.print(
            f"[{color}]{finding.severity}[/] {escape(finding.where)}: {escape(finding.what)}"
            + (f"\n    [dim]fix:[/] {escape(finding.fix)}" if finding.fix else ""),
            soft_wrap=True,
        )
    count = {s: sum(f.severity == s for f in report.findings) for s in _COLORS}
    verdict = "[green]It can run.[/]" if report.exit_code == 0 else "[bold red]It cannot run.[/]"
    console.print(
        f"{verdict} {count['error']} errors, {count['warning']} warnings, {count['note']} notes."
    )
