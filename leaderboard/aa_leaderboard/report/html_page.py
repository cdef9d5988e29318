"""The pages: static HTML that opens from disk and asks nothing of any network."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from aa_eval.protocol import list_protocols
from aa_leaderboard.board.media import MEDIA_DIR
from aa_leaderboard.columns import COLUMNS
from aa_leaderboard.page_files import page_script, page_template, script_hash
from aa_leaderboard.paper_tables import CAPTIONS, paper_table
from aa_leaderboard.published import published_protocols, read_conflicts
from aa_leaderboard.report.page_data import page_data, read_media
from aa_leaderboard.report.psnr_plot import psnr_orders, psnr_pairs, psnr_svg
from aa_leaderboard.report.quotes import printings, quotes, timeline
from aa_leaderboard.report.table_view import table_view
from aa_leaderboard.row import Row
from aa_leaderboard.table import MARGIN, tables_of

# In one scope and in this order: each part uses names of those before it.
SCRIPTS = ("base.js", "scatter.js", "player.js", "worst.js", "drift.js")
SOURCES_PAGE = "sources.html"


def write_page(rows: Sequence[Row], board: Path | None, title: str, out: Path) -> None:
    """Write out/index.html, the page of sources, and the clips that are played."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(render_page(rows, board, title), encoding="utf-8")
    (out / SOURCES_PAGE).write_text(render_sources(rows, title), encoding="utf-8")
    for row_id, row_media in read_media(board, rows).items():
        target = out / MEDIA_DIR / row_id
        target.mkdir(parents=True, exist_ok=True)
        for file in row_media.files:
            shutil.copyfile(row_media.folder / file.name, target / file.name)


def render_page(rows: Sequence[Row], board: Path | None, title: str) -> str:
    """The board as text; clips are linked by the relative path media/ROW/FILE.

    Whatever comes from a submission is escaped, and the page's own policy lets the browser
    run no script but ours, named by its sha256.
    """
    tables = tables_of(rows)
    views = [table_view(table, number, tables) for number, table in enumerate(tables, 1)]
    measured = [view for view in views if not view.table.is_published]
    groups = [known.group for known in published_protocols().values()]
    published = [view for view in views if view.table.is_published]
    published.sort(key=lambda view: groups.index(view.group) if view.group else len(groups))
    pairs = psnr_pairs(rows)
    script = page_script(*SCRIPTS)
    return page_template("page.html.j2").render(
        title=title,
        measured=measured,
        published=[(name, list(of)) for name, of in groupby(published, lambda view: view.group)],
        paper=[paper_table(number) for number in CAPTIONS],
        psnr_plot=Markup(psnr_svg(pairs)),  # names in it are escaped by matplotlib and by us
        psnr_orders=psnr_orders(pairs),
        data=page_data(measured, board, read_media(board, rows)),
        margin=MARGIN,
        num_measured=sum(len(view.rows) for view in measured),
        num_published=sum(row.is_published for row in rows),
        num_conflicts=len(read_conflicts()),
        sources_page=SOURCES_PAGE,
        aa_protocols=list_protocols(),
        protocols=sorted({row.protocol for row in rows}),
        columns=COLUMNS,
        script=Markup(script),  # our own files, no part of them from a submission
        script_hash=script_hash(script),
    )


def render_sources(rows: Sequence[Row], title: str) -> str:
    """The page "where each number comes from": conflicts, who quotes whom, every printing."""
    published = [row for row in rows if row.is_published]
    found = quotes(published)
    return page_template("sources.html.j2").render(
        title=title,
        conflicts=read_conflicts(),
        quotes=found,
        timeline=timeline(found),
        printings=printings(published),
    )
