"""Verify that a result was scored under a known protocol, against the frames at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from aa_eval.errors import ResultError, counted
from aa_eval.protocol import KINDS, list_protocols, read_protocol
from aa_eval.result import PER_FRAME_FILE, RESULT_FILE, Result, mean_of_frames
from aa_eval.scoring.metric_runner import Measures
from aa_eval.scoring.video_scores import PIXELS, score_video
from aa_eval.videos.layout import VideoFolder
from aa_eval.videos.pairing import PROBLEMS, make_pairs
from aa_eval.videos.source import VideoSource, probe


def known_protocol_hashes() -> dict[str, str]:
    """Protocol name -> hash, of the protocols of this version of the package."""
    return {name: read_protocol(name).hash for name in list_protocols()}


def require_known_protocol(result: Result) -> None:
    """Refuse a result of a protocol that this version does not have, or whose content differs.

    Raises:
        ResultError: no protocol has the result's name and hash.
    """
    hashes = known_protocol_hashes()
    if hashes.get(result.protocol) == result.protocol_hash:
        return
    known = f"its hash here is {hashes[result.protocol][:12]}" if result.protocol in hashes else (
        f"there are {', '.join(hashes)}"
    )  # fmt: skip
    raise ResultError(
        f"'{result.method}' was scored under {result.protocol} ({result.protocol_hash[:12]}), "
        f"which is not a protocol of this version: {known}; score it again with this aa-eval"
    )


def may_be_trimmed(result: Result) -> bool:
    """Whether frames may be left out: by an override, or by what the protocol pairs."""
    if any(override.startswith("allow frame-count:") for override in result.overrides):
        return True
    return read_protocol(result.protocol).pairing != "numbers"


def require_own_numbers(result: Result) -> None:
    """Refuse a result whose means or intervals are not those of its values per frame.

    Nothing is held where the folder has no per_frame.csv, or the protocol is one of the user's own.

    Raises:
        ResultError: names the metric, what the result says of it, and what its frames give.
    """
    hashes = known_protocol_hashes()
    folder = result.folder
    if folder is None or not (folder / PER_FRAME_FILE).is_file():
        return
    if hashes.get(result.protocol) != result.protocol_hash:
        return
    protocol = read_protocol(result.protocol)
    kinds = {metric.key: KINDS[metric.kind] for metric in protocol.metrics}
    frames = result.per_frame_frame()
    by_video = {str(video): of_video for video, of_video in frames.groupby("video")}
    for key, stated in result.metrics.items():
        if stated.value is None or key not in frames:
            continue
        kind = kinds.get(key.partition("@")[0])
        found, means = mean_of_frames(
            {
                video: of_video[key].to_numpy(dtype=np.float64)
                for video, of_video in by_video.items()
            },
            protocol.aggregation if kind else "videos",  # of keypoints always
            in_float32=kind is not None and kind.mean_in_float32,
        )
        problems = [(f"metrics.{key}.{name}", getattr(stated, name), getattr(found, name))
                    for name in ("value", "ci_low", "ci_high")]  # fmt: skip
        problems += [
            (f"per_video.{video}.{key}", of_video.get(key), means.get(video))
            for video, of_video in result.per_video.items()
        ]
        for where, says, gives in problems:
            if says is None or gives is None:
                continue  # results of two videos had an interval once
            if not math.isclose(says, gives, rel_tol=1e-6, abs_tol=1e-9):
                raise ResultError(
                    f"{folder / RESULT_FILE}: {where} is {says:.9g}, {PER_FRAME_FILE} gives "
                    f"{gives:.9g}: it was altered; score it again"
                )


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify_references` held.

    Attributes:
        num_videos: references whose frames are those of the result.
        trimmed: a sentence for each that was compared in part only.
        not_scored: references at hand that the result says nothing of.
    """

    num_videos: int
    trimmed: tuple[str, ...]
    not_scored: tuple[str, ...]


def verify_references(result: Result, references: VideoFolder) -> Verified:
    """Decode the references again and hold them to the hashes in the result.

    Of a video that was compared in part (`Result.trimmed`) those frames are held.

    Raises:
        ResultError: the protocol is unknown, a video is missing, its frames are others, or the
            result is trimmed without saying under which override.
        VideoError: a reference cannot be read.
    """
    require_known_protocol(result)
    if read_protocol(result.protocol).pairing == "photo":
        raise ResultError(
            f"'{result.method}' was scored under {result.protocol}, without true videos: there are "
            "none to verify"
        )
    if result.trimmed and not may_be_trimmed(result):
        raise ResultError(
            f"'{result.method}': frames of '{min(result.trimmed)}' were left out, but the result "
            "holds no override 'allow frame-count': it was altered; score it again"
        )
    trimmed, kept = [], {}
    for video_id in sorted(result.references):
        source = references.videos.get(video_id)
        if source is None:
            raise ResultError(f"{references.path}: reference '{video_id}' of the result is missing")
        if video_id in result.trimmed:
            source, sentence = _compared_part(source, result.trimmed[video_id])
            trimmed.append(sentence)
        kept[video_id] = source
    pairs, _ = make_pairs(None, replace(references, videos=kept), frozenset(PROBLEMS))
    measures = Measures([], "cpu")
    for pair in pairs:
        digest = score_video(pair, [], measures, None)[PIXELS]
        assert not isinstance(digest, str)  # pixels have a digest or raise
        found, expected = digest.tobytes().hex(), result.references[pair.video_id]
        if found != expected:
            raise ResultError(
                f"{references.path}: '{pair.video_id}' has other frames ({found[:12]}) than "
                f"the result was scored against ({expected[:12]})"
                + (f"; it was scored with {result.overrides[0]}" if result.overrides else "")
            )
    not_scored = sorted(references.videos.keys() - result.references.keys())
    return Verified(len(pairs), tuple(trimmed), tuple(not_scored))


def _compared_part(
    source: VideoSource, spans: tuple[tuple[int, int], ...]
) -> tuple[VideoSource, str]:
    """The frames at `spans`, and a sentence that says how many they are."""
    there = probe(source).num_frames
    if spans[-1][1] > there:
        raise ResultError(
            f"{source.name}: {counted(there, 'frame')}, the result was scored against frame "
            f"{spans[-1][1] - 1}"
        )
    positions = [position for span in spans for position in range(*span)]
    sentence = f"'{source.video_id}': {len(positions)} of {counted(there, 'frame')} compared"
    return source.at_positions(positions), sentence
