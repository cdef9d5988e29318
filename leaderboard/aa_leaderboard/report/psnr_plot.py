"""The plot of true against overflow PSNR: two quantities that papers print in one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aa_leaderboard.row import Row

WIDTH_PX, HEIGHT_PX = 720, 460
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 56, 20, 18, 50
LABEL_HEIGHT_PX = 14
LONGEST_LABEL = 28  # characters
CAPITAL_PX, LETTER_PX = 10.4, 7.0

# Errors are squared modulo 256, and the largest square that an 8-bit integer holds is 249.
OVERFLOW_FLOOR_DB = 24.169
# The mean of d^2 mod 256 over uniform d: what two unrelated pictures score.
OVERFLOW_OF_NOISE_DB = 27.90


@dataclass(frozen=True, slots=True)
class Point:
    """One method in the plot; positions in pixels of the SVG.

    `label_x_px`, `label_y_px` and `anchor` (an SVG text-anchor) keep labels apart.
    """

    x_px: float
    y_px: float
    label: str
    label_x_px: float
    label_y_px: float
    anchor: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A gridline with its number; `at_px` along the axis."""

    at_px: float
    text: str


@dataclass(frozen=True, slots=True)
class PsnrPlot:
    """All that the template draws.

    `orders` holds, for each published benchmark, its name and one (by overflow PSNR, by true
    PSNR) pair of method names for each place, best first.
    """

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    floor_y_px: float
    noise_y_px: float
    diagonal_px: tuple[float, float, float, float]
    orders: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    true_db: float
    overflow_db: float
    label: str
    kind: str
    title: str


def psnr_plot(rows: Sequence[Row]) -> PsnrPlot:
    """Place every method whose PSNR is known both ways.

    A published method counts when one row prints both values, or when two rows of the same
    protocol and method agree in SSIM and LPIPS and each print one of them.
    """
    pairs = [*_published_pairs(rows), *_measured_pairs(rows)]
    xs = [pair.true_db for pair in pairs]
    ys = [pair.overflow_db for pair in pairs]
    x_range = (_down(min(xs, default=10.0)), _up(max(xs, default=30.0)))
    y_range = (_down(min([*ys, OVERFLOW_FLOOR_DB])), _up(max(ys, default=40.0)))

    def x_of(value: float) -> float:
        span = WIDTH_PX - LEFT_PX - RIGHT_PX
        return round(LEFT_PX + span * (value - x_range[0]) / (x_range[1] - x_range[0]), 1)

    def y_of(value: float) -> float:
        span = HEIGHT_PX - TOP_PX - BOTTOM_PX
        return round(HEIGHT_PX - BOTTOM_PX - span * (value - y_range[0]) / _extent(y_range), 1)

    low, high = max(x_range[0], y_range[0]), min(x_range[1], y_range[1])
    high = max(high, low)
    placed = [(pair, x_of(pair.true_db), y_of(pair.overflow_db)) for pair in pairs]
    return PsnrPlot(
        points=_labelled(placed),
        x_ticks=tuple(Tick(x_of(v), str(v)) for v in _evens(x_range)),
        y_ticks=tuple(Tick(y_of(v), str(v)) for v in _evens(y_range)),
        floor_y_px=y_of(OVERFLOW_FLOOR_DB),
        noise_y_px=y_of(OVERFLOW_OF_NOISE_DB),
        diagonal_px=(x_of(low), y_of(low), x_of(high), y_of(high)),
        orders=tuple(
            (name, _order([pair for pair in pairs if pair.kind == kind]))
            for kind, name in (("tiktok", "TikTok"), ("ubc", "UBC fashion"))
        ),
    )


def _published_pairs(rows: Sequence[Row]) -> list[_Pair]:
    known: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        if not row.is_published or "ssim" not in row.cells:
            continue
        lpips = row.cells["lpips"].text if "lpips" in row.cells else ""
        key = (row.method, row.benchmark, row.protocol, row.cells["ssim"].text, lpips)
        for metric in ("psnr", "psnr_overflow"):
            cell = row.cells.get(metric)
            if cell is not None and cell.value is not None:
                known.setdefault(key, {})[metric] = cell.value
    return [
        _Pair(
            values["psnr"],
            values["psnr_overflow"],
            method,
            "ubc" if benchmark == "ubc" else "tiktok",
            f"{method}, published on {benchmark} ({protocol}): true {values['psnr']:.2f} dB, "
            f"overflow {values['psnr_overflow']:.2f} dB",
        )
        for (method, benchmark, protocol, *_), values in known.items()
        if len(values) == 2
    ]


def _measured_pairs(rows: Sequence[Row]) -> list[_Pair]:
    pairs = []
    for row in rows:
        if row.is_published:
            continue
        true, overflow = row.cells.get("psnr"), row.cells.get("psnr_overflow")
        if true is None or overflow is None or true.value is None or overflow.value is None:
            continue
        title = f"{row.method}, measured: true {true.text} dB, overflow {overflow.text} dB"
        label = row.method if len(row.method) <= LONGEST_LABEL else f"{row.method[:24]}…"
        pairs.append(_Pair(true.value, overflow.value, label, "measured", title))
    return pairs


def _order(pairs: Sequence[_Pair]) -> tuple[tuple[str, str], ...]:
    by_overflow = sorted(pairs, key=lambda pair: -pair.overflow_db)
    by_true = sorted(pairs, key=lambda pair: -pair.true_db)
    return tuple((a.label, b.label) for a, b in zip(by_overflow, by_true, strict=True))


def _labelled(placed: Sequence[tuple[_Pair, float, float]]) -> tuple[Point, ...]:
    """Each label takes the first place around its point that covers no point and no label."""
    taken = [_Box(x - 7, x + 7, y - 7, y + 7) for _, x, y in placed]
    points = []
    for pair, x, y in placed:
        width = sum(CAPITAL_PX if c.isupper() else LETTER_PX for c in pair.label)
        free = [
            (place, box)
            for place in _LABEL_PLACES
            if (box := _label_box(place, x, y, width)).inside_plot()
            and not any(box.covers(other) for other in taken)
        ]
        # Where no place is free the point keeps its title alone.
        label = pair.label if free else ""
        place, box = free[0] if free else (_LABEL_PLACES[0], _label_box(_LABEL_PLACES[0], x, y, 0))
        taken.append(box)
        anchor, dx, dy = place
        points.append(Point(x, y, label, x + dx, y + dy, anchor, pair.kind, pair.title))
    return tuple(points)


# (text-anchor, pixels to the right, pixels down) from the point, the preferred first.
_LABEL_PLACES = (
    ("start", 11.0, 4.0),
    ("end", -11.0, 4.0),
    *(("middle", 0.0, float(dy)) for dy in (-12, 20)),
    *((anchor, dx, float(dy)) for dy in (-10, 18, -24, 32, -38, 46)
      for anchor, dx in (("start", 9.0), ("end", -9.0))),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    right: float
    top: float
    bottom: float

    def covers(self, other: _Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)

    def inside_plot(self) -> bool:
        return self.left >= LEFT_PX and self.right <= WIDTH_PX and self.top >= 0


def _label_box(place: tuple[str, float, float], x: float, y: float, width: float) -> _Box:
    anchor, dx, dy = place
    left = x + dx - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return _Box(left, left + width, y + dy - LABEL_HEIGHT_PX + 4, y + dy + 3)


def _evens(bounds: tuple[float, float]) -> range:
    return range(int(bounds[0]), int(bounds[1]) + 1, 2)


def _extent(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]


def _down(value: float) -> float:
    """The even number at least half a decibel below."""
    return 2.0 * ((value - 0.5) // 2)


def _up(value: float) -> float:
    """The even number at least half a decibel above."""
    return -2.0 * ((-value - 0.5) // 2)
