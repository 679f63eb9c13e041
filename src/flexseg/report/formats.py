"""How figures stand in a report."""

from __future__ import annotations

from flexseg.evaluation.metrics.metric import METRICS, UNDEFINED, Metric, Unit


def metric_of(name: str) -> Metric:
    """The metric of a name; one that this version does not know stands for itself."""
    if name in METRICS:
        return METRICS.get(name)
    return Metric(
        name,
        name,
        family="overlap",
        unit="share",
        better="higher",
        meaning="",
        from_counts=lambda _: UNDEFINED,
    )


def millilitres(value: float | None) -> str:
    """A volume in ml, to three digits or so, without the unit."""
    amount = value or 0.0
    return (
        f"{amount:.0f}" if amount >= 100 else f"{amount:.1f}" if amount >= 10 else f"{amount:.2f}"
    )


def formatted(value: float | None, unit: Unit) -> str:
    """A value for people; an en dash where it is undefined."""
    if value is None:
        return "\N{EN DASH}"
    if unit == "signed share":
        text = f"{value:+.1%}".replace("-", "\N{MINUS SIGN}")
        return text[1:] if float(text[1:-1]) == 0 else text
    if unit == "distance":
        return f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
    return f"{value:.3f}"
