"""Ranking within one protocol, and the refusal to rank across protocols."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_eval.names import POSE_BETTER
from aa_eval.protocol import KINDS, list_protocols, read_protocol
from aa_eval.result import MetricValue, Result
from aa_eval.scoring.baselines import BASELINES
from aa_leaderboard.columns import COLUMNS, column_of, columns_of
from aa_leaderboard.errors import NotComparableError
from aa_leaderboard.published import read_published
from aa_leaderboard.row import Cell, Measured, Row, row_of_result
from aa_leaderboard.table import SEE_THE_ANSWER, Table, rank, tables_of, why_not_comparable

values = st.lists(
    st.one_of(st.none(), st.floats(-50, 200, allow_nan=False), st.sampled_from([0.0, 1.0])),
    min_size=1,
    max_size=12,
)


def rows_with(key: str, numbers: list[float | None]) -> list[Row]:
    """Published rows of one protocol, one for each number."""
    template = next(row for row in read_published() if row.method == "FOMM")
    return [
        replace(
            template,
            method=f"m{index}",
            cells={} if number is None else {key: Cell(str(number), number)},
        )
        for index, number in enumerate(numbers)
    ]


@given(values, st.sampled_from(["psnr", "fvd"]), st.randoms())
def test_ranks_follow_the_values_whatever_the_order_of_the_rows(
    numbers: list[float | None], key: str, chance: random.Random
) -> None:
    sign = {"psnr": -1, "fvd": 1}[key]
    ranks = rank(rows_with(key, numbers), key)
    for a, rank_a in zip(numbers, ranks, strict=True):
        assert (a is None) == (rank_a is None)
        for b, rank_b in zip(numbers, ranks, strict=True):
            if a is not None and b is not None and rank_a is not None and rank_b is not None:
                assert (rank_a < rank_b) == (sign * a < sign * b)
    present = {number for number in numbers if number is not None}
    assert {r for r in ranks if r is not None} == set(range(1, len(present) + 1))
    order = list(range(len(numbers)))
    chance.shuffle(order)
    assert rank(rows_with(key, [numbers[i] for i in order]), key) == [ranks[i] for i in order]


@given(values)
def test_a_metric_that_the_board_does_not_know_is_never_ranked(
    numbers: list[float | None],
) -> None:
    assert rank(rows_with("vibes", numbers), "vibes") == [None] * len(numbers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol_hash": "00" * 32}, "other protocol"),
        ({"benchmark": "tiktok"}, "other videos: benchmark"),
        ({"num_frames": 36}, "other frames"),
        ({"weights": {"lpips-alex": "00" * 32}}, "other weights of 'lpips-alex'"),
        ({"overrides": ("--allow-missing",)}, "switched off for one only: --allow-missing"),
    ],
)
def test_rows_measured_differently_are_not_ranked_and_the_error_says_why(
    make_result: Callable[..., Result], change: dict[str, object], reason: str
) -> None:
    a = row_of_result("a", make_result("ours"))
    b = row_of_result("b", make_result("theirs", **change))
    with pytest.raises(NotComparableError, match=reason) as caught:
        rank([a, b], "ssim")
    assert "'ours'" in str(caught.value)
    assert "'theirs'" in str(caught.value)
    assert [len(table.rows) for table in tables_of([a, b])] == [1, 1]


def test_rows_scored_on_other_videos_are_not_ranked(make_result: Callable[..., Result]) -> None:
    a = make_result("ours")
    other = {f"clip_{n}": scores for n, scores in enumerate(a.per_video.values())}
    b = replace(make_result("theirs"), per_video=other)
    reason = why_not_comparable(row_of_result("a", a), row_of_result("b", b))
    assert reason is not None
    assert "'clip_0' is in one only" in reason


def test_rows_of_other_reference_frames_or_other_masks_are_not_ranked(
    make_result: Callable[..., Result],
) -> None:
    masks = {"face": "a0" * 32, "hands": "b0" * 32}
    ours = row_of_result("a", make_result("a", regions=masks))
    other = row_of_result("b", make_result("b", regions={"face": "c0" * 32}))
    assert str(why_not_comparable(ours, other)).startswith("other masks of region 'face': ")
    alike = row_of_result("c", make_result("c", regions={"face": masks["face"]}))
    assert why_not_comparable(ours, alike) is None
    assert why_not_comparable(row_of_result("d", make_result("d")), ours) is None
    frames = make_result("e").references | {"video_1": "ff" * 32}
    elsewhere = row_of_result("e", make_result("e", references=frames))
    reason = why_not_comparable(elsewhere, alike)
    assert str(reason).startswith("other reference frames of 'video_1': ffff")


def test_a_metric_within_a_region_is_headed_and_ranked_as_the_metric_is() -> None:
    face = column_of("psnr@face")
    assert (face.heading, face.better, face.low) == ("PSNR* face", "higher", -50)
    keys = ["lpips@hands", "odd", "ssim@face", "fvd", "odd@face", "psnr@face", "ssim"]
    assert [column.key for column in columns_of(keys)] == [
        "ssim", "fvd", "ssim@face", "psnr@face", "lpips@hands", "odd", "odd@face",
    ]  # fmt: skip
    assert column_of("odd@face").better is None


def test_a_published_row_is_never_ranked_with_a_measured_one_even_of_the_same_name(
    make_result: Callable[..., Result],
) -> None:
    published = next(row for row in read_published() if row.benchmark == "tiktok")
    result = make_result("x", benchmark="tiktok", protocol=published.protocol)
    with pytest.raises(NotComparableError, match="printed in a paper"):
        rank([published, row_of_result("x", result)], "ssim")


def test_absent_weights_do_not_part_two_rows_but_their_metric_has_no_rank(
    make_result: Callable[..., Result],
) -> None:
    full = make_result("full")
    absent = MetricValue(None, None, None, "no weights", 0, None)
    lower = MetricValue(0.1, None, None, None, 72, None)
    poor = make_result("poor", metrics={"ssim": lower, "lpips_alex": absent}, weights={})
    rows = [row_of_result("a", full), row_of_result("b", poor)]
    assert rank(rows, "lpips_alex") == [1, None]
    assert rank(rows, "ssim") == [1, 2]


def test_tables_hold_every_row_once_and_only_comparable_ones(
    make_result: Callable[..., Result],
) -> None:
    measured = [
        row_of_result(f"{m}{h}", make_result(m, protocol_hash=h * 32))
        for m in ("a", "b")
        for h in ("01", "02")
    ]
    rows = [*measured, *read_published()]
    tables = tables_of(rows)
    assert sorted(id(row) for table in tables for row in table.rows) == sorted(map(id, rows))
    for table in tables:
        for row in table.rows:
            assert all(why_not_comparable(row, other) is None for other in table.rows)
    for one in tables:
        for other in tables:
            if one is not other:
                assert why_not_comparable(one.rows[0], other.rows[0]) is not None


@pytest.mark.parametrize(
    ("protocol", "ranked"), [("aa-clean-v1", False), ("tiktok-disco-2023", True)]
)
def test_a_rank_deficient_fvd_is_never_ranked_under_the_clean_protocol(
    make_result: Callable[..., Result], protocol: str, ranked: bool
) -> None:
    fvd = MetricValue(600.0, None, None, None, 9, "rank-deficient: N = 9 <= d = 400")
    row = row_of_result("a", make_result(metrics={"fvd": fvd}, protocol=protocol))
    assert rank([row], "fvd") == [1 if ranked else None]


@pytest.mark.parametrize("key", ["fvd", "kvd"])
def test_a_distance_of_sets_without_values_per_frame_is_shown_and_never_ranked(
    make_result: Callable[..., Result], key: str
) -> None:
    metrics = {key: MetricValue(600.0, None, None, None, 5000, None)}
    result = make_result(metrics=metrics, protocol="tiktok-disco-2023", num_videos=10)
    assert rank([row_of_result("a", result)], key) == [1]
    row = row_of_result("a", result, has_frames=False)
    assert rank([row], key) == [None]
    assert ("caution", "no values per frame") in row.badges
    assert "its windows cannot be counted" in str(row.cells[key].note)


def test_kvd_of_paired_sets_is_never_ranked_under_the_version_that_favours_degraded_copies(
    make_result: Callable[..., Result],
) -> None:
    metrics = {"kvd": MetricValue(-577.8, None, None, None, 5000, None)}
    row = row_of_result("a", make_result(metrics=metrics))
    assert rank([row], "kvd") == [None]
    assert "favours degraded copies" in str(row.cells["kvd"].note)


@pytest.mark.parametrize(("num_videos", "place"), [(9, None), (10, 1)])
def test_kvd_of_fewer_videos_than_tiktok_has_is_never_ranked(
    make_result: Callable[..., Result], num_videos: int, place: int | None
) -> None:
    metrics = {"kvd": MetricValue(5.0, None, None, None, 5000, None)}
    result = make_result(metrics=metrics, protocol="aa-clean-v2", num_videos=num_videos)
    assert rank([row_of_result("a", result)], "kvd") == [place]


def test_kvd_is_not_ranked_where_aa_eval_says_so_of_videos_without_a_window(
    make_result: Callable[..., Result],
) -> None:
    metrics = {"kvd": MetricValue(5.0, None, None, None, 5000, "not ranked: 2 videos < 10")}
    result = make_result(metrics=metrics, protocol="aa-clean-v2", num_videos=12)
    assert rank([row_of_result("a", result)], "kvd") == [None]


def test_fewer_samples_than_dimensions_are_never_ranked_whatever_the_note_says(
    make_result: Callable[..., Result],
) -> None:
    # I3D gives 400 logits, 3D-ResNet-50 2048 features.
    for key, n, place in (("fvd", 400, None), ("fvd", 401, 1),
                          ("fid_vid", 2048, None), ("fid_vid", 2049, 1)):  # fmt: skip
        distance = MetricValue(600.0, None, None, None, n, "")
        row = row_of_result("a", make_result(metrics={key: distance}))
        assert rank([row], key) == [place], (key, n)


def test_the_baselines_that_see_the_answer_are_those_that_another_truth_changes() -> None:
    """Two videos that share their first frame, which every method is given."""
    first, *one = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    other = [255 - frame for frame in one]
    seeing = set()
    for name, make in BASELINES.items():
        predict, predict_other = make(), make()
        predict(first), predict_other(first)
        pairs = [(predict(a), predict_other(b)) for a, b in zip(one, other, strict=True)]
        if not all(np.array_equal(a, b) for a, b in pairs):
            seeing.add(name)
    assert seeing == SEE_THE_ANSWER


def test_a_column_in_which_a_baseline_keeps_up_is_flagged(
    make_result: Callable[..., Result],
) -> None:
    def result(method: str, label: str, ssim: float, psnr: float, lpips: float) -> Row:
        metrics = {
            "ssim": MetricValue(ssim, ssim - 0.05, ssim + 0.05, None, 9, None),
            "psnr": MetricValue(psnr, psnr - 0.5, psnr + 0.5, None, 9, None),
            "lpips_alex": MetricValue(lpips, lpips - 0.05, lpips + 0.05, None, 9, None),
        }
        return row_of_result(method, make_result(method, label=label, metrics=metrics))

    rows = [
        result("ours", "measured", 0.80, 25.0, 0.30),
        result("white", "baseline", 0.77, 15.0, 0.80),
        result("previous-frame", "baseline", 0.90, 15.0, 0.34),
    ]
    (table,) = tables_of(rows)
    assert table.flags.keys() == {"ssim", "lpips_alex"}
    ssim, lpips = table.flags["ssim"], table.flags["lpips_alex"]
    assert ssim.words == "white 0.770, previous-frame 0.900 against 0.800"
    assert not ssim.only_with_answer
    assert lpips.words == "previous-frame 0.340 against 0.300"
    assert lpips.only_with_answer, "white knows nothing and does not come near"
    assert isinstance(rows[1].origin, Measured)
    assert ("baseline", "trivial baseline") in rows[1].badges
    assert rank(rows, "ssim") == [1, None, None], "a baseline takes no place"


def test_a_baseline_is_flagged_exactly_from_the_end_of_the_interval_on(
    make_result: Callable[..., Result],
) -> None:
    best = MetricValue(0.30, 0.25, 0.40, None, 9, None)
    ours = row_of_result("a", make_result("ours", metrics={"lpips_alex": best}))
    for value, flagged in ((0.4001, False), (0.40, True), (0.1, True)):
        trivial = MetricValue(value, None, None, None, 9, None)
        white = make_result("white", label="baseline", metrics={"lpips_alex": trivial})
        (table,) = tables_of([ours, row_of_result("b", white)])
        assert ("lpips_alex" in table.flags) == flagged


def board_with(make_result: Callable[..., Result], baseline: str, value: float) -> Table:
    """A losing or winning method and a baseline: LPIPS .342, lower is better, and SSIM .5."""

    def row(method: str, label: str, lpips: float) -> Row:
        metrics = {
            "ssim": MetricValue(0.5 if label == "measured" else 0.1, None, None, None, 9, None),
            "lpips_alex": MetricValue(lpips, None, None, None, 9, None),
        }
        return row_of_result(method, make_result(method, label=label, metrics=metrics))

    rows = [row("ours", "measured", 0.342), row(baseline, "baseline", value)]
    (table,) = tables_of(rows)
    return table


def test_where_a_baseline_that_knows_nothing_wins_no_method_has_a_place(
    make_result: Callable[..., Result],
) -> None:
    table = board_with(make_result, "repeat-reference", 0.1)
    assert table.places("lpips_alex") == [None, None]
    assert table.places("ssim") == [1, None]
    assert (table.is_won("lpips_alex"), table.is_won("ssim")) == (False, True)
    assert table.verdict() == (
        "A trivial baseline (repeat-reference) is better than every method in LPIPS alex: nothing "
        "is marked best there."
    )


def test_where_only_a_baseline_made_from_the_true_frames_wins_the_best_has_a_place_uncoloured(
    make_result: Callable[..., Result],
) -> None:
    table = board_with(make_result, "previous-frame", 0.1)
    assert table.places("lpips_alex") == [1, None]
    assert not table.is_won("lpips_alex")
    assert "made from the true frames" in table.verdict()


@pytest.mark.parametrize("value", [0.342, 0.5])
def test_a_baseline_that_is_only_as_good_or_worse_takes_nothing_away(
    make_result: Callable[..., Result], value: float
) -> None:
    table = board_with(make_result, "repeat-reference", value)
    assert table.verdict() == ""
    assert table.is_won("lpips_alex")
    assert table.places("lpips_alex") == [1, None]


@pytest.mark.parametrize("key", ["identity_lpips", "picd"])
def test_a_still_picture_that_is_perfect_by_definition_takes_the_colour_but_not_the_place(
    make_result: Callable[..., Result], key: str
) -> None:
    for name, place in (("repeat-reference", 1), ("static of ours", 1), ("other-photo", None)):
        rows = [
            row_of_result(
                method,
                make_result(
                    method,
                    label=label,
                    metrics={key: MetricValue(value, None, None, None, 9, None)},
                ),
            )
            for method, label, value in (
                ("ours", "measured", 0.3), ("theirs", "measured", 0.2), (name, "baseline", 0.1),
            )
        ]  # fmt: skip
        table = Table("own data", "aa-cross-v1", tuple(rows))
        assert table.places(key)[1] == place
        assert not table.is_won(key)
        assert ("a still picture is perfect there by definition" in table.verdict()) == bool(place)
        # with true videos nothing is perfect by definition
        assert Table("own data", "aa-person-v1", tuple(rows)).places(key)[1] is None


HIGHER = ("ssim", "psnr", "psnr_overflow", "csim", "pck", "ssim_differences", "ssim@face")
LOWER = (
    "lpips", "lpips_alex", "lpips_vgg", "fvd", "fid_vid", "fid", "l1", "akd", "missing_rate",
    "dtssd", "flicker", "tlpips", "tof", "warp_error", "lpips@hands",
    "limb_angle", "identity_limbs", "identity_lpips", "photo_lpips", "photo_colour",
    "flicker_own", "warp_error_own", "picd", "pape", "cd_fvd", "jedi", "fvmd",
)  # fmt: skip


@pytest.mark.parametrize("key", [*HIGHER, *LOWER])
def test_every_metric_is_ranked_in_its_own_direction(key: str) -> None:
    best_first = [1, 2] if key in HIGHER else [2, 1]
    assert rank(rows_with(key, [0.9, 0.2]), key) == best_first
    column = column_of(key)
    assert column.arrow == ("↑" if key in HIGHER else "↓")


def test_every_metric_of_every_protocol_is_ranked_as_aa_eval_says() -> None:
    for name in list_protocols():
        for metric in read_protocol(name).metrics:
            assert column_of(metric.key).better == KINDS[metric.kind].better, metric.key
    for key, better in POSE_BETTER.items():
        assert column_of(key).better == better


def test_every_known_metric_is_in_one_of_the_lists_of_directions() -> None:
    unranked = {"psnr_unknown"}
    listed = {*HIGHER, *LOWER, "kvd"} - {"ssim@face", "lpips@hands"}
    assert {column.key for column in COLUMNS} == listed | unranked
    assert column_of("kvd").better == "lower"
    assert column_of("psnr_unknown").better is None


# How a table prints 0.123456, with as many digits as the papers.
PRINTED = {
    "0.123": "ssim lpips lpips_alex lpips_vgg csim pck missing_rate ssim_differences "
    "identity_lpips photo_lpips picd pape jedi",
    "0.12": "psnr psnr_overflow psnr_unknown kvd fid fid_vid akd dtssd flicker tof flicker_own",
    "0.1": "fvd cd_fvd fvmd limb_angle identity_limbs photo_colour",
    "0.1235": "tlpips warp_error warp_error_own a_metric_of_somebody",
    "1.23E-01": "l1",
}


@pytest.mark.parametrize("text", PRINTED)
def test_every_metric_is_printed_with_its_number_of_digits(text: str) -> None:
    keys = PRINTED[text].split()
    assert {key: column_of(key).text_of(0.123456) for key in keys} == dict.fromkeys(keys, text)
    listed = {key for group in PRINTED.values() for key in group.split()}
    assert listed - {"a_metric_of_somebody"} == {column.key for column in COLUMNS}


def test_a_value_is_never_printed_as_0_that_is_not() -> None:
    assert column_of("warp_error").text_of(3.05e-6) == "3.05E-06"
    assert column_of("warp_error").text_of(0.0) == "0.0000"
    assert column_of("ssim").text_of(0.7184) == "0.718"
    assert column_of("l1").text_of(3.784e-4) == "3.78E-04"
