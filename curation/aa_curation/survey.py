"""Survey: one decode of a source tells its shots, its clips and what is wrong with their pictures.

A plain function of the source's content and the recipe; it knows nothing of Ray.
"""

from __future__ import annotations

import dataclasses
import hashlib

from aa_curation.decision import Decision, PlannedClip, Survey, first_drop, rejected
from aa_curation.drop import Check, Drop, at_least
from aa_curation.frames import Crop, cropped
from aa_curation.picture import Picture, PictureMeter
from aa_curation.recipe import Recipe
from aa_curation.shots import cut_spans
from aa_curation.sources import Source
from aa_datasets.errors import VideoError
from aa_datasets.foreign_video import VideoInfo, iter_foreign_frames, probe_video

_SURVEY_SIDE_PX = 320  # sharpness is measured at this long side, whatever the source's


def survey(source: Source, recipe: Recipe) -> Survey:
    """Probe and decode a source; cut it into clips; drop those that fail the first filters."""
    whole = f"{source.source_id}-0000"
    if not source.licence:
        detail = "the source list gives no licence for it: fill the column, or leave the row out"
        return _nothing(source, "", Drop("no_licence", detail=detail), {})
    measurements: dict[str, float] = {}
    try:
        info = _cropped_info(probe_video(source.path), source.crop_px)
        source_sha256 = _sha256(source)
        drop = first_drop([check(info) for check in recipe.video_filters], measurements)
        if drop:
            return _nothing(source, source_sha256, drop, measurements)
        picture = _picture(source, info)
    except (VideoError, OSError) as error:
        return _nothing(source, "", Drop("unreadable_video", detail=str(error)), measurements)
    planned: list[PlannedClip] = []
    decisions: list[Decision] = []
    spans = cut_spans(picture, recipe.cuts, recipe.max_s, source.span_s)
    if not spans:
        drop = Drop("too_short", 0.0, recipe.min_s, "the span lies behind the end of the video")
        return _nothing(source, source_sha256, drop, measurements)
    # Frames are counted, not claimed rates: headers of odd files lie about theirs.
    fps = _counted_fps(picture, info.fps)
    for number, span in enumerate(spans):
        clip_id = whole if len(spans) == 1 else f"{source.source_id}-{number:04d}"
        seen = dict(measurements)
        # Half a frame of grace: 100 frames at 60 fps are "1.67 s" of time stamps plus the last.
        checks: list[Check] = [at_least("too_short", span.duration_s + 0.5 / fps, recipe.min_s)]
        part = picture.between(span.start_s, span.end_s)
        checks += [check(part) for check in recipe.picture_filters] if checks[0].passed else []
        drop = first_drop(checks, seen)
        if drop:
            decisions.append(rejected(clip_id, source.source_id, "survey", drop, seen))
        else:
            planned.append(
                PlannedClip(
                    clip_id=clip_id,
                    source_id=source.source_id,
                    start_s=round(span.start_s, 6),
                    end_s=round(span.end_s, 6),
                    fps=fps,
                    size_hw=info.size_hw,
                    measurements=seen,
                )
            )
    return _result(source, source_sha256, planned, decisions)


def _picture(source: Source, info: VideoInfo) -> Picture:
    meter = PictureMeter()
    # A crop is cut from the full frame first: what lies outside must not count.
    max_side_px = None if source.crop_px else _SURVEY_SIDE_PX
    for frame in iter_foreign_frames(source.path, max_side_px=max_side_px):
        pixels = frame.pixels if source.crop_px is None else cropped(frame.pixels, source.crop_px)
        meter.see(pixels, frame.time_s)
    return meter.picture()


def _cropped_info(info: VideoInfo, crop_px: Crop | None) -> VideoInfo:
    if crop_px is None:
        return info
    x0, y0, x1, y1 = crop_px
    if x1 > info.size_hw[1] or y1 > info.size_hw[0]:
        raise VideoError(
            f"the crop {crop_px} lies outside of its {info.size_hw[1]}x{info.size_hw[0]} frames"
        )
    return dataclasses.replace(info, size_hw=(y1 - y0, x1 - x0))


def _counted_fps(picture: Picture, claimed_fps: float) -> float:
    if picture.num_frames < 2 or picture.times_s[-1] <= 0:
        return claimed_fps or 30.0
    counted = (picture.num_frames - 1) / float(picture.times_s[-1])
    # The claimed rate is exact (30000/1001) where the time stamps only round it.
    return claimed_fps if abs(counted / (claimed_fps or 1) - 1) < 0.01 else counted


def _nothing(
    source: Source, source_sha256: str, drop: Drop, measurements: dict[str, float]
) -> Survey:
    """A source that yields no clip counts as one clip, rejected."""
    stage = "plan" if drop.reason == "no_licence" else "survey"
    row = rejected(f"{source.source_id}-0000", source.source_id, stage, drop, measurements)
    return _result(source, source_sha256, [], [row])


def _result(
    source: Source,
    source_sha256: str,
    planned: list[PlannedClip],
    decisions: list[Decision],
) -> Survey:
    num_bytes, modified_ns = file_stamp(source)
    return Survey(
        source.source_id, source_sha256, num_bytes, modified_ns, tuple(planned), tuple(decisions)
    )


def file_stamp(source: Source) -> tuple[int, int]:
    """Size in bytes and modification time in ns; (0, 0) where there is no file."""
    try:
        stat = source.path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _sha256(source: Source) -> str:
    with source.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
