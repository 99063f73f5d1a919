"""Figures as SVG for the page and for papers, in their own colours on white."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 720  # pixels, as all lengths here
_ROW, _TOP, _BOTTOM, _RIGHT = 20, 34, 40, 150
_LONGEST_NAME, _CHARACTER = 34, 7.4  # of a label, in characters; the width of one
_INK, _SOFT, _LINE, _POINT, _MEAN = "#17212b", "#4f5d6b", "#d8dfe6", "#56b4e9", "#0b3b5c"


@dataclass(frozen=True)
class Line:
    """A row of a figure: the values of single cases, their mean, and its interval."""

    name: str
    values: Sequence[float]
    mean: float
    low: float
    high: float


def interval_plot(title: str, axis: str, lines: Sequence[Line], *, bounds: tuple[float, float] | None = None):
    """Draw rows with cases as points, means as diamonds, and intervals of the means as bars.

    Args:
        title: above the figure.
        axis: name of the measure.
        lines: the rows, from above; at least one.
        bounds: of the axis; None: the range of the values and 0.
    """
    left = 16 + _CHARACTER * min(_LONGEST_NAME, max(len(line.name) for line in lines))
    right = WIDTH - _RIGHT
    low, high = bounds or _bounds([value for line in lines for value in (*line.values, line.low, line.high)] + [0.0])
    bottom = _TOP + _ROW * len(lines)

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = [*_vertical_axis(x, ticks(low, high), _TOP, bottom, axis, (left + right) / 2)]
    for number, line in enumerate(lines):
        y, at = _TOP + _ROW * (number + 0.5), x(line.mean)
        parts.append(_text(left - 8, y + 4, _shortened(line.name), "end"))
        parts += [
            f'<circle cx="{x(value):.1f}" cy="{y + (index * 4) % 9 - 4:.1f}" r="2.2" fill="{_POINT}" opacity="0.7"/>'
            for index, value in enumerate(line.values)
        ]
        parts.append(f'<path d="M{x(line.low):.1f} {y}H{x(line.high):.1f}" stroke="{_MEAN}" stroke-width="2.5"/>')
        corners = f"{at:.1f},{y - 5} {at + 5:.1f},{y} {at:.1f},{y + 5} {at - 5:.1f},{y}"
        parts.append(f'<polygon points="{corners}" fill="{_MEAN}" stroke="#ffffff" stroke-width="0.8"/>')
        parts.append(_text(right + 10, y + 4, f"{line.mean:.3f} [{line.low:.3f}, {line.high:.3f}]"))
    return _svg(title, bottom + _BOTTOM, parts)


def bland_altman(title: str, reference: Sequence[float], predicted: Sequence[float], unit: str):
    """Draw differences of two measurements over their means, with the bias and the limits of agreement, ± 1.96 SD.

    Bland and Altman, The Lancet 327, 307-310 (1986).

    Args:
        title: above the figure.
        reference: a measurement per case.
        predicted: another measurement of the same cases.
        unit: of both.
    """
    first, second = np.asarray(reference, float), np.asarray(predicted, float)
    mean, difference = (first + second) / 2, second - first
    bias, limits = limits_of_agreement(difference)
    left, right, top, bottom = 70, WIDTH - _RIGHT, _TOP + 16, 320
    (x_low, x_high), (y_low, y_high) = _bounds([0.0, *mean]), _bounds([0.0, *difference, *limits])

    def x(value: float) -> float:
        return left + (right - left) * (value - x_low) / (x_high - x_low)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - y_low) / (y_high - y_low)

    parts = [*_vertical_axis(x, ticks(x_low, x_high), top, bottom, f"mean of both, {unit}", (left + right) / 2)]
    parts.append(_text(12, top - 12, f"prediction minus reference, {unit}"))
    for tick in ticks(y_low, y_high):
        parts.append(f'<path d="M{left} {y(tick):.1f}H{right}" stroke="{_LINE}"/>')
        parts.append(_text(left - 8, y(tick) + 4, f"{tick:g}", "end", 11))
    for value, name in ((bias, "mean"), (limits[0], "−1.96 SD"), (limits[1], "+1.96 SD")):
        dashes = "" if name == "mean" else ' stroke-dasharray="6 4"'
        parts.append(f'<path d="M{left} {y(value):.1f}H{right}" stroke="{_MEAN}" stroke-width="1.5"{dashes}/>')
        parts.append(_text(right + 10, y(value) + 4, f"{name} {value:+.3g}", size=11))
    parts += [
        f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{_POINT}" stroke="{_MEAN}" stroke-width="0.5"/>'
        for a, b in zip(mean, difference, strict=True)
    ]
    return _svg(title, bottom + _BOTTOM, parts)


def limits_of_agreement(differences: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the mean of differences, and the mean ± 1.96 standard deviations (n − 1; 0 for a single value)."""
    values = np.asarray(differences, float)
    half = 1.96 * float(values.std(ddof=1)) if len(values) > 1 else 0.0
    bias = float(values.mean())
    return bias, (bias - half, bias + half)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers in steps of 1, 2 or 5 times a power of ten.

    Args:
        low: smallest value.
        high: largest value.
        most: largest number of steps.
    """
    raw = (high - low) / most
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    return [round(number * step, 12) for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of values with a margin of a twentieth."""
    finite = [value for value in values if isfinite(value)]
    low, high = min(finite), max(finite)
    margin = (high - low) / 20 or 0.5
    return low - margin, high + margin


def _vertical_axis(x, at: Sequence[float], top: float, bottom: float, title: str, middle: float) -> Iterator[str]:
    for tick in at:
        colour = _SOFT if tick == 0 else _LINE
        yield f'<path d="M{x(tick):.1f} {top}V{bottom}" stroke="{colour}"/>'
        yield _text(x(tick), bottom + 15, f"{tick:g}", "middle", 11)
    yield _text(middle, bottom + 32, title, "middle")


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    from markupsafe import escape

    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{_INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _svg(title: str, height: float, parts: Sequence[str]) -> "Markup":
    from markupsafe import Markup, escape

    inside = "\n".join([f'<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>', _title(title), *parts])
    return Markup(
        f'<svg class="figure" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">\n{inside}\n</svg>'
    )


def _title(title: str) -> str:
    return _text(12, 16, title, size=13, weight="bold")
