"""Pictures as SVG inside a page: a histogram, a scatter plot, a heat map.

Colours are the page's (its variables), so that a picture is readable in the dark as in the light. Every text is
escaped.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["STYLE", "heat_map", "histogram", "round_ticks", "scatter", "short"]

Floats = npt.NDArray[np.float64]

STYLE = """
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 12px var(--sans); fill: var(--muted); font-variant-numeric: tabular-nums; }
svg .name { fill: var(--ink); }
svg .symbol { font: 11px var(--mono); fill: var(--ink); }
svg .stranger { fill: var(--warm); font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
svg .axis { stroke: var(--muted); stroke-width: 1; shape-rendering: crispEdges; }
svg .bar, svg .heat { fill: var(--cool); }
svg .beyond { fill: var(--cool); fill-opacity: 0.45; }
svg .point { fill: var(--cool); fill-opacity: 0.55; }
svg .mark { stroke: var(--warm); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg .mark-name { fill: var(--warm); stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg .mark-name { paint-order: stroke; }
svg .path { fill: var(--warm); stroke: var(--paper); stroke-width: 0.75; }
svg .frame { fill: none; stroke: var(--line); shape-rendering: crispEdges; }
"""

# How wide a character of the 12-pixel type is, at most, in the mean.
CHARACTER = 7.0


def short(value: float) -> str:
    """Write a number in at most five signs or so, as an axis has it."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}".replace("-", "−")
    digits = 4 - len(str(int(abs(value))))
    text = f"{value:,.{max(digits, 0)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def round_ticks(low: float, high: float, most: int) -> Floats:
    """Return multiples of 1, 2 or 5 times a power of ten that cover [low, high]: at most about `most` of them."""
    step = _round_step((high - low) / max(most - 1, 1))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return np.arange(first, last + 1, dtype=np.float64) * step


def _round_step(step: float) -> float:
    if not step > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next((factor * power for factor in (1.0, 2.0, 5.0) if step <= factor * power * (1 + 1e-9)), 10.0 * power)


@dataclass(frozen=True)
class _Frame:
    """Where the data's plane lies in the picture, and from where to where its axes go."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @property
    def bottom(self) -> float:
        """Where the axis along x is."""
        return self.top + self.height

    def x(self, value: float) -> float:
        """Turn a value into a place, to the right."""
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Turn a value into a place, upwards."""
        low, high = self.y_range
        return self.top + self.height * (1 - (value - low) / (high - low))

    def y_axis(self, ticks: Floats, name: str) -> Iterator[str]:
        """Draw the grid, and what its lines stand for."""
        for tick in ticks:
            y = self.y(tick)
            yield _tag("line", "grid", x1=self.left, x2=self.left + self.width, y1=y, y2=y)
            yield _text(short(tick), self.left - 8, y + 4, "end")
        yield _text(name, 0, 12, "start", "name")

    def x_axis(self, ticks: Floats, name: str) -> Iterator[str]:
        """Draw the axis, and what its ticks stand for."""
        yield _tag("line", "axis", x1=self.left, x2=self.left + self.width, y1=self.bottom, y2=self.bottom)
        for tick in ticks:
            yield _tag("line", "axis", x1=self.x(tick), x2=self.x(tick), y1=self.bottom, y2=self.bottom + 5)
            yield _text(short(tick), self.x(tick), self.bottom + 19, "middle")
        yield _text(name, self.left + self.width / 2, self.bottom + 40, "middle", "name")


WIDTH, HEIGHT = 520.0, 340.0
TOP, BOTTOM, RIGHT = 36.0, 50.0, 16.0


def _frame(x_range: tuple[float, float], y_ticks: Floats, top: float = TOP) -> _Frame:
    left = 14 + CHARACTER * max(len(short(tick)) for tick in y_ticks)
    return _Frame(
        left, top, WIDTH - left - RIGHT, HEIGHT - top - BOTTOM, x_range, (float(y_ticks[0]), float(y_ticks[-1]))
    )


def histogram(values: Floats, marks: Sequence[tuple[str, float]], x_name: str, title: str) -> str:
    """Draw how many values lie where.

    The bins are of a round width, about as Freedman and Diaconis choose it. What lies far beyond most of the values is
    counted in one paler bar at the end, so that a single outlier does not press the others into one bin.

    Parameters
    ----------
    values : (n,) array
        Finite numbers, at least one.
    marks : sequence of (str, float)
        Values that are marked by a line and a name, in rising order.
    x_name, title : str
        What the values are, and what the picture shows.
    """
    edges = _bins(values)
    step = float(edges[1] - edges[0])
    # A round edge may miss the smallest or the largest value by a rounding.
    inside = values <= edges[-1] + step * 1e-6
    counts = np.histogram(np.clip(values[inside], edges[0], edges[-1]), edges)[0]
    beyond = int(np.count_nonzero(~inside))
    # The bar of what lies beyond stands apart by the width of a bin.
    end = float(edges[-1]) + (3 * step if beyond else 0.0)
    y_ticks = round_ticks(0, float(max(counts.max(), beyond)), 6)
    # Above the plane there is room for the names of the marks, in two rows.
    frame = _frame((float(edges[0]), end), y_ticks, top=TOP + 24)
    parts = list(frame.y_axis(y_ticks, "samples"))
    for count, left in zip(counts.tolist(), edges.tolist(), strict=False):
        note = f"{short(left)} to {short(left + step)}: {count}"
        parts.append(_bar(frame, left, left + step, count, "bar", note))
    ticks = round_ticks(float(edges[0]), float(edges[-1]), 7)
    ticks = ticks[(ticks >= edges[0] - step / 1e6) & (ticks <= edges[-1] + step / 1e6)]
    if beyond:
        ticks = ticks[ticks < edges[-1] - step]
        limit = short(float(edges[-1]))
        parts.append(_bar(frame, end - 2 * step, end, beyond, "beyond", f"more than {limit}: {beyond}"))
        parts.append(_text(f"> {limit}", frame.x(end - step), frame.bottom + 19, "middle"))
        # A tick under the label of the bar beyond would run into it.
        room = frame.x(end - step) - CHARACTER * (len(limit) + 2) / 2 - 10
        ticks = np.array([tick for tick in ticks if frame.x(tick) + CHARACTER * len(short(tick)) / 2 < room])
    parts.extend(frame.x_axis(ticks, x_name))
    parts.extend(_marks(frame, [(name, value) for name, value in marks if value <= edges[-1]]))
    return _picture(
        WIDTH, HEIGHT, title, f"{len(values)} samples from {short(values.min())} to {short(values.max())}", parts
    )


MOST_BINS = 48


def _bins(values: Floats) -> Floats:
    low, quarter, three_quarters, most, high = np.percentile(values, [0, 25, 75, 98, 100]).tolist()
    width = 2 * (three_quarters - quarter) / len(values) ** (1 / 3) or (high - low) / 20 or abs(low) / 10 or 1.0
    step = _round_step(width)
    if (high - low) / step > MOST_BINS:
        step = max(step, _round_step((most - low) / (MOST_BINS - 8)))
        high = high if (high - low) / step <= MOST_BINS else min(most, high)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return np.arange(first, last + 1) * step


def _bar(frame: _Frame, left: float, right: float, count: float, kind: str, note: str) -> str:
    if not count:
        return ""
    x, y = frame.x(left) + 0.5, frame.y(count)
    box = {"x": x, "y": y, "width": max(frame.x(right) - x - 0.5, 0.5), "height": frame.bottom - y}
    return _tag("rect", kind, _tag("title", None, html.escape(note)), **box)


def _marks(frame: _Frame, marks: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Draw lines with names above them; a name that would run into the one before stands higher."""
    free = -math.inf
    level = 0
    for name, value in marks:
        x = frame.x(value)
        label = f"{name} {short(value)}"
        half = CHARACTER * len(label) / 2
        middle = min(max(x, frame.left + half), frame.left + frame.width - half)
        level = 1 - level if middle - half < free else 0
        free = middle + half + 6
        y = frame.top - 6 - 16 * level
        yield _tag("line", "mark", x1=x, x2=x, y1=y + 4, y2=frame.bottom)
        yield _text(label, middle, y, "middle", "mark-name")


MOST_POINTS = 3000


def scatter(x: Floats, y: Floats, notes: Sequence[str], x_name: str, y_name: str, title: str) -> str:
    """Draw one value against another: points, or shaded cells where there are too many.

    Parameters
    ----------
    x, y : (n,) arrays
        Finite numbers, at least one.
    notes : sequence of str
        What is said of each point under the pointer; used while they are points.
    x_name, y_name, title : str
        What the values are, and what the picture shows.
    """
    x_ticks = round_ticks(min(float(x.min()), 0.0), float(x.max()), 8)
    y_ticks = round_ticks(min(float(y.min()), 0.0), float(y.max()), 7)
    frame = _frame((float(x_ticks[0]), float(x_ticks[-1])), y_ticks)
    parts = [*frame.y_axis(y_ticks, y_name), *frame.x_axis(x_ticks, x_name)]
    if len(x) <= MOST_POINTS:
        for place, value, note in zip(x.tolist(), y.tolist(), notes, strict=True):
            inner = _tag("title", None, html.escape(note))
            parts.append(_tag("circle", "point", inner, cx=frame.x(place), cy=frame.y(value), r=3))
    else:
        parts.extend(_cells(frame, x, y))
    return _picture(WIDTH, HEIGHT, title, f"{y_name} against {x_name} of {len(x)} samples", parts)


def _cells(frame: _Frame, x: Floats, y: Floats) -> Iterator[str]:
    columns, rows = 60, 36
    counts = np.histogram2d(x, y, (columns, rows), (frame.x_range, frame.y_range))[0]
    width, height = frame.width / columns, frame.height / rows
    densest = math.log1p(float(counts.max()))
    for column, row in zip(*np.nonzero(counts), strict=True):
        count = int(counts[column, row])
        left, top = frame.left + column * width, frame.bottom - (row + 1) * height
        inner = _tag("title", None, f"{count} samples")
        opacity = round(0.12 + 0.88 * math.log1p(count) / densest, 3)
        yield _tag("rect", "heat", inner, x=left, y=top, width=width, height=height, fill_opacity=opacity)


LEVELS = 20


def heat_map(values: Floats, path: Sequence[int], names: Sequence[str], strangers: Sequence[bool], title: str) -> str:
    """Draw probabilities by frame, and the row that wins in each.

    Parameters
    ----------
    values : (rows, frames) array
        From 0 to 1.
    path : sequence of int
        For each frame the row that is marked by a dot; −1 for none.
    names : sequence of str
        What stands at each row.
    strangers : sequence of bool
        Rows whose name is set apart.
    title : str
        What the picture shows.
    """
    rows, frames = values.shape
    left = 14 + CHARACTER * max((len(name) for name in names), default=1)
    width = 1080 - left - RIGHT
    cell, height = min(width / max(frames, 1), 24.0), 15.0
    frame = _Frame(left, TOP, cell * frames, height * rows, (0.0, float(max(frames, 1))), (0.0, 1.0))
    parts = []
    for row, (name, strange) in enumerate(zip(names, strangers, strict=True)):
        y = TOP + row * height
        parts.append(_text(name, left - 8, y + 11, "end", "symbol stranger" if strange else "symbol"))
        parts.append(_tag("line", "grid", x1=left, x2=left + cell * frames, y1=y, y2=y))
        levels = np.nan_to_num(np.rint(values[row] * LEVELS)).astype(int).tolist()
        start = 0
        for level, run in itertools.groupby(levels):
            length = len(list(run))
            if level > 0:
                box = {"x": left + start * cell, "y": y, "width": length * cell, "height": height}
                parts.append(_tag("rect", "heat", **box, fill_opacity=level / LEVELS))
            start += length
    parts.append(_tag("rect", "frame", x=left, y=TOP, width=cell * frames, height=height * rows))
    for position, row in enumerate(path):
        if row >= 0:
            place = {"cx": left + (position + 0.5) * cell, "cy": TOP + (row + 0.5) * height}
            parts.append(_tag("circle", "path", **place, r=min(3.0, max(cell * 0.3, 1.2))))
    parts.extend(frame.x_axis(_frame_ticks(frames, int(cell * frames / 45)), "frame"))
    parts.extend(_legend(left + max(cell * frames, 330.0)))
    return _picture(1080, TOP + height * rows + BOTTOM, title, f"{rows} classes in {frames} frames", parts)


def _frame_ticks(frames: int, most: int) -> Floats:
    ticks = round_ticks(0, frames, min(max(most, 2), 12))
    whole: Floats = ticks[(ticks <= frames) & (ticks == np.rint(ticks))]
    return whole


def _legend(right: float) -> Iterator[str]:
    """Draw what the shades and the dots mean."""
    y, size = 8.0, 10.0
    start = right - 300
    yield _text("probability  0", start, y + 9, "end")
    for step in range(LEVELS // 2 + 1):
        opacity = step * 2 / LEVELS
        yield _tag("rect", "heat", x=start + 6 + step * size, y=y, width=size, height=size, fill_opacity=opacity)
    yield _text("1", start + 12 + size * (LEVELS // 2 + 1), y + 9, "start")
    yield _tag("circle", "path", cx=right - 124, cy=y + 5, r=3)
    yield _text("most likely class", right - 114, y + 9, "start")


def _picture(width: float, height: float, title: str, description: str, parts: Iterable[str]) -> str:
    label = html.escape(f"{title}: {description}")
    body = "\n".join(part for part in parts if part)
    return f'<svg viewBox="0 0 {_number(width)} {_number(height)}" role="img" aria-label="{label}">\n{body}\n</svg>'


def _text(content: str, x: float, y: float, anchor: str, kind: str | None = None) -> str:
    return _tag("text", kind, html.escape(content), x=x, y=y, text_anchor=anchor)


def _tag(name: str, kind: str | None = None, inner: str = "", **attributes: float | str) -> str:
    """Write an element; `inner` is markup already."""
    parts = [name] if kind is None else [name, f'class="{kind}"']
    for attribute, value in attributes.items():
        text = value if isinstance(value, str) else _number(value)
        parts.append(f'{attribute.replace("_", "-")}="{text}"')
    return f"<{' '.join(parts)}>{inner}</{name}>" if inner else f"<{' '.join(parts)}/>"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
