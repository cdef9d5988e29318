"""Which videos a folder holds: video files, a tree of frames, DisCo's flat frames, or shards."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import get_args
from unicodedata import normalize

from aa_eval.errors import VideoError, counted
from aa_eval.options import Layout
from aa_eval.videos.shards import is_shard, shard_videos
from aa_eval.videos.source import IMAGE_SUFFIXES, VIDEO_SUFFIXES, VideoSource

# Neither read nor passed over: a video that is not looked at would be missing without a word.
_FOREIGN_VIDEOS = (".avi", ".flv", ".m4v", ".mov", ".mpeg", ".mpg", ".ts", ".wmv")
_FOREIGN_IMAGES = (".bmp", ".exr", ".jp2", ".ppm", ".tif", ".tiff", ".webp")
_NOT_OURS = ("__MACOSX", "Thumbs.db")  # what systems leave in zips and folders
# control characters, and what stands for bytes that are not UTF-8: nothing can print or store it
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
LAYOUTS = get_args(Layout)
# DisCo strips "." and "/" from its keys: TiktokDance_00337_0010.png -> TiktokDance_00337_0010png
_FLAT = re.compile(r"(?:TiktokDance_)?(?P<video>.+)_(?P<frame>\d+)(?:png|jpe?g)?")
_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)(?P<suffix>\D*)")


@dataclass(frozen=True, slots=True)
class VideoFolder:
    """The videos of one folder, by id, and the layout that they were found in."""

    path: Path
    layout: str
    videos: dict[str, VideoSource]

    def describe(self) -> str:
        """One line for people: what was found and how it was understood."""
        return f"{self.path}: {counted(len(self.videos), 'video')} ({self.layout})"


def find_videos(folder: Path, layout: str | None = None) -> VideoFolder:
    """The videos of `folder`; the layout is detected unless given (one of `LAYOUTS`).

    Hidden files and files that are neither video nor image are ignored. A single shard may stand
    for its folder.

    Raises:
        VideoError: no such folder, nothing in it, more than one layout, duplicate names, or videos
            and images that would be left out: of other kinds, behind links to nothing, or in
            folders of folders.
    """
    if folder.is_file() and is_shard(folder):
        entries = [folder]
    elif folder.is_file():
        raise VideoError(f"{folder}: a file: expected the folder that holds the videos or frames")
    elif not folder.is_dir():
        problem = "neither a folder nor a file" if folder.exists() else "no such folder"
        raise VideoError(f"{folder}: {problem}: expected a folder of videos or frames")
    else:
        entries = _entries(folder)
    files = [e for e in entries if e.is_file()]
    of_layout = {
        "video-files": [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES],
        "frame-tree": [e for e in entries if e.is_dir() and _images(e)],
        "flat-frames": [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES],
        "webdataset-shards": [f for f in files if is_shard(f)],
    }
    found = [name for name in LAYOUTS if of_layout[name]]
    for entry in entries:
        if entry.is_dir() and entry not in of_layout["frame-tree"]:
            _require_no_media(entry)
    if not found:
        raise VideoError(
            f"{folder}: no video in it: expected <video>.mp4 (or gif, webm, mkv), "
            "<video>/<frame>.png, <video>_<frame>.png, or <shard>.tar of <video>.mp4"
        )
    if layout is None and len(found) > 1:
        counts = ", ".join(f"{len(of_layout[name])} as {name}" for name in found)
        raise VideoError(
            f"{folder}: more than one layout ({counts}): say which one is meant with --layout"
        )
    layout = layout or found[0]
    empty = [e for e in entries if e.is_dir() and not any(e.iterdir())]
    if layout == "frame-tree" and empty:
        raise VideoError(f"{empty[0]}: empty, between folders of frames: fill or delete it")
    if layout not in found:
        raise VideoError(f"{folder}: nothing in it is laid out as {layout}: found {found}")
    paths = of_layout[layout]
    if layout == "video-files":
        sources = [VideoSource(path.stem, (path,)) for path in paths]
    elif layout == "frame-tree":
        sources = [image_source(path) for path in paths]
    elif layout == "webdataset-shards":
        sources = _shard_sources(paths)
    else:
        sources = _flat_sources(paths)
    videos: dict[str, VideoSource] = {}
    for found_source in sources:
        # macOS decomposes letters with accents: the same name in other bytes
        source = replace(found_source, video_id=normalize("NFC", found_source.video_id))
        if source.video_id in videos:
            raise VideoError(
                f"{folder}: two videos are called '{source.video_id}' "
                f"({_file_name(videos[source.video_id])} and {_file_name(source)}): keep one"
            )
        videos[source.video_id] = source
    return VideoFolder(folder, layout, videos)


def named_after(predictions: VideoFolder, references: VideoFolder, pattern: str) -> VideoFolder:
    """The predictions under their references' ids, where a script names them by a pattern.

    Args:
        pattern: with `{id}`, and `*` for anything, e.g. "{id}_*"; "" for the id itself. A
            prediction that has the id itself is that video's.

    Raises:
        VideoError: two predictions fit one reference.
    """
    if not pattern:
        return predictions
    videos = dict(predictions.videos)
    for video_id in references.videos.keys() - videos.keys():
        before, _, after = pattern.partition("{id}")
        fitting = [
            v for v in predictions.videos if fnmatchcase(v, before + escape(video_id) + after)
        ]
        if len(fitting) > 1:
            raise VideoError(
                f"{predictions.path}: '{fitting[0]}' and '{fitting[1]}' are both named as "
                f"predictions of '{video_id}' ({pattern}): keep one"
            )
        for name in fitting:
            videos[video_id] = replace(videos.pop(name), video_id=video_id)
    return replace(predictions, videos=videos)


def _file_name(source: VideoSource) -> str:
    inside = f":{source.member.name}" if source.member else ""
    return source.files[0].name + inside


def _shard_sources(paths: list[Path]) -> list[VideoSource]:
    sources = [
        VideoSource(member.key, (path,), member=member)
        for path in paths
        for member in shard_videos(path, VIDEO_SUFFIXES)
    ]
    if not sources:
        raise VideoError(f"{paths[0]}: no shard holds a video: expected members <video>.mp4")
    return sources


def image_source(folder: Path) -> VideoSource:
    """The images of one folder as one video, in the order of their numbers.

    Raises:
        VideoError: no image, a name without a number, mixed names, or one number twice.
    """
    return _numbered_source(folder.name, _images(folder), folder)


def _images(folder: Path) -> list[Path]:
    entries = _entries(folder)
    images = [f for f in entries if f.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        for entry in set(entries) - set(images):
            if entry.is_dir():
                _require_no_media(entry)
    return images


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, hidden files left out; refuses what would be passed over."""
    entries = sorted(
        e for e in folder.iterdir() if not e.name.startswith(".") and e.name not in _NOT_OURS
    )
    for entry in entries:
        if _UNPRINTABLE.search(str(entry)):
            raise VideoError(
                f"{str(entry)!a}: a name with bytes that are not text, or a line break: "
                "rename it in UTF-8"
            )
        if not entry.exists():
            raise VideoError(f"{entry}: a link to nothing: mend or delete it")
        if not (entry.is_file() or entry.is_dir()):
            raise VideoError(
                f"{entry}: a pipe, socket or device, expected a file: copy its content into one"
            )
        for kinds, wanted in ((_FOREIGN_VIDEOS, "mp4"), (_FOREIGN_IMAGES, "png")):
            if entry.suffix.lower() in kinds and entry.is_file():
                raise VideoError(
                    f"{entry}: {entry.suffix} is not read: convert it to {wanted}, or move it away"
                )
    return entries


def _require_no_media(folder: Path) -> None:
    """Refuse videos and images further down, which nothing would look at."""
    for place, _, names in os.walk(folder):
        for name in names:
            if Path(name).suffix.lower() in VIDEO_SUFFIXES + IMAGE_SUFFIXES:
                raise VideoError(
                    f"{Path(place, name)}: too deep: expected <video>.mp4 or <video>/<frame>.png "
                    "in the folder given: move it up, or name the folder that holds the videos"
                )


def _flat_sources(paths: list[Path]) -> list[VideoSource]:
    by_video: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        match = _FLAT.fullmatch(path.stem)
        if match is None:
            raise VideoError(
                f"{path}: a flat folder of frames names them <video>_<number>.png "
                "(DisCo: TiktokDance_00337_0010png.png)"
            )
        by_video[match["video"]].append(path)
    return [_numbered_source(video, files, paths[0].parent) for video, files in by_video.items()]


def _numbered_source(video_id: str, files: list[Path], folder: Path) -> VideoSource:
    if not files:
        raise VideoError(f"{folder}: no image in it")
    numbered: dict[int, Path] = {}
    affixes: tuple[str, str] | None = None
    for path in files:
        match = re.fullmatch(_NUMBERED, path.stem)
        if match is None:
            raise VideoError(f"{path}: its name holds no frame number: expected e.g. 0001.png")
        here = (match["prefix"], match["suffix"])
        affixes = affixes or here
        if here != affixes:
            raise VideoError(
                f"{path}: named differently from '{files[0].name}': frames of one video "
                "differ in their number only"
            )
        number = int(match["number"])
        if number in numbered:
            raise VideoError(
                f"{path}: frame {number} is there twice (also {numbered[number].name}): keep one"
            )
        numbered[number] = path
    numbers = tuple(sorted(numbered))
    return VideoSource(video_id, tuple(numbered[n] for n in numbers), numbers)
