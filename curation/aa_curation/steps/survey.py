"""Survey: one decode of a source tells its shots, its clips and what is wrong with their pictures.

A plain function of the source's content and the recipe; it knows nothing of Ray.
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import closing

from aa_curation.check import Check, Drop, at_least, first_drop, with_thresholds
from aa_curation.ledger.records import Decision, PlannedClip, Survey, rejected
from aa_curation.measure.frame_stats import Picture, PictureMeter, cropped_planes
from aa_curation.measure.frames import Crop
from aa_curation.measure.segments import picture_in_segments
from aa_curation.measure.shots import cut_spans
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_datasets.atomic_file import sha256_of_file
from aa_datasets.errors import KilledDecodeError, VideoError
from aa_datasets.video.foreign import DecodeLimits, ForeignVideo, VideoInfo, open_foreign

_UNREAD = ("", "")  # the sha256 of a content that was not read
_SURVEY_SIDE_PX = 320  # sharpness is measured at this long side, whatever the source's


def survey(source: Source, recipe: Recipe) -> Survey:
    """Probe and decode a source; cut it into clips; drop those that fail the first filters."""
    whole = f"{source.source_id}-0000"
    if not source.licence:
        detail = "the source list gives no licence for it: fill the column, or leave the row out"
        return _nothing(source, _UNREAD, Drop("no_licence", detail=detail), ())
    headers: tuple[Check, ...] = ()
    try:
        video = _open(source, recipe.decode)
        with closing(video.frames):
            crop_px = _crop_px(source, video.info)
            info = _cropped_info(video.info, crop_px)
            content = (file_sha256(source), video.packets_sha256)
            headers = with_thresholds(
                [check(info) for check in recipe.video_filters], recipe.thresholds
            )
            drop = first_drop(headers)
            if drop:
                return _nothing(source, content, drop, headers)
            picture = picture_in_segments(
                source.path,
                video.info,
                recipe.decode_processes,
                recipe.decode,
                crop_px=crop_px,
                max_side_px=_side_px(source),
                span_s=source.span_s,
            ) or _picture(video, crop_px)
        box = _picture_box(source, recipe, picture, info)
        if box is not None:
            crop_px, info = _inner(crop_px, box), _cropped_info(info, box)
            headers = with_thresholds(
                [check(info) for check in recipe.video_filters], recipe.thresholds
            )
    except KilledDecodeError:
        raise  # no word on the file: a later run tries again
    except (VideoError, OSError) as error:
        return _nothing(source, _UNREAD, Drop("unreadable_video", detail=str(error)), headers)
    planned: list[PlannedClip] = []
    decisions: list[Decision] = []
    spans = cut_spans(picture, recipe.cuts, recipe.max_s, source.span_s)
    if not spans:
        drop = Drop("too_short", 0.0, recipe.min_s, "its span shows black, or lies behind the end")
        return _nothing(source, content, drop, headers)
    fps = recipe.cuts.fps(picture, info.fps)  # counted: headers of odd files lie about theirs
    for number, span in enumerate(spans):
        clip_id = whole if len(spans) == 1 else f"{source.source_id}-{number:04d}"
        # Half a frame of grace: 100 frames at 60 fps are "1.67 s" of time stamps plus the last.
        length = at_least("too_short", span.duration_s + 0.5 / fps, recipe.min_s)
        part = picture.between(span.start_s, span.end_s)
        # All of them, also after one has failed: with other thresholds the rest would count.
        found = (length, *(check(part) for check in recipe.picture_filters))
        checks = (*headers, *with_thresholds(found, recipe.thresholds))
        planned.append(
            PlannedClip(
                clip_id=clip_id,
                source_id=source.source_id,
                start_s=round(span.start_s, 6),
                end_s=round(span.end_s, 6),
                fps=fps,
                size_hw=info.size_hw,
                checks=checks,
                crop_px=crop_px,
            )
        )
        drop = first_drop(checks)
        if drop:
            decisions.append(rejected(clip_id, source.source_id, "survey", drop, checks))
    return _result(source, content, planned, decisions)


def _open(source: Source, limits: DecodeLimits) -> ForeignVideo:
    start_s, end_s = source.span_s or (0.0, math.inf)
    return open_foreign(
        source.path, limits, max_side_px=_side_px(source), start_s=start_s, end_s=end_s
    )


def _side_px(source: Source) -> int | None:
    """A crop is cut from the full frame first: what lies outside must not count."""
    return None if source.crop_px else _SURVEY_SIDE_PX


def _picture(video: ForeignVideo, crop_px: Crop | None) -> Picture:
    meter = PictureMeter()
    for frame in video.frames:
        planes = frame.planes if crop_px is None else cropped_planes(frame.planes, crop_px)
        meter.see(planes, frame.time_s, frame.is_combed)
    return meter.picture()


def _crop_px(source: Source, info: VideoInfo) -> Crop | None:
    """The row's crop in pixels of this file's frames: a list may mean another size of the video."""
    if source.crop_px is None or source.crop_of_wh is None:
        return source.crop_px
    (height, width), (of_width, of_height) = info.size_hw, source.crop_of_wh
    x0, y0, x1, y1 = source.crop_px
    return (
        x0 * width // of_width,
        y0 * height // of_height,
        x1 * width // of_width,
        y1 * height // of_height,
    )


def _picture_box(source: Source, recipe: Recipe, picture: Picture, info: VideoInfo) -> Crop | None:
    """The picture within black bars. A renderer's exact pose counts pixels of the whole frame: its
    videos keep theirs."""
    if recipe.bars is None or source.pose_path is not None:
        return None
    return recipe.bars.box(picture.brightest, info.size_hw)


def _inner(outer: Crop | None, inner: Crop) -> Crop:
    """A box in pixels of another box, in pixels of the frame."""
    x, y = outer[:2] if outer else (0, 0)
    return inner[0] + x, inner[1] + y, inner[2] + x, inner[3] + y


def _cropped_info(info: VideoInfo, crop_px: Crop | None) -> VideoInfo:
    if crop_px is None:
        return info
    x0, y0, x1, y1 = crop_px
    if x1 > info.size_hw[1] or y1 > info.size_hw[0]:
        raise VideoError(
            f"the crop {crop_px} lies outside of its {info.size_hw[1]}x{info.size_hw[0]} frames"
        )
    return dataclasses.replace(info, size_hw=(y1 - y0, x1 - x0))


def _nothing(
    source: Source, content: tuple[str, str], drop: Drop, checks: tuple[Check, ...]
) -> Survey:
    """A source that yields no clip counts as one clip, rejected."""
    stage = "plan" if drop.reason == "no_licence" else "survey"
    row = rejected(f"{source.source_id}-0000", source.source_id, stage, drop, checks)
    return _result(source, content, [], [row])


def _result(
    source: Source,
    content: tuple[str, str],
    planned: list[PlannedClip],
    decisions: list[Decision],
) -> Survey:
    num_bytes, modified_ns = file_stamp(source)
    return Survey(
        source.source_id,
        *content,
        num_bytes,
        modified_ns,
        tuple(planned),
        tuple(decisions),
        source.row_sha256,
        pose_sha256(source),
        str(source.path),
    )


def file_stamp(source: Source) -> tuple[int, int]:
    """Size in bytes and modification time in ns; (0, 0) where the file is missing."""
    try:
        stat = source.path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def pose_sha256(source: Source) -> str:
    """Hash the pose that is given for it; "" where none is, or it cannot be read."""
    try:
        return "" if source.pose_path is None else sha256_of_file(source.pose_path)
    except OSError:
        return ""


def file_sha256(source: Source) -> str:
    """Hash the file's content."""
    return sha256_of_file(source.path)
