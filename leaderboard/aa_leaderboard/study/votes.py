"""Evaluate a study: strengths of the methods by Bradley-Terry, and whether raters agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import counted
from aa_leaderboard.errors import StudyError
from aa_leaderboard.study.key import KEY_FILE, Key, read_key

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("study", "rater", "trial", "left", "right", "choice", "seconds")
RESAMPLES = 1_000
# Precision of a normal prior around 0: keeps the scores finite where one method won every pair.
_PRIOR = 0.01


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What the votes say.

    Attributes:
        question: what raters were asked.
        scores: a line a method, the best first: `score` (log strength, mean 0), `low`, `high` (95 %
            interval when raters and videos are resampled), `won`, `tied`, `lost`.
        pairs: a line for every two methods: `a`, `b`, votes for each, `ties`, `difference` of their
            scores with `low` and `high`, and `clear` where that interval leaves out 0 and an exact
            sign test of these votes (p < 0.05) does not take them for chance.
        num_raters, num_votes: counted.
        inattentive: raters who failed an attention check, and were left out unless kept.
        ties: share of the votes.
        left: share of left among the votes for a side; far from 0.5 where raters click blindly.
        alpha: Krippendorff's alpha of raters (1: they agree, 0: as by chance); None where no pair
            was seen by two.
    """

    question: str
    scores: pd.DataFrame
    pairs: pd.DataFrame
    num_raters: int
    num_votes: int
    inattentive: tuple[str, ...]
    ties: float
    left: float
    alpha: float | None

    def to_markdown(self) -> str:
        """The report as text: two tables and a line for each check."""
        alpha = "no pair was seen by two raters" if self.alpha is None else f"{self.alpha:.2f}"
        failed = ", ".join(self.inattentive) or "none"
        return "\n\n".join(
            (
                f"**{self.question}** {counted(self.num_votes, 'vote')} of "
                f"{counted(self.num_raters, 'rater')}.",
                self.scores.to_markdown(index=False, floatfmt=".2f"),
                self.pairs.to_markdown(index=False, floatfmt=".2f"),
                f"Scores: Bradley-Terry log strengths with ties (Davidson 1970), mean 0; low and "
                f"high: 95 % over {RESAMPLES} resamples of raters and videos. Ties: "
                f"{self.ties:.0%} of the votes. Left: {self.left:.0%} of the votes for a side. "
                f"Agreement of raters (Krippendorff's alpha): {alpha}. "
                f"Failed an attention check: {failed}.",
            )
        )


def study_report(
    votes: Sequence[Path | str], key: Path | str | None = None, *, keep_inattentive: bool = False
) -> StudyReport:
    """Evaluate the CSV files that raters sent.

    Args:
        votes: files, or folders of them.
        key: key.json; None looks in the folder of the first file, then in the one above.
        keep_inattentive: count raters who failed an attention check, too.

    Raises:
        StudyError: no votes, votes of another study, a line that is malformed, or one rater who
            voted twice on one pair.
    """
    import pandas as pd

    files = [f for path in map(Path, votes)
             for f in (sorted(path.glob("*.csv")) if path.is_dir() else [path])]  # fmt: skip
    if not files:
        raise StudyError("no votes: give CSV files that the study's page saved, or their folder")
    if key is None:
        folders = (files[0].parent, files[0].parent.parent)
        key = next(
            (f / KEY_FILE for f in folders if (f / KEY_FILE).is_file()), folders[0] / KEY_FILE
        )
    known = read_key(Path(key))
    table = pd.concat([_read_votes(file, known) for file in files]).drop_duplicates(
        ["rater", "trial", "left", "right", "choice"]
    )
    if (twice := table[table.duplicated(["rater", "trial"])]).size:
        rater, trial = twice.iloc[0][["rater", "trial"]]
        raise StudyError(
            f"rater {rater!r} voted twice on {trial}, and not alike: keep one of the files"
        )
    clip = {side: table[side].map(known.clips) for side in ("left", "right")}
    for side, clips in clip.items():
        table[f"{side}_method"] = [c.method for c in clips]
        table[f"{side}_spoilt"] = [c.spoilt for c in clips]
    table["video"] = [c.video for c in clip["left"]]
    is_check = table.left_spoilt | table.right_spoilt
    right_answer = table.left_spoilt.map({True: "right", False: "left"})
    failed = tuple(sorted(table[is_check & (table.choice != right_answer)].rater.unique()))
    table = table[~is_check & (keep_inattentive | ~table.rater.isin(failed))]
    if table.empty:
        raise StudyError(
            f"no votes are left: every rater failed an attention check ({', '.join(failed)}); "
            "--keep-inattentive counts them"
        )
    sided = table[table.choice != "tie"]
    return StudyReport(
        known.question,
        *_scores(table, known.methods),
        num_raters=table.rater.nunique(),
        num_votes=len(table),
        inattentive=failed,
        ties=float((table.choice == "tie").mean()),
        left=float((sided.choice == "left").mean()) if len(sided) else 0.5,
        alpha=krippendorff_alpha(_by_pair(table)),
    )


def bradley_terry(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log strengths of methods from paired votes, with ties by Davidson's (1970) model.

    P(i wins) : P(j wins) : P(tie) = exp(s_i) : exp(s_j) : exp(t + (s_i + s_j) / 2), fitted by
    Newton's method with a weak normal prior on s and t.

    Args:
        counts: [K, K, 2]; [i, j, 0] votes for i over j, [i, j, 1] ties of i and j, given once.

    Returns:
        [K], of mean 0.
    """
    num = len(counts)
    pairs = list(combinations(range(num), 2))
    observed = np.array([(counts[i, j, 0], counts[j, i, 0], counts[i, j, 1] + counts[j, i, 1])
                         for i, j in pairs])  # fmt: skip
    features = np.zeros((len(pairs), 3, num + 1))
    for p, (i, j) in enumerate(pairs):
        features[p, 0, i] = features[p, 1, j] = features[p, 2, num] = 1
        features[p, 2, [i, j]] = 0.5
    total = observed.sum(1, keepdims=True)
    beta = np.zeros(num + 1)
    for _ in range(100):
        odds = np.exp(features @ beta)
        chance = odds / odds.sum(1, keepdims=True)
        gradient = np.einsum("po,pok->k", observed - total * chance, features) - _PRIOR * beta
        mean = np.einsum("po,pok->pk", chance, features)
        around = features - mean[:, None]
        curvature = np.einsum("po,pok,pol->kl", total * chance, around, around)
        step = np.linalg.solve(curvature + _PRIOR * np.eye(num + 1), gradient)
        beta = beta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    scores: NDArray[np.float64] = beta[:num] - beta[:num].mean()
    return scores


def krippendorff_alpha(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Agreement beyond chance on nominal values (Krippendorff 2011); 1 is perfect, 0 is chance.

    Args:
        units: for each thing that was judged the raters' values; those with one are left out.

    Returns:
        None where nothing was judged twice; 1 where all values of all units are one.
    """
    judged = [unit for unit in units if len(unit) > 1]
    total = sum(map(len, judged))
    if not total:
        return None
    observed = (
        sum(
            (len(unit) ** 2 - sum(n * n for n in Counter(unit).values())) / (len(unit) - 1)
            for unit in judged
        )
        / total
    )
    everything = Counter(value for unit in judged for value in unit)
    expected = (total**2 - sum(n * n for n in everything.values())) / (total * (total - 1))
    return 1 - observed / expected if expected else 1.0


def _read_votes(file: Path, key: Key) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:
        raise StudyError(f"{file}: not a table ({' '.join(str(error).split())})") from error
    if tuple(table.columns) != COLUMNS:
        raise StudyError(
            f"{file}: columns are {','.join(table.columns)!r:.120}, expected {','.join(COLUMNS)}: "
            "give the files that the study's page saved"
        )
    for line, vote in enumerate(table.itertuples(index=False), start=2):
        if vote.study != key.study:
            raise StudyError(
                f"{file}: line {line} is of study {vote.study!r}, the key of {key.study!r}"
            )
        if {vote.left, vote.right} != set(key.trials.get(str(vote.trial), ())):
            raise StudyError(
                f"{file}: line {line}: trial {vote.trial!r} does not show these two clips"
            )
        if vote.choice not in ("left", "right", "tie") or not str(vote.rater).strip():
            raise StudyError(
                f"{file}: line {line}: choice is {vote.choice!r}, rater {vote.rater!r}: expected "
                "left, right or tie, and a name"
            )
    return table


def _scores(table: pd.DataFrame, methods: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd
    from scipy.stats import binomtest

    index = {method: i for i, method in enumerate(methods)}
    left, right = (table[f"{side}_method"].map(index).to_numpy() for side in ("left", "right"))
    tie = (table.choice == "tie").to_numpy()
    first = np.where((table.choice == "right").to_numpy(), right, left)
    second = np.where(first == left, right, left)

    def counts(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros((len(methods), len(methods), 2))
        np.add.at(found, (first, second, tie.astype(int)), weights)
        return found

    # Raters and videos are resampled both, and a vote counts by the product of how often each was
    # drawn (Owen 2007): the intervals hold for other raters and other videos.
    draw = np.random.default_rng(0)
    groups = [table[name].factorize()[0] for name in ("rater", "video")]
    drawn: list[NDArray[np.float64]] = []
    while len(drawn) < RESAMPLES:
        weights = np.ones(len(table))
        for group in groups:
            num = int(group.max()) + 1
            if num > 1:
                weights *= np.bincount(draw.integers(0, num, num), minlength=num)[group]
        if weights.any():
            drawn.append(bradley_terry(counts(weights)))
    found = counts(np.ones(len(table)))
    score, resampled = bradley_terry(found), np.stack(drawn)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    wins, ties = found[..., 0], found[..., 1] + found[..., 1].T
    lines = {"method": list(methods), "score": score, "low": low, "high": high,
             "won": wins.sum(1).astype(int), "tied": ties.sum(1).astype(int),
             "lost": wins.sum(0).astype(int)}  # fmt: skip
    scores = pd.DataFrame(lines).sort_values("score", ascending=False, ignore_index=True)
    pairs = []
    for a, b in combinations(np.argsort(-score).tolist(), 2):
        ends = np.quantile(resampled[:, a] - resampled[:, b], [0.025, 0.975])
        # Resamples of few votes that agree are all alike: the interval has no width then.
        sided = int(wins[a, b] + wins[b, a])
        by_chance = sided == 0 or binomtest(int(wins[a, b]), sided).pvalue >= 0.05
        clear = not by_chance and (ends[0] > 0 or ends[1] < 0)
        pairs.append({"a": methods[a], "b": methods[b], "for a": int(wins[a, b]),
                      "for b": int(wins[b, a]), "ties": int(ties[a, b]),
                      "difference": score[a] - score[b], "low": ends[0], "high": ends[1],
                      "clear": "yes" if clear else "no"})  # fmt: skip
    return scores, pd.DataFrame(pairs)


def _by_pair(table: pd.DataFrame) -> list[list[str]]:
    """For each video and two methods what the raters preferred: a method's name or "tie"."""
    units: dict[tuple[str, ...], list[str]] = {}
    names = ("video", "left_method", "right_method", "choice")
    for video, left, right, choice in table[[*names]].itertuples(index=False, name=None):
        # No method is called "/tie": the names of folders have no slash.
        value = {"left": left, "right": right, "tie": "/tie"}[choice]
        units.setdefault((video, *sorted((left, right))), []).append(value)
    return list(units.values())
