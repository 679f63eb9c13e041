"""Charts as inline SVG: text stays text, and colours are CSS variables, so that one chart serves
screens light and dark, print and screen readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from flexseg.evaluation.metrics.calibration import ReliabilityBin
from flexseg.evaluation.metrics.lesions import SizeBin
from flexseg.evaluation.summary import ClassSummary
from flexseg.report.structure import CaseScore, RepairedScore

WIDTH = 370
_MOST_DOTS = 1200
# Letters of a name.
_LONGEST = 46


@dataclass
class _Axes:
    """A frame with linear axes; `y` grows upwards."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: float = 240
    left: float = 46
    right: float = 12
    top: float = 12
    bottom: float = 40
    parts: list[Markup] = field(default_factory=list)

    def at_x(self, value: float) -> float:
        return self.left + _share(value, self.x) * (WIDTH - self.left - self.right)

    def at_y(self, value: float) -> float:
        inside = self.height - self.top - self.bottom
        return self.height - self.bottom - _share(value, self.y) * inside

    def add(self, template: str, **values: object) -> None:
        self.parts.append(Markup(template).format(**values))  # noqa: S704 - templates are constants

    def text(self, x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> None:
        self.add(
            '<text x="{x}" y="{y}" text-anchor="{anchor}" class="{kind}">{text}</text>',
            x=_short(x), y=_short(y), anchor=anchor, kind=kind, text=text,
        )  # fmt: skip

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.add(
            '<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>',
            x1=_short(x1), y1=_short(y1), x2=_short(x2), y2=_short(y2), kind=kind,
        )  # fmt: skip

    def grid_x(self, ticks: Sequence[float], label: str, form: Callable[[float], str]) -> None:
        for tick in ticks:
            x = self.at_x(tick)
            self.line(x, self.top, x, self.height - self.bottom, "grid")
            self.text(x, self.height - self.bottom + 16, form(tick))
        middle = (self.left + WIDTH - self.right) / 2
        self.text(middle, self.height - 5, label, kind="axis")

    def grid_y(self, ticks: Sequence[float], form: Callable[[float], str]) -> None:
        for tick in ticks:
            y = self.at_y(tick)
            self.line(self.left, y, WIDTH - self.right, y, "grid")
            self.text(self.left - 6, y + 4, form(tick), "end")

    def path(self, points: Sequence[tuple[float, float]], style: str, kind: str = "curve") -> None:
        d = "M" + "L".join(f"{_short(self.at_x(x))} {_short(self.at_y(y))}" for x, y in points)
        self.add('<path d="{d}" class="{kind}" style="{style}"/>', d=d, kind=kind, style=style)

    def svg(self, title: str, description: str) -> Markup:
        """The chart with a name and a description for those who cannot see it."""
        return Markup(
            '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{body}</svg>'
        ).format(
            w=WIDTH,
            h=_short(self.height),
            label=f"{title}. {description}",
            body=Markup("").join(self.parts),
        )


def _share(value: float, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / ((limits[1] - limits[0]) or 1.0)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _cut(name: str) -> str:
    """A name as far as it fits."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _plain(value: float) -> str:
    return f"{value:g}"


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(count, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(f"{t:.10g}") for t in ticks]


def curves(
    title: str, series: Mapping[str, Sequence[float | None]], best_epoch: int | None
) -> Markup:
    """Values by epoch; the best epoch is marked.

    Parameters
    ----------
    series : name -> one value per epoch; None where there is none.
    best_epoch : counted from 1.
    """
    known = {
        name: [(i, v) for i, v in enumerate(values, start=1) if v is not None]
        for name, values in series.items()
    }
    known = {name: points for name, points in known.items() if points}
    values = [v for points in known.values() for _, v in points]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    if low == high:  # a constant is shown against 0
        low, high = min(0.0, 2 * low), max(0.0, 2 * high) or 1.0
    y = _ticks(low, high, 4)
    last = max(i for points in known.values() for i, _ in points)
    axes = _Axes((1, max(last, 2)), (y[0], y[-1]), left=52)
    axes.grid_y(y, _plain)
    x = [t for t in _ticks(1, max(last, 2), 6) if 1 <= t <= last and t == int(t)]
    axes.grid_x([1, *(t for t in x if t > 1)], "epoch", _plain)
    if best_epoch and best_epoch <= last:
        at = axes.at_x(best_epoch)
        axes.line(at, axes.top, at, axes.height - axes.bottom, "mark")
        side = "end" if at > WIDTH / 2 else "start"
        axes.text(at + (-5 if side == "end" else 5), axes.top + 12, "best", side, "note")
    for i, points in enumerate(known.values()):
        dashes = ";stroke-dasharray:6 4" if i else ""
        color = f"var(--line-{i % 2 + 1})"
        axes.path(points, f"stroke:{color}{dashes}")
        if len(points) == 1:
            axes.add(
                '<circle cx="{x}" cy="{y}" r="3.5" style="fill:{c}"/>',
                x=_short(axes.at_x(points[0][0])), y=_short(axes.at_y(points[0][1])), c=color,
            )  # fmt: skip
    ends = ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in known.items())
    return axes.svg(title, f"Last values: {ends}.")


def intervals(classes: Sequence[ClassSummary], metric: str) -> Markup:
    """Means of a metric (0 to 1) by class with their 95 % intervals."""
    rows = [c for c in classes if metric in c.statistics]
    axes = _Axes((0, 1), (0, 1), height=52 + 34 * len(rows), left=12)
    axes.grid_x([0, 0.2, 0.4, 0.6, 0.8, 1], f"{metric.capitalize()}, 95 % interval", _plain)
    told = []
    for row, c in enumerate(rows):
        s, y = c.statistics[metric], axes.top + 24 + 34 * row
        mean = s.mean or 0.0
        axes.text(axes.left, y - 10, _cut(c.name), "start", "name")
        if s.ci95:
            axes.line(axes.at_x(s.ci95[0]), y, axes.at_x(s.ci95[1]), y, "interval")
        axes.add(
            '<circle cx="{x}" cy="{y}" r="5" class="dot" style="fill:var(--class-{n})"/>',
            x=_short(axes.at_x(mean)), y=_short(y), n=c.id,
        )  # fmt: skip
        told.append(f"{c.name} {mean:.3f}")
    return axes.svg("Means with intervals", ", ".join(told))


def differences(scores: Sequence[RepairedScore]) -> Markup:
    """Paired differences repaired - old with their 95 % intervals; a line at 0."""
    rows = [s for s in scores if s.difference is not None]
    if not rows:
        return Markup("")
    ends = [v for s in rows for v in (s.difference, *(s.ci95 or ())) if v is not None]
    widest = max(0.01, *map(abs, ends))
    ticks = _ticks(-widest, widest, 4)
    axes = _Axes((ticks[0], ticks[-1]), (0, 1), height=52 + 34 * len(rows), left=20, right=20)
    axes.grid_x(ticks, "repaired \N{MINUS SIGN} old, Dice", _with_sign)
    zero = axes.at_x(0)
    axes.line(zero, axes.top, zero, axes.height - axes.bottom, "mark")
    told = []
    for row, s in enumerate(rows):
        y, mean = axes.top + 24 + 34 * row, s.difference or 0.0
        axes.text(axes.left, y - 10, _cut(s.class_name), "start", "name")
        if s.ci95:
            axes.line(axes.at_x(s.ci95[0]), y, axes.at_x(s.ci95[1]), y, "interval")
        color = "var(--ink)" if s.class_id is None else f"var(--class-{s.class_id})"
        axes.add(
            '<circle cx="{x}" cy="{y}" r="5" class="dot" style="fill:{c}"/>',
            x=_short(axes.at_x(mean)), y=_short(y), c=color,
        )  # fmt: skip
        told.append(f"{s.class_name} {mean:+.3f}")
    return axes.svg("Differences with intervals", ", ".join(told))


def _with_sign(value: float) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def distribution(name: str, class_id: int, scores: Sequence[CaseScore]) -> Markup:
    """The Dice of every case whose reference has a class: dots, quartiles and median.

    Missed cases are crosses at 0.
    """
    present = [s for s in scores if s.status in ("scored", "missed") and s.dice is not None]
    present.sort(key=lambda s: (s.dice or 0.0, s.case))
    if not present:
        return Markup("")
    values = [s.dice or 0.0 for s in present]
    shown = present
    if len(present) > _MOST_DOTS:
        step = len(present) / _MOST_DOTS
        shown = [present[int(i * step)] for i in range(_MOST_DOTS)]
    columns: dict[int, list[CaseScore]] = {}
    for s in shown:
        columns.setdefault(round((s.dice or 0.0) * 56), []).append(s)
    tallest = max(len(column) for column in columns.values())
    step = min(7.0, 104 / tallest)
    rise = max(24.0, step * tallest)
    axes = _Axes((0, 1), (0, 1), height=rise + 82, left=14)
    axes.grid_x([0, 0.2, 0.4, 0.6, 0.8, 1], "Dice of a case", _plain)
    base = axes.height - axes.bottom - 30
    quartiles = [_quantile(values, q) for q in (0.05, 0.25, 0.5, 0.75)]
    _box(axes, base + 18, quartiles, class_id)
    for column in columns.values():
        for level, s in enumerate(column):
            x, y = axes.at_x(s.dice or 0.0), base - step * (level + 0.5)
            told = f"{s.case}: {'missed' if s.status == 'missed' else f'{s.dice:.3f}'}"
            if s.status == "missed":
                axes.add(
                    '<path d="M{x} {y}m-3 -3l6 6m0 -6l-6 6" class="cross">'
                    "<title>{t}</title></path>",
                    x=_short(x), y=_short(y), t=told,
                )  # fmt: skip
            else:
                axes.add(
                    '<circle cx="{x}" cy="{y}" r="3" class="dot" style="fill:var(--class-{n})">'
                    "<title>{t}</title></circle>",
                    x=_short(x), y=_short(y), n=class_id, t=told,
                )  # fmt: skip
    p5, _, median, _ = quartiles
    return axes.svg(
        f"Dice of {name} in {len(present)} cases",
        f"Median {median:.3f}, 5th percentile {p5:.3f}, lowest {values[0]:.3f}.",
    )


def _box(axes: _Axes, y: float, quartiles: Sequence[float], class_id: int) -> None:
    p5, q1, median, q3 = quartiles
    axes.line(axes.at_x(p5), y, axes.at_x(q1), y, "whisker")
    axes.line(axes.at_x(p5), y - 5, axes.at_x(p5), y + 5, "whisker")
    axes.add(
        '<rect x="{x}" y="{y}" width="{w}" height="12" rx="2" class="box" '
        'style="fill:var(--class-{n})"/>',
        x=_short(axes.at_x(q1)), y=_short(y - 6),
        w=_short(max(axes.at_x(q3) - axes.at_x(q1), 2)), n=class_id,
    )  # fmt: skip
    axes.line(axes.at_x(median), y - 8, axes.at_x(median), y + 8, "median")


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics, as NumPy's default."""
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Accuracy by confidence (points on the diagonal are honest), and the pixels of each bin."""
    known = [b for b in bins if b.pixels and b.confidence is not None and b.accuracy is not None]
    if not known:
        return Markup("")
    axes = _Axes((0, 1), (0, 1), height=330, bottom=88)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.grid_y(ticks, _plain)
    for tick in ticks:
        x = axes.at_x(tick)
        axes.line(x, axes.top, x, axes.height - axes.bottom, "grid")
        axes.text(x, axes.height - 20, _plain(tick))
    axes.text(WIDTH / 2 + 17, axes.height - 4, "confidence", kind="axis")
    axes.path([(0, 0), (1, 1)], "", "mark")
    most = math.log10(max(b.pixels for b in known) + 1)
    floor = axes.height - 36
    for b in known:
        height = 44 * math.log10(b.pixels + 1) / most
        left, right = axes.at_x(b.low), axes.at_x(b.high)
        axes.add(
            '<rect x="{x}" y="{y}" width="{w}" height="{h}" class="pixels">'
            "<title>{n} pixels</title></rect>",
            x=_short(left + 1), y=_short(floor - height), w=_short(max(right - left - 2, 1)),
            h=_short(height), n=f"{b.pixels:,}",
        )  # fmt: skip
    points = [(b.confidence or 0.0, b.accuracy or 0.0) for b in known]
    axes.path(points, "stroke:var(--line-1)")
    for (x, y), b in zip(points, known, strict=True):
        axes.add(
            '<circle cx="{x}" cy="{y}" r="4.5" class="dot" style="fill:var(--line-1)">'
            "<title>{t}</title></circle>",
            x=_short(axes.at_x(x)), y=_short(axes.at_y(y)),
            t=f"confidence {x:.3f}, accuracy {y:.3f}, {b.pixels:,} pixels",
        )  # fmt: skip
    worst = max(points, key=lambda p: abs(p[0] - p[1]))
    return axes.svg(
        "Reliability diagram",
        f"Largest gap: at confidence {worst[0]:.2f} the accuracy is {worst[1]:.2f}.",
    )


def lesions_by_size(name: str, class_id: int, bins: Sequence[SizeBin], unit: str = "px") -> Markup:
    """Share of a class's connected objects that were found, by their size in `unit`."""
    known = [b for b in bins if b.reference]
    if not known:
        return Markup("")
    axes = _Axes((0, 1), (0, 1), height=50 + 34 * len(known), left=12)
    axes.grid_x([0, 0.25, 0.5, 0.75, 1], "share found", lambda v: f"{v:.0%}")
    told = []
    for row, b in enumerate(known):
        y, share = axes.top + 34 * row, b.found / b.reference
        size = f"from {b.from_px:,}" if b.to_px is None else f"{b.from_px:,} to {b.to_px:,}"
        label = f"{size} {unit}: {b.found} of {b.reference}"
        axes.text(axes.left, y + 12, label, "start", "name")
        axes.add(
            '<rect x="{x}" y="{y}" width="{w}" height="9" class="box" '
            'style="fill:var(--class-{n})"/>',
            x=_short(axes.left), y=_short(y + 17), n=class_id,
            w=_short(max(axes.at_x(share) - axes.left, 1)),
        )  # fmt: skip
        told.append(label)
    return axes.svg(f"Objects of {name} found by size", "; ".join(told))
