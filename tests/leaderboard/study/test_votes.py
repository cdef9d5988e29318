"""What a study's votes say: known strengths are found, and votes that do not belong are refused."""

from __future__ import annotations

import csv
import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from aa_leaderboard.errors import StudyError
from aa_leaderboard.study.key import SCHEMA, BlindClip, Key, write_key
from aa_leaderboard.study.plan import plan_trials
from aa_leaderboard.study.votes import COLUMNS, bradley_terry, krippendorff_alpha, study_report

STRENGTHS = {"ours": 1.0, "theirs": 0.2, "old": -1.2}
TIE = -0.4  # log strength of a tie
VIDEOS = [f"v{n}" for n in range(10)]


def test_of_every_two_methods_each_stands_left_as_often_as_right() -> None:
    trials = plan_trials(list(STRENGTHS), VIDEOS, checks=3, seed=5)
    pairs = [trial for trial in trials if not trial.spoilt]
    assert len(pairs) == 3 * len(VIDEOS)
    for a, b in combinations(STRENGTHS, 2):
        left = Counter(t.left for t in pairs if {t.left, t.right} == {a, b})
        assert left == {a: 5, b: 5}
        assert sorted(t.video for t in pairs if {t.left, t.right} == {a, b}) == VIDEOS
    checks = [trial for trial in trials if trial.spoilt]
    assert [check.left == check.right for check in checks] == [True] * 3
    assert {check.spoilt for check in checks} == {"left", "right"}


@pytest.mark.parametrize("methods", [[], ["one"], ["same", "same"]])
def test_a_study_needs_two_methods_of_different_names(methods: list[str]) -> None:
    with pytest.raises(StudyError, match="expected two folders or more"):
        plan_trials(methods, VIDEOS, 0, 0)


def test_bradley_terry_of_two_methods_without_ties_is_the_log_odds() -> None:
    counts = np.zeros((2, 2, 2))
    counts[0, 1, 0], counts[1, 0, 0] = 7_500, 2_500
    a, b = bradley_terry(counts)
    assert a - b == pytest.approx(np.log(3), abs=1e-3)
    assert a + b == pytest.approx(0)


def test_bradley_terry_finds_the_strengths_that_made_the_votes_ties_included() -> None:
    strengths = np.array([1.0, 0.2, -1.2])
    counts = np.zeros((3, 3, 2))
    for i, j in combinations(range(3), 2):
        tie = np.exp(TIE + (strengths[i] + strengths[j]) / 2)
        chances = np.array([np.exp(strengths[i]), np.exp(strengths[j]), tie])
        counts[i, j, 0], counts[j, i, 0], counts[i, j, 1] = 1e5 * chances / chances.sum()
    assert bradley_terry(counts) == pytest.approx(strengths, abs=1e-3)


def test_a_method_that_wins_always_has_a_finite_score_and_all_ties_are_equal_scores() -> None:
    counts = np.zeros((2, 2, 2))
    counts[0, 1, 0] = 10
    assert 1 < bradley_terry(counts)[0] < 10
    counts = np.zeros((2, 2, 2))
    counts[0, 1, 1] = 10
    assert bradley_terry(counts) == pytest.approx([0, 0], abs=1e-9)


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: nominal 0.743
    raters = [
        "123321412...",
        "1233224125.3",
        ".33323422 51.".replace(" ", ""),
        "123324412 51.".replace(" ", ""),
    ]
    units = [[r[u] for r in raters if r[u] != "."] for u in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) == 1
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([["a", "b"], ["a", "b"], ["a", "a"], ["b", "b"]] * 25) == (
        pytest.approx(0, abs=0.02)
    )


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Key]:
    """A study's folder with its key, as `make_study` would write it."""
    names = iter(f"{n:010x}" for n in range(1000))
    clips: dict[str, BlindClip] = {}
    trials = {}
    for n, trial in enumerate(plan_trials(list(STRENGTHS), VIDEOS, 2, 0)):
        pair = []
        for side, method in (("left", trial.left), ("right", trial.right)):
            clip = BlindClip(method, trial.video, trial.spoilt == side)
            name = next((k for k, c in clips.items() if c == clip), None) or next(names)
            clips[name] = clip
            pair.append(name)
        trials[f"t{n:03d}"] = (pair[0], pair[1])
    key = Key(SCHEMA, "abc", "Which is better?", list(STRENGTHS), clips, trials)
    write_key(tmp_path / "key.json", key)
    return tmp_path, key


def vote(folder: Path, key: Key, rater: str, *, blindly: bool = False) -> Path:
    """Votes by the known strengths, or always left."""
    draw = random.Random(rater)
    lines = []
    for trial, clips in key.trials.items():
        left, right = draw.sample(clips, 2)
        a, b = key.clips[left], key.clips[right]
        if blindly:
            choice = "left"
        elif a.spoilt or b.spoilt:
            choice = "right" if a.spoilt else "left"
        else:
            s, t = STRENGTHS[a.method], STRENGTHS[b.method]
            weights = [np.exp(s), np.exp(t), np.exp(TIE + (s + t) / 2)]
            choice = draw.choices(["left", "right", "tie"], weights)[0]
        lines.append([key.study, rater, trial, left, right, choice, "4.2"])
    path = folder / f"votes-{rater}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *lines])
    return path


def test_raters_of_known_preference_give_their_strengths_back(study: tuple[Path, Key]) -> None:
    folder, key = study
    for n in range(12):
        vote(folder, key, f"rater {n}")
    report = study_report([folder])
    assert report.scores.method.to_dict() == {0: "ours", 1: "theirs", 2: "old"}
    for line in report.scores.itertuples():
        assert line.low < STRENGTHS[line.method] < line.high
        assert line.low < line.score < line.high
        assert line.won + line.tied + line.lost == 12 * 20
    clear = report.pairs.set_index(["a", "b"]).clear
    assert clear["ours", "old"] == clear["theirs", "old"] == "yes"
    assert (report.num_raters, report.num_votes, report.inattentive) == (12, 360, ())
    assert report.alpha is not None
    assert 0 < report.alpha < 1
    assert 0.4 < report.left < 0.6
    assert 0 < report.ties < 0.4
    text = report.to_markdown()
    assert "Which is better?" in text
    assert "Krippendorff" in text


def test_a_few_votes_that_agree_make_nothing_clear(study: tuple[Path, Key]) -> None:
    folder, key = study
    pair = {"ours", "old"}
    trials = [t for t, two in key.trials.items() if {key.clips[c].method for c in two} == pair]
    for count, clear in ((1, "no"), (5, "no"), (6, "yes")):
        votes = []
        for trial in trials[:count]:
            left, right = key.trials[trial]
            choice = "left" if key.clips[left].method == "ours" else "right"
            votes.append([key.study, "r", trial, left, right, choice, "4.2"])
        with (folder / "votes.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *votes])
        report = study_report([folder / "votes.csv"])
        assert report.pairs.set_index(["a", "b"]).clear["ours", "old"] == clear
    other_side = {"left": "right", "right": "left"}
    with (folder / "votes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *([*v[:5], other_side[v[5]], v[6]] for v in votes)])
    best_first = study_report([folder / "votes.csv"]).scores.method.to_dict()
    assert best_first == {0: "old", 1: "theirs", 2: "ours"}


def test_sides_do_not_matter_only_what_stood_on_them(study: tuple[Path, Key]) -> None:
    folder, key = study
    path = vote(folder, key, "r")
    before = study_report([path]).scores
    with path.open(newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    other = {"left": "right", "right": "left", "tie": "tie"}
    swapped = [[*line[:3], line[4], line[3], other[line[5]], line[6]] for line in lines]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *swapped])
    assert study_report([path]).scores.equals(before)


def test_a_rater_who_fails_a_check_is_left_out_unless_kept(study: tuple[Path, Key]) -> None:
    folder, key = study
    vote(folder, key, "careful")
    vote(folder, key, "blind", blindly=True)
    report = study_report([folder])
    assert report.inattentive == ("blind",)
    assert report.num_raters == 1
    assert study_report([folder], keep_inattentive=True).num_raters == 2
    (folder / "votes-careful.csv").unlink()
    with pytest.raises(StudyError, match="every rater failed an attention check"):
        study_report([folder])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda line: ["other", *line[1:]], "is of study 'other', the key of 'abc'"),
        (lambda line: [*line[:2], "t999", *line[3:]], "'t999' does not show these two clips"),
        (lambda line: [*line[:3], "ffff", *line[4:]], "does not show these two clips"),
        (lambda line: [*line[:5], "both", line[6]], "choice is 'both'"),
        (lambda line: [line[0], " ", *line[2:]], "rater ' '"),
        (lambda line: line[:6], "choice|not a table|columns"),
    ],
)
def test_votes_that_do_not_belong_are_refused_by_line(
    study: tuple[Path, Key], change: object, why: str
) -> None:
    folder, key = study
    path = vote(folder, key, "r")
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    lines[3] = change(lines[3])  # type: ignore[operator]
    if len(lines[3]) < 7:
        lines = [line[:6] for line in lines]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    with pytest.raises(StudyError, match=why):
        study_report([path])


def test_a_file_sent_twice_counts_once_and_two_opinions_of_one_rater_are_refused(
    study: tuple[Path, Key],
) -> None:
    folder, key = study
    path = vote(folder, key, "r")
    (folder / "again.csv").write_bytes(path.read_bytes())
    assert study_report([folder]).num_votes == 30
    head, *lines = path.read_text().splitlines()
    other = [line.replace(",left,", ",X,").replace(",right,", ",left,") for line in lines]
    text = "\n".join([head, *(line.replace(",X,", ",right,") for line in other)])
    (folder / "again.csv").write_text(text)
    with pytest.raises(StudyError, match="rater 'r' voted twice on t"):
        study_report([folder])


def test_what_is_missing_is_named(study: tuple[Path, Key], tmp_path: Path) -> None:
    folder, key = study
    with pytest.raises(StudyError, match="no votes: give CSV files"):
        study_report([folder])
    path = vote(folder, key, "r")
    (folder / "key.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(StudyError, match="give --key"):
        study_report([path])
    assert study_report([path], tmp_path / "elsewhere.json").num_votes == 30
    (tmp_path / "elsewhere.json").write_text("{}")
    with pytest.raises(StudyError, match="not the key of a study"):
        study_report([path], tmp_path / "elsewhere.json")


def _write_votes(path: Path, key: Key, choices: dict[str, dict[str, str]]) -> Path:
    """Rater -> trial -> the method that was preferred, or "tie"."""
    lines = []
    for rater, of in choices.items():
        for trial, preferred in of.items():
            left, right = key.trials[trial]
            side = {key.clips[left].method: "left", key.clips[right].method: "right", "tie": "tie"}
            lines.append([key.study, rater, trial, left, right, side[preferred], "4.2"])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *lines])
    return path


def test_counts_of_wins_ties_and_losses_are_those_of_the_votes(study: tuple[Path, Key]) -> None:
    folder, key = study
    between = {frozenset(key.clips[c].method for c in clips): t for t, clips in key.trials.items()}
    choices = {
        "r": {between[frozenset({"ours", "old"})]: "ours",
              between[frozenset({"ours", "theirs"})]: "tie",
              between[frozenset({"theirs", "old"})]: "theirs"},
        "s": {between[frozenset({"ours", "old"})]: "old",
              between[frozenset({"ours", "theirs"})]: "ours"},
    }  # fmt: skip
    report = study_report([_write_votes(folder / "votes.csv", key, choices)])
    counts = report.scores.set_index("method")[["won", "tied", "lost"]]
    assert counts.T.to_dict("list") == {"ours": [2, 1, 1], "theirs": [1, 1, 1], "old": [1, 0, 2]}
    pairs = report.pairs.set_index(["a", "b"])[["for a", "for b", "ties"]]
    found = {frozenset(p): dict(zip(p, row[:2], strict=True)) | {"tie": row[2]}
             for p, row in zip(pairs.index, pairs.to_numpy().tolist(), strict=True)}  # fmt: skip
    assert found[frozenset({"ours", "theirs"})] == {"ours": 1, "theirs": 0, "tie": 1}
    assert found[frozenset({"ours", "old"})] == {"ours": 1, "old": 1, "tie": 0}
    assert (report.num_raters, report.num_votes, report.ties) == (2, 5, 0.2)
    # Agreement of the two pairs that both saw: ours/old against each other, tie against ours.
    assert report.alpha == pytest.approx(
        krippendorff_alpha([["ours", "old"], ["tie", "ours"], ["theirs"]])
    )
    assert f"Ties: {report.ties:.0%} of the votes." in report.to_markdown()
    alone = study_report([_write_votes(folder / "votes.csv", key, {"r": choices["r"]})])
    assert alone.alpha is None
    assert "no pair was seen by two raters" in alone.to_markdown()


def test_the_share_of_left_counts_votes_for_a_side_alone(study: tuple[Path, Key]) -> None:
    folder, key = study
    trials = [t for t, clips in key.trials.items()
              if len({key.clips[c].method for c in clips}) == 2][:4]  # fmt: skip
    choices = ("left", "left", "right", "tie")
    lines = [[key.study, "r", trial, *key.trials[trial], choice, "4.2"]
             for trial, choice in zip(trials, choices, strict=True)]  # fmt: skip

    def left(some: list[list[str]]) -> float:
        with (folder / "votes.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *some])
        return study_report([folder / "votes.csv"]).left

    assert left(lines) == pytest.approx(2 / 3)
    assert left(lines[3:]) == 0.5, "ties alone say nothing of sides"


def test_the_key_is_found_in_the_folder_of_the_votes_or_the_one_above(
    study: tuple[Path, Key],
) -> None:
    folder, key = study
    (folder / "votes").mkdir()
    vote(folder / "votes", key, "r")
    assert study_report([folder / "votes"]).num_votes == 30
    (folder / "votes" / "deeper").mkdir()
    vote(folder / "votes" / "deeper", key, "r")
    with pytest.raises(StudyError, match=r"deeper/key\.json: no such file: give --key"):
        study_report([folder / "votes" / "deeper"])
