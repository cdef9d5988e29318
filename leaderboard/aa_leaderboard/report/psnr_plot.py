"""The plot of true against overflow PSNR: two quantities that papers print in one column."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aa_leaderboard.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Errors are squared modulo 256, and the largest square that an 8-bit integer holds is 249.
OVERFLOW_FLOOR_DB = 24.169
# The mean of d^2 mod 256 over uniform d: what two unrelated pictures score.
OVERFLOW_OF_NOISE_DB = 27.90
LONGEST_LABEL = 24  # characters

_MARKERS = {"tiktok": "o", "ubc": "s", "measured": "D"}
# Colours are the page's, so that the plot follows its theme; alone it has those of the light one.
_COLOURS = {
    "ink": "#1c1e22", "soft": "#5b616b", "rule": "#dcd7cc", "caution": "#9c2323",
    "tiktok": "#b5386e", "ubc": "#4f5391", "measured": "#0b6b62",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PsnrPair:
    """A method whose PSNR is known both ways; `kind` is tiktok, ubc (published) or measured."""

    method: str
    kind: str
    true_db: float
    overflow_db: float

    @property
    def label(self) -> str:
        name = self.method
        if len(name) > LONGEST_LABEL:
            name = f"{name[: LONGEST_LABEL - 1]}…"
        return f"{name}  {self.true_db:.2f} / {self.overflow_db:.2f}"


def psnr_pairs(rows: Sequence[Row]) -> list[PsnrPair]:
    """Every method whose PSNR is known both ways, published ones first.

    A published method counts when one row prints both values, or when two rows of the same
    protocol and method agree in SSIM and LPIPS and each print one of them.
    """
    known: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        texts = [row.cells[key].text if key in row.cells else "" for key in ("ssim", "lpips")]
        if row.is_published and not texts[0]:
            continue
        identity = texts if row.is_published else [str(id(row)), ""]
        kind = {"ubc": "ubc"}.get(row.benchmark, "tiktok") if row.is_published else "measured"
        values = known.setdefault((kind, row.protocol, row.method, *identity), {})
        for key in ("psnr", "psnr_overflow"):
            if (cell := row.cells.get(key)) is not None and cell.value is not None:
                values[key] = cell.value
    pairs = [
        PsnrPair(method, kind, values["psnr"], values["psnr_overflow"])
        for (kind, _, method, *_), values in known.items()
        if len(values) == 2
    ]
    return sorted(pairs, key=lambda pair: pair.kind == "measured")


def psnr_orders(pairs: Sequence[PsnrPair]) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each published benchmark its name and, by place, (method by overflow, by true PSNR)."""
    orders = []
    for kind, name in (("tiktok", "TikTok"), ("ubc", "UBC fashion")):
        ours = [pair for pair in pairs if pair.kind == kind]
        by_overflow = sorted(ours, key=lambda pair: -pair.overflow_db)
        by_true = sorted(ours, key=lambda pair: -pair.true_db)
        places = zip(by_overflow, by_true, strict=True)
        orders.append((name, [(a.method, b.method) for a, b in places]))
    return orders


def psnr_svg(pairs: Sequence[PsnrPair]) -> str:
    """The plot as SVG, the same bytes for the same pairs.

    Every label stands in a column at the right, in the order of the points' heights, with a line
    to its point: labels cannot collide, however many there are.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: Any = {"svg.hashsalt": "aa-leaderboard", "svg.fonttype": "none", "font.size": 9.5}
    text = io.StringIO()
    with rc_context(settings), warnings.catch_warnings():
        # The font of the layout may lack a letter of a name; the browser's has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(8.8, max(4.4, 0.21 * len(pairs) + 0.8)))
        axes = figure.add_axes((0.07, 0.11, 0.5, 0.86))
        _draw(axes, pairs)
        bare = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=bare)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    words = "; ".join(f"{p.method}: true {p.true_db:.2f} dB, overflow {p.overflow_db:.2f} dB"
                      for p in pairs)  # fmt: skip
    head = '<svg role="img" aria-labelledby="psnr-words" '
    described = f'<desc id="psnr-words">True against overflow PSNR. {_escape(words)}</desc>'
    return re.sub(r"<svg ([^>]*)>", lambda m: f"{head}{m[1]}>{described}", svg, count=1)


def _draw(axes: Axes, pairs: Sequence[PsnrPair]) -> None:
    for at_db, words in (
        (OVERFLOW_FLOOR_DB, "no overflow PSNR can be lower"),
        (OVERFLOW_OF_NOISE_DB, "two unrelated pictures"),
    ):
        axes.axhline(at_db, color=_COLOURS["caution"], linestyle="--", linewidth=1)
        axes.text(0.99, at_db + 0.12, words, transform=axes.get_yaxis_transform(), ha="right",
                  color=_COLOURS["caution"], fontstyle="italic")  # fmt: skip
    for kind, marker in _MARKERS.items():
        ours = [pair for pair in pairs if pair.kind == kind]
        axes.plot([pair.true_db for pair in ours], [pair.overflow_db for pair in ours], marker,
                  color=_COLOURS[kind], markersize=7, gid=f"psnr-{kind}")  # fmt: skip
    axes.margins(0.06, 0.05)
    low, high = axes.get_ylim()
    by_height = sorted(pairs, key=lambda pair: (-pair.overflow_db, pair.true_db))
    heights = _spread([(pair.overflow_db - low) / (high - low) for pair in by_height])
    for pair, at in zip(by_height, heights, strict=True):
        axes.annotate(
            pair.label, xy=(pair.true_db, pair.overflow_db), xytext=(1.04, at),
            textcoords="axes fraction", va="center", color=_COLOURS["ink"], parse_math=False,
            arrowprops={"arrowstyle": "-", "color": _COLOURS["soft"], "linewidth": 0.5,
                        "relpos": (0, 0.5), "alpha": 0.7, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip
    axes.set_xlabel("true PSNR, dB", color=_COLOURS["soft"])
    axes.set_ylabel("overflow PSNR, dB", color=_COLOURS["soft"])
    axes.tick_params(colors=_COLOURS["soft"])
    axes.grid(color=_COLOURS["rule"], linewidth=0.7)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(_COLOURS["soft"])


def _spread(heights: Sequence[float]) -> list[float]:
    """Descending heights in [0, 1] moved apart to an even share of the axis at least."""
    gap = min(0.06, 1 / max(len(heights), 1))
    placed: list[float] = []
    for index, height in enumerate(heights):
        ceiling = placed[-1] - gap if placed else 1.0
        floor = gap * (len(heights) - 1 - index)
        placed.append(max(min(height, ceiling), floor))
    return placed


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
