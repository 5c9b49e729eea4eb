"""Small charts as SVG: no script, colours from the style sheet, every text escaped."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

SIZE, SMALL = (440, 270), (360, 240)
"""Units of a chart that fills a row or half of one, and of one among many."""
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 26, 42
COLOURS = ("var(--accent)", "var(--second)", "var(--third)", "var(--muted)", "var(--fourth)", "var(--fifth)")


@dataclass(frozen=True)
class Series:
    """Points of one name and colour."""

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    dashed: bool = False


def chart(
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    logarithmic: bool = False,
    labels: Sequence[str] = (),
    size: tuple[int, int] = SIZE,
    names: Sequence[str] = (),
) -> str:
    """Lines or points over two axes, with a legend if there are several; `labels` name the points of the first.

    Series with the same name have the same colour; several charts with the same `names` give each name the same colour.
    Points that are not finite are left out. The result is empty if none is left.
    """
    kept = []
    for one in series:
        points = [
            (a, b) for a, b in one.points if math.isfinite(a) and math.isfinite(b) and not (logarithmic and a <= 0)
        ]
        if points:
            kept.append((one, points))
    if not kept:
        return ""
    xs, ys = ([point[axis] for _, points in kept for point in points] for axis in (0, 1))
    if logarithmic:
        xs = [math.log10(value) for value in xs]
    left, right = _room(min(xs), max(xs), 0.12 if labels else 0.02, stop=-math.inf if logarithmic else 0.0)
    low, high = _room(min(ys), max(ys), 0.12)

    def place(a: float, b: float) -> tuple[float, float]:
        across = (math.log10(a) if logarithmic else a) - left
        return (
            LEFT + across / (right - left) * (size[0] - LEFT - RIGHT),
            TOP + (high - b) / (high - low) * (size[1] - TOP - BOTTOM),
        )

    parts = [_axes((left, right, low, high), x, y, logarithmic, size)]
    known = list(dict.fromkeys([*names, *(one.name for one, _ in kept)]))
    for number, (one, points) in enumerate(kept):
        colour = COLOURS[known.index(one.name) % len(COLOURS)]
        spots = [place(a, b) for a, b in points]
        if one.line and len(spots) > 1:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
            dash = ' stroke-dasharray="5 4"' if one.dashed else ""
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not one.line or len(spots) == 1:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="5" fill="{colour}"/>' for a, b in spots]
        if number == 0:
            parts += _names(labels, spots, size)
    legend = ""
    for name in dict.fromkeys(one.name for one, _ in kept if one.name):
        colour = COLOURS[known.index(name) % len(COLOURS)]
        legend += f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
    drawn = f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{html.escape(y)} by {html.escape(x)}">'
    return f'<figure>{drawn}{"".join(parts)}</svg><figcaption class="legend">{legend}</figcaption></figure>'


def layers(student: int, teacher: int, terms: Sequence[tuple[str, Sequence[tuple[int, int]]]]) -> str:
    """Two towers of layers and a line for each pair that a term compared; layer 0 is the embeddings."""
    gap, height, width = 34, 22, 116
    tall = (max(student, teacher) + 1) * gap + 40
    across = 420

    def middle(layer: int) -> float:
        return tall - 30 - layer * gap

    parts = []
    for number, (_, pairs) in enumerate(terms):
        colour = COLOURS[number % len(COLOURS)]
        faint = 0.9 if len(pairs) <= 2 * (student + 1) else 0.35
        for ours, theirs in pairs:
            shift = 4 * number
            a, b = middle(theirs) + shift, middle(ours) + shift
            line = f'x1="{width + 8}" y1="{a:.0f}" x2="{across - width - 8}" y2="{b:.0f}"'
            parts.append(f'<line {line} stroke="{colour}" stroke-width="2" opacity="{faint}"/>')
    for name, count, x in (("teacher", teacher, 4), ("student", student, across - width - 4)):
        parts.append(f'<text x="{x + width / 2}" y="14" text-anchor="middle" class="strong">{name}</text>')
        for layer in range(count + 1):
            y = middle(layer) - height / 2
            label = "embeddings" if layer == 0 else f"layer {layer}"
            parts.append(f'<rect x="{x}" y="{y:.0f}" width="{width}" height="{height}" rx="5" class="box"/>')
            parts.append(
                f'<text x="{x + width / 2}" y="{y + 15:.0f}" text-anchor="middle" class="small">{label}</text>'
            )
    legend = "".join(
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{html.escape(name)}</span>'
        for number, (name, _) in enumerate(terms)
    )
    drawn = f'<svg viewBox="0 0 {across} {tall:.0f}" role="img" aria-label="layers matched" class="towers">'
    return f'<figure>{drawn}{"".join(parts)}</svg><figcaption class="legend">{legend}</figcaption></figure>'


def _room(low: float, high: float, share: float, stop: float = 0.0) -> tuple[float, float]:
    """An axis with room on both sides that does not go beyond `stop` unless values do."""
    extra = (high - low) * share or abs(high) * 0.1 or 0.5
    return max(low - extra, stop) if low >= stop else low - extra, high + extra


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between `low` and `high`."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    """Decimal logarithms of round numbers between 10^low and 10^high."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found: list[float] = []
        for decade in decades:
            places = [decade + math.log10(factor) for factor in factors]
            found += [place for place in places if low <= place <= high]
        if len(found) >= 3:
            return found
    return [math.log10(value) for value in _ticks(10**low, 10**high) if value > 0]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _names(labels: Sequence[str], spots: Sequence[tuple[float, float]], size: tuple[int, int]) -> list[str]:
    """A label beside each point where no other label is, as far as there is room."""
    taken: list[tuple[float, float, float]] = []
    parts = []
    for label, (a, b) in zip(labels, spots, strict=False):
        width = 6.6 * len(label)
        places: list[tuple[float, float]] = []
        for down in (-7, 17, -21, 31, -35, 45):
            places += [(a + 8, b + down), (a - 8 - width, b + down)]
        inside = [(x, y) for x, y in places if x >= LEFT and x + width <= size[0] and TOP <= y <= size[1] - BOTTOM]
        free = [
            (x, y)
            for x, y in inside
            if all(abs(y - other) > 13 or x > right or x + width < left for left, right, other in taken)
        ]
        x, y = (free or inside or places)[0]
        taken.append((x, x + width, y))
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="small">{html.escape(label)}</text>')
    return parts


def _axes(bounds: tuple[float, float, float, float], x: str, y: str, logarithmic: bool, size: tuple[int, int]) -> str:
    left, right, low, high = bounds
    parts = []
    wide, tall = size[0] - LEFT - RIGHT, size[1] - TOP - BOTTOM
    for value in _ticks(low, high):
        down = TOP + tall * (high - value) / (high - low)
        parts.append(f'<line x1="{LEFT}" x2="{size[0] - RIGHT}" y1="{down:.1f}" y2="{down:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end" class="small">{_number(value)}</text>')
    for value in (_logarithmic_ticks if logarithmic else _ticks)(left, right):
        told = 10**value if logarithmic else value
        across = LEFT + wide * (value - left) / (right - left)
        parts.append(
            f'<text x="{across:.1f}" y="{size[1] - BOTTOM + 18}" text-anchor="middle" '
            f'class="small">{_number(told)}</text>'
        )
    parts.append(
        f'<text x="{LEFT + wide / 2}" y="{size[1] - 6}" text-anchor="middle" class="small">{html.escape(x)}</text>'
    )
    parts.append(f'<text x="6" y="12" class="small">{html.escape(y)}</text>')
    return "".join(parts)
