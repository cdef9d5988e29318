"""One row: its marks, its source, and what of it takes a place, by every reason there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from aa_eval.result import MetricValue, Result
from aa_leaderboard.published import read_published
from aa_leaderboard.row import Published, Row, row_of_result

Make = Callable[..., Result]


def published(**fields: object) -> Row:
    row = next(r for r in read_published() if isinstance(r.origin, Published))
    assert isinstance(row.origin, Published)
    return replace(row, origin=replace(row.origin, note="", **fields))  # type: ignore[arg-type]


def test_a_published_row_says_how_it_was_read() -> None:
    printed = ("published", "published")
    assert published(reading="paper").badges == (printed,)
    assert published(reading="secondary").badges == (printed, ("caution", "second-hand"))
    assert published(reading="issue").badges == (printed, ("caution", "told in an issue"))
    row = published(reading="paper", source="Table 2 of X")
    assert isinstance(row.origin, Published)
    assert row.source == "Table 2 of X"
    conflict = replace(row, origin=replace(row.origin, note="CONFLICT: another number"))
    assert conflict.badges == (printed, ("caution", "sources conflict"))
    assert (row.is_published, row.is_baseline) == (True, False)


def test_a_measured_row_says_what_it_is(make_result: Make) -> None:
    def badges(method: str = "ours", has_frames: bool = True, **fields: object) -> list[str]:
        row = row_of_result("a", make_result(method, **fields), has_frames=has_frames)
        assert not row.is_published
        assert row.badges[0] == ("measured", "measured")
        return [f"{kind}: {words}" for kind, words in row.badges[1:]]

    assert badges(label="measured") == badges(label="") == []
    assert badges(label="demo") == ["demo: demo: synthetic puppets"]
    assert badges(label="demo-real") == ["demo: demo: real people"]
    assert badges(label="ours") == ["demo: ours"]
    assert badges("white", label="baseline") == ["baseline: trivial baseline"]
    assert badges(label="", overrides=("x",)) == ["caution: checks overridden"]
    assert badges(label="", has_frames=False) == ["caution: no values per frame"]
    row = row_of_result("a", make_result(created="2025-01-02T03:04:05+00:00", benchmark="ubc"))
    assert row.source == "aa-eval, 2025-01-02T03:04:05+00:00"
    assert row.benchmark == "ubc"
    assert row_of_result("a", make_result(benchmark=None)).benchmark == "own data"


def test_a_cell_holds_the_value_its_interval_and_its_notes(make_result: Make) -> None:
    metrics = {
        "ssim": MetricValue(0.51234, 0.4, 0.6, None, 9, "a note"),
        "fvd": MetricValue(None, None, None, "no weights", 0, "of I3D"),
        "lpips_alex": MetricValue(None, None, None, None, 0, None),
    }
    cells = row_of_result("a", make_result(metrics=metrics)).cells
    ssim, fvd, lpips = (cells[key] for key in metrics)
    assert (ssim.text, ssim.value, ssim.ci_low, ssim.ci_high) == ("0.512", 0.51234, 0.4, 0.6)
    assert (ssim.note, ssim.unavailable, ssim.ranked) == ("a note", None, True)
    assert (fvd.text, fvd.value, fvd.note, fvd.unavailable) == ("", None, "of I3D", "no weights")
    assert not fvd.ranked
    assert lpips.unavailable == "aa-eval gave no value and no reason"
    baseline = row_of_result("a", make_result("white", label="baseline", metrics=metrics))
    assert not baseline.cells["ssim"].ranked
    assert baseline.cells["ssim"].value == 0.51234


@pytest.mark.parametrize(
    ("key", "protocol", "n", "num_videos", "ranked"),
    [
        ("fvd", "aa-clean-v1", 400, 20, False),
        ("fvd", "aa-clean-v2", 401, 20, True),
        ("fid_vid", "aa-clean-v2", 2048, 20, False),
        ("fid_vid", "aa-clean-v2", 2049, 20, True),
        ("fvd", "tiktok-disco-2023", 1, 20, True),
        ("fvd", "aa-clean-v2", 401, 2, True),  # windows count there, not videos
        ("kvd", "aa-clean-v1", 5000, 20, False),
        ("kvd", "aa-clean-v2", 5000, 20, True),
        ("kvd", "aa-clean-v2", 5000, 9, False),
        ("fid", "aa-clean-v2", 1, 20, True),
        ("ssim", "aa-clean-v1", 1, 1, True),
    ],
)
def test_of_sets_a_place_takes_enough_samples(
    make_result: Make, key: str, protocol: str, n: int, num_videos: int, ranked: bool
) -> None:
    metrics = {key: MetricValue(0.5, None, None, None, n, "told")}
    result = make_result(metrics=metrics, protocol=protocol, num_videos=num_videos)
    cell = row_of_result("a", result).cells[key]
    assert cell.ranked == ranked
    note = str(cell.note)
    assert note.startswith("told")
    assert ("; not ranked: " in note) == (not ranked)
    if key == "fvd" and not ranked:
        assert note.endswith("not ranked: 400 windows in 400 dimensions")


@pytest.mark.parametrize("key", ["fvd", "kvd", "fid_vid", "fid"])
def test_without_values_per_frame_no_set_takes_a_place(make_result: Make, key: str) -> None:
    metrics = {key: MetricValue(0.5, None, None, None, 5000, None)}
    result = make_result(metrics=metrics, protocol="tiktok-disco-2023", num_videos=20)
    assert row_of_result("a", result).cells[key].ranked
    assert not row_of_result("a", result, has_frames=False).cells[key].ranked
    plain = row_of_result("a", make_result(), has_frames=False)
    assert plain.cells["ssim"].ranked


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("no weights: /home/ann/.cache/aa-eval/i3d.pt is missing", "no weights: i3d.pt is missing"),
        ("'/data/w/i3d.pt' is altered", "'i3d.pt' is altered"),
        ("~/w/i3d.pt: lacks x", "i3d.pt: lacks x"),
        (r"C:\Users\ann\i3d.pt: lacks x", "i3d.pt: lacks x"),
        (
            "fetch https://example.org/a/b.pt; 6/8 of the frames; pip install 'a[b]'",
            "fetch https://example.org/a/b.pt; 6/8 of the frames; pip install 'a[b]'",
        ),
    ],
)
def test_the_board_does_not_say_where_files_lie_on_the_machine_that_scored(
    make_result: Make, reason: str, shown: str
) -> None:
    result = make_result(metrics={"fvd": MetricValue(None, None, None, reason, 0, None)})
    assert row_of_result("a", result).cells["fvd"].unavailable == shown
