"""Find the videos of a benchmark in the user's copy of it, and read their frames.

UBC fashion is `<id>.mp4`, in any folders. TikTok is folders of frames, in one of three forms:
`<id>/images/<frame>.png` (as the dataset comes, and as DisCo reads it), `<id>/<frame>.png` (DisCo's
own preprocessing), or `TiktokDance_<id>_<frame>.png` in one folder (what DisCo's run writes as
ground truth, where the suffix may stand twice: `TiktokDance_00337_0010png.png`).
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.benchmarks.lists import ListedVideo
from aa_datasets.errors import SplitError, VideoError
from aa_datasets.video.foreign import iter_foreign_frames, probe_video

TIKTOK_FPS = 30.0  # DisCo's dataset/*.py calls every third frame 10 fps
_PICTURES = (".png", ".jpg", ".jpeg")
_FLAT = re.compile(r"(?:TiktokDance_)?(?P<video>.+)_(?P<frame>\d+)(?:png|jpe?g)?")
_LAYOUTS = {
    "ubc": "<id>.mp4, in any folders",
    "tiktok": "<id>/images/<frame>.png, <id>/<frame>.png or TiktokDance_<id>_<frame>.png",
}


@dataclass(frozen=True, slots=True)
class CopiedVideo:
    """A listed video in the user's copy: one video file, or its frames in order."""

    listed: ListedVideo
    files: tuple[Path, ...]

    @property
    def is_file(self) -> bool:
        """One video file (UBC), not pictures (TikTok)."""
        return self.files[0].suffix.lower() not in _PICTURES

    def read_fps(self) -> float:
        """Frames per second; of pictures that of the TikTok dataset."""
        return probe_video(self.files[0]).fps if self.is_file else TIKTOK_FPS

    def iter_frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame, uint8 RGB [H, W, 3], in order, none left out or repeated.

        Raises:
            VideoError: a file cannot be read.
        """
        if self.is_file:
            yield from (frame.pixels for frame in iter_foreign_frames(self.files[0]))
            return
        for path in self.files:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise VideoError(f"{path} cannot be read as a picture: copy it again")
            yield np.ascontiguousarray(picture[..., ::-1])


def find_copies(
    name: str, listed: Sequence[ListedVideo], copy: Path, *, allow_missing: bool = False
) -> list[CopiedVideo]:
    """The listed videos in the folder `copy`.

    Args:
        name: "ubc" or "tiktok".
        listed: what to look for.
        copy: the user's copy of the dataset.
        allow_missing: leave out training videos that are not there. A test split is whole or none.

    Raises:
        SplitError: no folder, videos that are missing or there twice, or frames with a gap.
    """
    if not copy.is_dir():
        raise SplitError(f"no folder {copy}: put the videos there as {_LAYOUTS[name]}")
    found = _video_files(copy) if name == "ubc" else _frame_files(copy, listed)
    missing = [v for v in listed if v.video_id not in found]
    for split in dict.fromkeys(v.split for v in missing):
        ids = [v.video_id for v in missing if v.split == split]
        if split == "test" or not allow_missing:
            number = sum(v.split == split for v in listed)
            leave = "" if split == "test" else ", or leave them out with --allow-missing"
            raise SplitError(
                f"{len(ids)} of the {number} {split} videos of {name} are not in {copy}: "
                f"{', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}; put them there as "
                f"{_LAYOUTS[name]}{leave}"
            )
    return [CopiedVideo(v, found[v.video_id]) for v in listed if v.video_id in found]


def _video_files(copy: Path) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(copy.rglob("*.mp4")):
        if path.stem in found:
            raise SplitError(f"{path} and {found[path.stem][0]} are one video: keep one")
        found[path.stem] = (path,)
    return found


def _frame_files(copy: Path, listed: Sequence[ListedVideo]) -> dict[str, tuple[Path, ...]]:
    flat: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in _pictures(copy):
        if match := _FLAT.fullmatch(path.stem):
            _add(flat[match["video"]], int(match["frame"]), path)
    found = {}
    for video in listed:
        numbered: dict[int, Path] = {}
        folder = copy / video.video_id
        for path in _pictures(folder / "images") or _pictures(folder):
            if not path.stem.isdecimal():
                raise SplitError(f"{path}: expected a frame's number as its name, e.g. 0001.png")
            _add(numbered, int(path.stem), path)
        if numbered := numbered or flat.get(video.video_id, {}):
            found[video.video_id] = _in_order(video.video_id, numbered)
    return found


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in _PICTURES)


def _add(numbered: dict[int, Path], number: int, path: Path) -> None:
    if number in numbered:
        raise SplitError(f"{path} and {numbered[number]} are one frame: keep one")
    numbered[number] = path


def _in_order(video_id: str, numbered: dict[int, Path]) -> tuple[Path, ...]:
    numbers = sorted(numbered)
    gap = next((a + 1 for a, b in itertools.pairwise(numbers) if b != a + 1), None)
    if gap is not None:
        raise SplitError(
            f"frame {gap} of {video_id} is missing between {numbers[0]} and {numbers[-1]}: "
            "copy it; a gap would be a jump in the video"
        )
    return tuple(numbered[number] for number in numbers)
