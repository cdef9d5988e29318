"""What the page shows of one table: places, bars, notes by number, parts, and the order of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from aa_eval.result import MetricValue, Result
from aa_leaderboard.published import published_protocols, read_published
from aa_leaderboard.report.table_view import MAX_OVERRIDES, table_view
from aa_leaderboard.row import Row, row_of_result
from aa_leaderboard.table import Table, tables_of

Make = Callable[..., Result]


def row_with(make_result: Make, method: str, label: str = "measured", **given: object) -> Row:
    """A measured row; each value is a number, or (value, ci_low, ci_high), or a MetricValue."""
    overrides = given.pop("overrides", ())
    metrics = {}
    for key, value in given.items():
        if isinstance(value, MetricValue):
            metrics[key.replace("__", "@")] = value
        else:
            ends = value if isinstance(value, tuple) else (value, None, None)
            metrics[key.replace("__", "@")] = MetricValue(*ends, None, 9, None)  # type: ignore[arg-type]
    return row_of_result(
        method, make_result(method, label=label, metrics=metrics, overrides=overrides)
    )


def table_of(*rows: Row) -> Table:
    return Table("own data", "aa-clean-v1", rows)


def test_rows_stand_in_the_order_of_lpips_and_those_without_a_place_last(make_result: Make) -> None:
    def order(**values: tuple[float | None, float | None, float | None]) -> list[str]:
        rows = [
            row_with(make_result, name, **{k: v[n] for k, v in values.items() if v[n] is not None})
            for n, name in enumerate("abc")
        ]
        return [view.row.method for view in table_view(table_of(*rows), 1, ()).rows]

    assert order(ssim=(0.9, 0.8, 0.7), lpips_alex=(0.3, None, 0.1)) == ["c", "a", "b"]
    assert order(lpips_vgg=(0.3, 0.2, 0.1), lpips_alex=(0.1, 0.2, 0.3)) == ["a", "b", "c"]
    assert order(ssim=(0.9, 0.8, 0.7), lpips_vgg=(0.3, 0.2, 0.1)) == ["c", "b", "a"]
    assert order(ssim=(0.7, 0.9, 0.8)) == ["b", "c", "a"]
    assert order(vibes=(0.7, 0.9, 0.8)) == ["a", "b", "c"], "the better direction is unknown"
    assert order(vibes=(0.7, 0.9, 0.8), ssim=(0.7, 0.9, 0.8)) == ["b", "c", "a"]


def test_published_rows_stay_in_their_order_and_have_their_protocols_words() -> None:
    tables = tables_of(read_published())
    table = next(t for t in tables if t.protocol == "tiktok-disco")
    view = table_view(table, 3, tables)
    assert [r.row for r in view.rows] == list(table.rows)
    assert (view.anchor, view.name) == ("table-3", f"3: {table.benchmark} · tiktok-disco")
    known = published_protocols()["tiktok-disco"]
    assert view.group == known.group
    assert (
        view.about == f"{known.about}; aa-eval --protocol {known.recompute_with} scores as it does"
    )
    assert all(r.kind == "published" and r.published and r.measured is None for r in view.rows)
    told = next(r for r in view.rows if r.published and r.published.note)
    assert told.published is not None
    assert told.note_number is not None
    assert view.notes[told.note_number - 1] == told.published.note
    without = [t for t in tables if not published_protocols()[t.protocol].recompute_with]
    assert without
    assert "aa-eval --protocol" not in table_view(without[0], 1, tables).about


def test_bars_span_values_and_intervals_with_four_percent_around(make_result: Make) -> None:
    rows = (
        row_with(make_result, "a", lpips_alex=(0.2, 0.1, 0.35)),
        row_with(make_result, "b", lpips_alex=0.6),
    )
    cells = [r.cells[0] for r in table_view(table_of(*rows), 1, ()).rows]
    # From 0.1 - 0.02 to 0.6 + 0.02: an extent of 0.54.
    assert cells[0].bar == pytest.approx([100 * x / 0.54 for x in (0.12, 0.02, 0.27)], abs=0.005)
    assert cells[1].bar == (pytest.approx(100 * 0.52 / 0.54, abs=0.005), None, None)
    assert [cell.interval for cell in cells] == ["0.100 to 0.350", ""]
    assert [cell.place for cell in cells] == [1, 2]
    assert [cell.won for cell in cells] == [True, False]
    alone = table_view(table_of(row_with(make_result, "a", ssim=0.5)), 1, ()).rows[0].cells[0]
    assert alone.bar == (None, None, None), "one value has no scale"
    same = [row_with(make_result, name, ssim=0.5) for name in "ab"]
    assert table_view(table_of(*same), 1, ()).rows[1].cells[0].bar == (None, None, None)


def test_a_cell_that_is_missing_and_one_that_could_not_be_computed(make_result: Make) -> None:
    gone = MetricValue(None, None, None, "no weights", 0, "and a note")
    rows = (
        row_with(make_result, "a", ssim=0.5, fvd=gone, lpips_alex=0.1),
        row_with(make_result, "b", lpips_alex=0.2, fvd=gone),
    )
    view = table_view(table_of(*rows), 1, ())
    assert [c.key for c in view.columns] == ["ssim", "lpips_alex", "fvd"]
    missing, unavailable = view.rows[1].cells[0], view.rows[1].cells[2]
    assert (missing.cell, missing.place, missing.won, missing.bar) == (
        None,
        None,
        False,
        (None,) * 3,
    )
    assert (missing.interval, missing.note_number) == ("", None)
    assert view.notes == ("FVD: no weights; and a note",), "equal notes share one number"
    assert unavailable.note_number == view.rows[0].cells[2].note_number == 1
    assert unavailable.place is None


def test_overrides_are_told_in_one_note_at_most_four_of_them(make_result: Make) -> None:
    def note(count: int) -> str:
        row = row_with(make_result, "a", ssim=0.5, overrides=tuple(f"o{n}" for n in range(count)))
        view = table_view(table_of(row), 1, ())
        assert (view.rows[0].note_number is None) == (count == 0)
        return " ".join(view.notes)

    assert MAX_OVERRIDES == 4
    assert note(0) == ""
    assert note(4) == "checks overridden on the command line: o0; o1; o2; o3"
    assert note(6) == (
        "checks overridden on the command line: o0; o1; o2; o3; and 2 more, all of them under "
        "provenance"
    )


def test_a_row_is_filtered_as_what_it_is(make_result: Make) -> None:
    labels = {"": "measured", "measured": "measured", "demo": "demo", "mine": "demo"}
    for label, kind in {**labels, "baseline": "baseline"}.items():
        row = row_with(make_result, "white", label, ssim=0.5)
        (view,) = table_view(table_of(row), 1, ()).rows
        assert (view.kind, view.published, view.measured) == (kind, None, row.origin)


def test_parts_hold_as_many_columns_as_have_room_and_a_region_starts_its_own(
    make_result: Make,
) -> None:
    whole = [
        "ssim", "psnr_overflow", "psnr", "lpips_alex", "lpips_vgg", "fvd", "kvd", "fid", "l1",
        "csim",
    ]  # fmt: skip
    row = row_with(make_result, "a", **dict.fromkeys(whole, 0.5), ssim__face=0.5, l1__face=0.5,
                   ssim__hands=0.5)  # fmt: skip
    view = table_view(table_of(row), 1, ())
    assert view.parts == (tuple(range(9)), (9,), (10, 11), (12,))
    wide = [
        "lpips_alex", "lpips_vgg", "identity_limbs", "identity_lpips", "photo_lpips",
        "warp_error", "limb_angle", "fvd",
    ]  # fmt: skip
    narrower = table_view(table_of(row_with(make_result, "a", **dict.fromkeys(wide, 0.5))), 1, ())
    assert narrower.parts == ((0, 1, 2, 3, 4, 5, 6), (7,))
    assert [view.columns[i].key for i in view.parts[2]] == ["ssim@face", "l1@face"]


def test_a_part_speaks_of_its_own_columns_alone(make_result: Make) -> None:
    rows = (
        row_with(make_result, "ours", lpips_alex=0.3, ssim__face=0.5),
        row_with(make_result, "repeat-reference", "baseline", lpips_alex=0.1, ssim__face=0.1),
    )
    view = table_view(table_of(*rows), 1, ())
    assert view.parts == ((0,), (1,))
    assert "better than every method in LPIPS alex" in view.verdict(view.parts[0])
    assert view.verdict(view.parts[1]) == ""
    assert [flag.column.key for flag in view.flags] == ["lpips_alex"]
    assert not any(cell.won for r in view.rows for cell in r.cells[:1])


def test_what_was_measured_and_why_tables_stand_apart(make_result: Make) -> None:
    ours = row_with(make_result, "ours", ssim=0.5)
    assert not ours.is_published
    theirs = row_of_result("b", make_result("b", protocol="aa-clean-v2", protocol_hash="ef" * 32))
    elsewhere = row_of_result("c", make_result("c", benchmark="ubc"))
    tables = (table_of(ours), Table("own data", "aa-clean-v2", (theirs,)),
              Table("ubc", "aa-clean-v1", (elsewhere,)))  # fmt: skip
    view = table_view(tables[0], 1, tables)
    assert view.group == ""
    assert view.about.startswith("protocol aa-clean-v1 version 1, content hash ")
    assert view.about.endswith("; 3 videos, 72 frames")
    result = make_result()
    assert f"content hash {result.protocol_hash[:12]};" in view.about
    (reason,) = view.apart
    assert reason.startswith("aa-clean-v2 (1 row): other protocol")


def test_a_protocol_that_nobody_knows_has_no_words(make_result: Make) -> None:
    strange = replace(read_published()[0], protocol="unknown-protocol")
    view = table_view(Table(strange.benchmark, "unknown-protocol", (strange,)), 1, ())
    assert (view.group, view.about) == ("", "")
