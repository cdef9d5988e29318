"""Pairs with regions: masks from folders and boxes from keypoints, fitted to the frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aa_eval.errors import PairingError, counted
from aa_eval.videos.keypoints import keypoints_on_frames
from aa_eval.videos.layout import VideoFolder, find_videos
from aa_eval.videos.pairing import Pair
from aa_eval.videos.regions import REGION_NAMES, Boxes, MaskFrames, Region, boxes_of_joints
from aa_eval.videos.source import VideoSource, probe

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")


def pairs_with_regions(
    pairs: Sequence[Pair],
    masks: Path | None = None,
    boxes: Sequence[str] = (),
    keypoints: Path | None = None,
) -> list[Pair]:
    """The pairs, each with its regions by name; none is decoded.

    Args:
        masks: a folder with a folder for each region: `face/<video>/<frame>.png` (or any layout of
            videos), 255 inside and 0 outside, of the reference's size. Where the reference is
            images too, masks are found by its frame numbers, otherwise in order.
        boxes: of `REGION_NAMES`, to be made of `keypoints`.
        keypoints: folder of `<video>.npz` of the references.

    Raises:
        PairingError: a mask or keypoints file is missing, or does not fit its video.
    """
    folders = _region_folders(masks) if masks else {}
    if unknown := [name for name in boxes if name not in REGION_NAMES]:
        raise PairingError(
            f"--region-boxes '{unknown[0]}': unknown: choose from {', '.join(REGION_NAMES)}"
        )
    if both := [name for name in boxes if name in folders]:
        raise PairingError(f"region '{both[0]}' is given as masks and as boxes: drop one of them")
    found = []
    for pair in pairs:
        regions: dict[str, Region] = {
            name: MaskFrames(_masks_of(pair, name, folder)) for name, folder in folders.items()
        }
        if boxes and keypoints is not None:
            regions |= {name: _boxes_of(pair, name, keypoints) for name in boxes}
        found.append(replace(pair, regions=regions))
    return found


def _region_folders(masks: Path) -> dict[str, VideoFolder]:
    if not masks.is_dir():
        raise PairingError(f"{masks}: no such folder: expected <region>/<video>/<frame>.png in it")
    folders = sorted(d for d in masks.iterdir() if d.is_dir() and not d.name.startswith("."))
    if not folders:
        raise PairingError(f"{masks}: no region in it: expected <region>/<video>/<frame>.png")
    for folder in folders:
        if not _NAME.fullmatch(folder.name):
            raise PairingError(
                f"{folder}: not a region's name: expected up to 31 of a-z, 0-9, _ and -, e.g. face"
            )
    return {folder.name: find_videos(folder) for folder in folders}


def _masks_of(pair: Pair, name: str, folder: VideoFolder) -> VideoSource:
    source = folder.videos.get(pair.video_id)
    if source is None:
        raise PairingError(f"{folder.path}: no masks of '{name}' for video '{pair.video_id}'")
    info = probe(source)
    if info.size_hw != pair.size_hw:
        raise PairingError(
            f"{source.name}: masks of {info.size_hw[1]}x{info.size_hw[0]}, the reference is "
            f"{pair.size_hw[1]}x{pair.size_hw[0]} (width x height)"
        )
    if info.kind not in ("1-bit grey", "8-bit grey", "8-bit colour"):
        raise PairingError(f"{source.name}: masks are {info.kind}: expected 8-bit grey, 0 and 255")
    if source.numbers is not None and pair.reference.numbers is not None:
        wanted = set(pair.frame_numbers)
        if lacking := sorted(wanted - set(source.numbers)):
            raise PairingError(f"{source.name}: no mask for frame {lacking[0]} of the reference")
        return source.at_numbers(wanted)
    if info.num_frames == pair.num_frames:
        return source
    if pair.kept is not None and info.num_frames > pair.kept[-1]:
        return source.at_positions(pair.kept)
    raise PairingError(
        f"{source.name}: {counted(info.num_frames, 'mask')}, "
        f"{counted(pair.num_frames, 'frame')} in the reference"
    )


def _boxes_of(pair: Pair, name: str, keypoints: Path) -> Boxes:
    path = keypoints / f"{pair.video_id}.npz"
    points_px, scores = keypoints_on_frames(path, pair.size_hw)
    if pair.kept is not None and len(points_px) > max(pair.kept[-1], pair.num_frames):
        points_px, scores = points_px[list(pair.kept)], scores[list(pair.kept)]
    if len(points_px) != pair.num_frames:
        raise PairingError(
            f"{path}: keypoints of {counted(len(points_px), 'frame')}, the reference has "
            f"{pair.num_frames}"
        )
    return boxes_of_joints(points_px, scores, name, pair.size_hw)
