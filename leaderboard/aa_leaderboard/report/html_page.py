"""The page: one static HTML file that opens from disk and asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aa_leaderboard.board.clips import read_media
from aa_leaderboard.board.media import MEDIA_DIR
from aa_leaderboard.columns import COLUMNS
from aa_leaderboard.paper_tables import CAPTIONS, paper_table
from aa_leaderboard.report.page_data import page_data
from aa_leaderboard.report.psnr_plot import HEIGHT_PX, WIDTH_PX, psnr_plot
from aa_leaderboard.report.table_view import table_view
from aa_leaderboard.report.uninformative_columns import MARGIN
from aa_leaderboard.row import Row
from aa_leaderboard.table import tables_of

# In one scope and in this order: each part uses names of those before it.
SCRIPTS = ("base.js", "scatter.js", "player.js", "worst.js")


def render_page(rows: Sequence[Row], board: Path | None, title: str) -> str:
    """The page as text; clips are linked by the relative path media/ROW/FILE.

    Whatever comes from a submission is escaped, and the page's own policy lets the browser
    run no script but ours, named by its sha256.
    """
    tables = tables_of(rows)
    views = [table_view(table, number, tables) for number, table in enumerate(tables, 1)]
    measured = [view for view in views if not view.table.is_published]
    media = read_media(board, tables) if board is not None else {}
    script = _script()
    environment = Environment(
        loader=PackageLoader("aa_leaderboard", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        measured=measured,
        published=[view for view in views if view.table.is_published],
        paper=[paper_table(number) for number in CAPTIONS],
        plot=psnr_plot(rows),
        plot_size=(WIDTH_PX, HEIGHT_PX),
        data=page_data(measured, board, media),
        margin=MARGIN,
        num_measured=sum(len(view.rows) for view in measured),
        num_published=sum(row.is_published for row in rows),
        protocols=sorted({row.protocol for row in rows}),
        columns=COLUMNS,
        script=Markup(script),  # our own file, no part of it from a submission
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write_page(rows: Sequence[Row], board: Path | None, title: str, out: Path) -> None:
    """Write out/index.html and, beside it, the clips that it plays."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(render_page(rows, board, title), encoding="utf-8")
    if board is None:
        return
    for row_id, row_media in read_media(board, tables_of(rows)).items():
        target = out / MEDIA_DIR / row_id
        target.mkdir(parents=True, exist_ok=True)
        for file in row_media.files:
            shutil.copyfile(row_media.folder / file.name, target / file.name)


def _script() -> str:
    folder = files("aa_leaderboard") / "page"
    parts = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'
