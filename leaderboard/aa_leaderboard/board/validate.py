"""What a result folder must be before the board takes it: plausible, plain and harmless.

`aa_eval.result.read_result` holds types and finiteness; this module holds what a hostile or
mistaken writer could still put into well-typed fields, and into the clips of the folder.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aa_eval.errors import EvalError
from aa_eval.protocol import read_protocol
from aa_eval.result import RESULT_FILE, Result, read_result
from aa_eval.scoring.baselines import TRIVIAL_NAMES, is_trivial
from aa_eval.verify import require_known_protocol
from aa_eval.videos.benchmark import list_benchmarks, read_benchmark
from aa_leaderboard.board.cross_check import check_agreement
from aa_leaderboard.board.frame_scores import read_frame_scores
from aa_leaderboard.board.media import MEDIA_DIR, check_media
from aa_leaderboard.columns import column_of
from aa_leaderboard.errors import SubmissionError
from aa_leaderboard.row import BASELINE_LABEL

MAX_NAME = 120
MAX_TEXT = 2_000
MAX_VIDEOS = 20_000
MAX_METRICS = 100
MAX_FILES = 200_000  # a result folder may also hold per-frame tables and caches
MAX_COUNT = 10**9

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Controls, formats (they reorder, join or hide), surrogates, private use, separators of lines.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Letters, marks and symbols that print nothing (Default_Ignorable_Code_Point, and blank Braille).
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
_LIKE_LATIN = frozenset({"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LISU"})
# Words with which the board itself marks rows: a label of these would pass as the board's mark.
_OWN_MARKS = ("publish", "second-hand", "told in an issue", "sources conflict", "checks overridden",
              "trivial baseline", "no values per frame")  # fmt: skip


def read_submission(directory: Path) -> Result:
    """Read and check `directory`/result.json, the tables and the clips that belong to it.

    Raises:
        SubmissionError: anything in it is malformed, implausible, hostile or contradicts itself.
    """
    path = directory / RESULT_FILE
    try:
        result = read_result(directory)
        check_result(result, str(path))
        require_known_protocol(result)
    except EvalError as error:
        text = str(error)
        raise SubmissionError(text if str(path) in text else f"{path}: {text}") from error
    except SubmissionError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # of numbers of 5,000 digits
        raise SubmissionError(f"{path}: cannot be read ({error})") from error
    if result.label.casefold() == BASELINE_LABEL and not is_trivial(result.method):
        raise SubmissionError(
            f"{path}: label is '{result.label}', but '{result.method}' is not a trivial baseline "
            f"of aa-eval ({', '.join(TRIVIAL_NAMES)}): methods are not ranked above one"
        )
    frames = read_frame_scores(directory, result)
    check_agreement(directory, result, read_protocol(result.protocol), frames)
    check_media(directory / MEDIA_DIR, result)
    return result


def check_tree(directory: Path) -> None:
    """Refuse a folder that holds a symlink, a device or more files than a result ever has."""
    if directory.is_symlink() or not directory.is_dir():
        raise SubmissionError(
            f"{directory}: not a folder: expected one that `aa-eval ... --out` wrote"
        )
    for count, path in enumerate(directory.rglob("*")):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SubmissionError(f"{path}: a symlink or device: replace it by the file itself")
        if count >= MAX_FILES:
            raise SubmissionError(f"{directory}: more than {MAX_FILES} files: not a result folder")


def check_result(result: Result, where: str) -> None:
    """Refuse names, hashes, counts and values that no honest evaluation writes.

    Raises:
        SubmissionError: names the field, what it holds and what was expected.
    """
    for problem in _problems(result):
        raise SubmissionError(f"{where}: {problem}")


def _problems(result: Result) -> Iterator[str]:
    yield from _name_problems(result)
    yield from _provenance_problems(result)
    yield from _benchmark_problems(result)
    if len(result.per_video) > MAX_VIDEOS or len(result.metrics) > MAX_METRICS:
        yield f"more than {MAX_VIDEOS} videos or {MAX_METRICS} metrics"
    if len(result.overrides) > MAX_VIDEOS:
        yield f"{len(result.overrides)} overrides, expected at most {MAX_VIDEOS}"
    if result.per_video and result.num_videos != len(result.per_video):
        yield f"num_videos is {result.num_videos}, per_video has {len(result.per_video)}"
    counts = {"num_videos": result.num_videos, "num_frames": result.num_frames}
    counts |= {f"metrics.{key}.n": metric.n for key, metric in result.metrics.items()}
    for field, count in counts.items():
        if not 0 <= count <= MAX_COUNT:
            yield f"{field} is {count!s:.40}, expected 0 to {MAX_COUNT}"
    if not any(metric.value is not None for metric in result.metrics.values()):
        yield "no metric has a value: nothing to show"
    for key, metric in result.metrics.items():
        low, high = metric.ci_low, metric.ci_high
        if (low is None) != (high is None) or (low is not None and high is not None and low > high):
            yield f"metrics.{key}: interval [{low}, {high}] is not a low and a high bound"
        for value in (metric.value, low, high):
            yield from _value_problems(f"metrics.{key}", key, value)
    for video, values in result.per_video.items():
        for key, value in values.items():
            yield from _value_problems(f"per_video.{video}.{key}", key, value)


def _value_problems(where: str, key: str, value: float | None) -> Iterator[str]:
    column = column_of(key)
    if value is not None and not column.low <= value <= column.high:
        yield f"{where} is {value!s:.40}, expected {column.low:g} to {column.high:g}"


def _name_problems(result: Result) -> Iterator[str]:
    names = {
        "method": result.method,
        "protocol": result.protocol,
        "protocol_version": result.protocol_version,
    }
    groups: dict[str, Collection[str]] = {
        "metric": result.metrics,
        "video": result.per_video,
        "weight": result.weights,
        "region": result.regions,
        "reference": result.references,
    }
    for what, group in groups.items():
        names |= {f"{what} {name[:MAX_NAME]!r}": name for name in group}
    for values in result.per_video.values():
        names |= {f"metric {key[:MAX_NAME]!r}": key for key in values}
    if result.benchmark is not None:
        names["benchmark"] = result.benchmark
    for field, name in names.items():
        if not name.strip():
            yield f"{field} is empty"
        yield from _text_problems(field, name, MAX_NAME)
        if any(part in {".", ".."} for part in re.split(r"[/\\]", name)) or name[:1] in "/\\":
            yield f"{field} is {name!r}, a path: expected a plain name"
        if name != " ".join(name.split()):
            yield f"{field} is {name!r}: expected single spaces, and none at its ends"
    if result.method != unicodedata.normalize("NFC", result.method):
        yield f"method {result.method!r} is not in Unicode's form NFC: another name may look alike"
    yield from _alphabet_problems("method", result.method)


def _provenance_problems(result: Result) -> Iterator[str]:
    texts = {"label": result.label, "machine": result.machine}
    texts |= {f"overrides[{n}]": text for n, text in enumerate(result.overrides)}
    texts |= {f"package {name[:MAX_NAME]!r}": name + text for name, text in result.packages.items()}
    for key, metric in result.metrics.items():
        texts[f"metrics.{key}.note"] = metric.note or ""
        texts[f"metrics.{key}.unavailable"] = metric.unavailable or ""
    for field, text in texts.items():
        yield from _text_problems(field, text, MAX_NAME if field == "label" else MAX_TEXT)
    plain = " ".join(unicodedata.normalize("NFKC", result.label).casefold().split())
    if result.label != " ".join(result.label.split()) or any(mark in plain for mark in _OWN_MARKS):
        yield (
            f"label is {result.label!r:.80}: expected a word of your own, such as 'measured'; rows "
            "of papers are published.csv's, and the board sets its marks itself"
        )
    yield from _alphabet_problems("label", result.label)
    hashes = {"protocol_hash": result.protocol_hash}
    hashes |= {f"weights.{name[:MAX_NAME]}": value for name, value in result.weights.items()}
    hashes |= {f"regions.{n[:MAX_NAME]}": value for n, value in result.regions.items()}
    hashes |= {f"references.{v[:MAX_NAME]}": value for v, value in result.references.items()}
    for field, value in hashes.items():
        if not _SHA256.fullmatch(value):
            yield f"{field} is {value[:80]!r}, expected a sha256 of 64 hex digits"
    try:
        created = datetime.fromisoformat(result.created)
    except ValueError:
        yield f"created is {result.created[:80]!r}, expected an ISO 8601 date"
        return
    if created.tzinfo is None or created > datetime.now(UTC) + timedelta(days=1):
        yield f"created is {result.created[:80]!r}, expected a time zone and no day to come"


def _benchmark_problems(result: Result) -> Iterator[str]:
    """A row of a benchmark scores its test split, or says that it does not."""
    if result.benchmark is None:
        return
    if result.benchmark not in list_benchmarks():
        known = ", ".join(list_benchmarks())
        yield f"benchmark is {result.benchmark!r:.80}, expected one of {known}, or null"
        return
    split = set(read_benchmark(result.benchmark).video_ids)
    if not split:
        return  # no list of its videos is public
    spoken = ("allow test-split:", "allow missing-videos:")
    if result.per_video.keys() != split and not any(o.startswith(spoken) for o in result.overrides):
        scored = len(split & result.per_video.keys())
        yield (
            f"per_video has {scored} of the {len(split)} test videos of {result.benchmark} and "
            f"{len(result.per_video) - scored} others, and no override says so"
        )


def _alphabet_problems(field: str, text: str) -> Iterator[str]:
    """Letters of Latin and of an alphabet with the same shapes in one word, or wide letters."""
    for run in re.findall(r"[^\W\d_]+", text):
        word = "".join(filter(str.isalpha, run))
        alphabets = {unicodedata.name(letter, "").split(" ")[0] for letter in word}
        is_wide = unicodedata.normalize("NFKC", word).isascii() and not word.isascii()
        if is_wide or ("LATIN" in alphabets and not alphabets.isdisjoint(_LIKE_LATIN)):
            yield (
                f"{field} has the word {word!a}, in which letters stand for others that they look "
                "like: write it in one alphabet"
            )


def _text_problems(field: str, text: str, limit: int) -> Iterator[str]:
    if len(text) > limit:
        yield f"{field} has {len(text)} characters, expected at most {limit}"
    for character in text[: limit + 1]:
        if unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _BLANK:
            yield f"{field} holds the hidden character U+{ord(character):04X}: remove it"
            return
