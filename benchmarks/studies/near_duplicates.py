"""How far copies of a clip lie from it, and other clips: the distances behind `NearDuplicates`.

    python benchmarks/studies/near_duplicates.py [--puppets 400] [--copied 30] [--clips FOLDER]

Distinct: every pair of puppets, of one puppet that moves otherwise, and of the videos in FOLDER.
Copies: encoded again at half the size and crf 36, enlarged, cropped, lit otherwise, at half the
rate, trimmed, with a caption. A puppet's pose is exact, so a copy's is the same but for its crop;
a video's is estimated, and again in the copies that say so. At distance 1 the default bound lies.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import Signature, look_at_frame, make_signature, signature_frames
from aa_curation.poses.blazepose import BlazePose
from aa_curation.sources.list_formats import VIDEO_SUFFIXES
from aa_datasets.pose import Pose, make_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.foreign import iter_foreign_frames

Frames = NDArray[np.uint8]
BOUNDS = NearDuplicates()
_FRAMES = 48
_VIDEO_SIDE_PX = 320


@dataclass(frozen=True)
class Shown:
    """A clip: frames uint8 [T, H, W, 3] and the pose in them."""

    frames: Frames
    pose: Pose

    def signature(self) -> Signature:
        looks = [look_at_frame(self.frames[i]) for i in signature_frames(len(self.frames))]
        return make_signature(looks, self.pose)


def scaled(clip: Shown, factor: float, crf: int) -> Shown:
    height, width = (int(side * factor) // 2 * 2 for side in clip.frames.shape[1:3])
    small = [cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in clip.frames]
    frames = read_canonical(encode_canonical(np.stack(small), 24, crf=crf))
    return Shown(frames, clip.pose.resized((height, width)))


def cropped(clip: Shown, left: float, top: float, right: float, bottom: float) -> Shown:
    """Shares of the sides are cut off."""
    height, width = clip.frames.shape[1:3]
    x0, y0 = int(left * width), int(top * height)
    x1 = x0 + (width - int(right * width) - x0) // 2 * 2
    y1 = y0 + (height - int(bottom * height) - y0) // 2 * 2
    inner = np.ascontiguousarray(clip.frames[:, y0:y1, x0:x1])
    points = clip.pose.keypoints_px - np.array([x0, y0], np.float32)
    with np.errstate(invalid="ignore"):
        outside = (points < 0) | (points > np.array([x1 - x0 - 1, y1 - y0 - 1]))
    scores = np.where(outside.any(-1), 0, clip.pose.scores).astype(np.float32)
    pose = make_pose(points, scores, inner.shape[1:3])
    return Shown(read_canonical(encode_canonical(inner, 24, crf=30)), pose)


def lit(clip: Shown, change: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> Shown:
    table = np.clip(change(np.arange(256, dtype=np.float32)), 0, 255).astype(np.uint8)
    return Shown(table[clip.frames], clip.pose)


def more_colour(clip: Shown) -> Shown:
    def one(frame: Frames) -> Frames:
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) * np.array([1, 1.15, 1])
        return np.asarray(cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB))

    return Shown(np.stack([one(frame) for frame in clip.frames]), clip.pose)


def captioned(clip: Shown) -> Shown:
    height, width = clip.frames.shape[1:3]
    at, size = (width // 5, int(0.93 * height)), height / 400
    frames = [
        cv2.putText(f.copy(), "SUBSCRIBE", at, 0, size, (255, 255, 255), 2) for f in clip.frames
    ]
    return Shown(np.stack(frames), clip.pose)


def chosen(clip: Shown, frames: NDArray[np.int64]) -> Shown:
    return Shown(clip.frames[frames], clip.pose.at_frames(frames))


COPIES: dict[str, Callable[[Shown], Shown]] = {
    "half the size, crf 36": lambda c: scaled(c, 0.5, 36),
    "enlarged by half, crf 30": lambda c: scaled(c, 1.5, 30),
    "3 % cropped on all sides": lambda c: cropped(c, 0.03, 0.03, 0.03, 0.03),
    "5 % cropped on all sides": lambda c: cropped(c, 0.05, 0.05, 0.05, 0.05),
    "6 % cropped on one side": lambda c: cropped(c, 0, 0, 0.06, 0),
    "darker (0.7 x + 10)": lambda c: lit(c, lambda x: 0.7 * x + 10),
    "brighter (1.15 x + 5)": lambda c: lit(c, lambda x: 1.15 * x + 5),
    "gamma 0.8": lambda c: lit(c, lambda x: 255 * (x / 255) ** 0.8),
    "15 % more saturated": more_colour,
    "half the rate": lambda c: chosen(c, np.arange(0, len(c.frames), 2)),
    "two frames trimmed": lambda c: chosen(c, np.arange(2, len(c.frames))),
    "a caption": captioned,
}
_ESTIMATED_ANEW = ("half the size, crf 36", "5 % cropped on all sides")


def puppet(seed: int, motion: int, side: int, num_frames: int, fps: float) -> Shown:
    made = render_puppet(seed, motion, num_frames=num_frames, fps=fps, size_hw=(side, side))
    return Shown(made.frames, made.pose)


def estimated(frames: Frames, estimator: BlazePose) -> Shown:
    tracker = estimator.track()
    for frame in frames:
        tracker.see(frame)
    return Shown(frames, tracker.pose())


def video(path: Path, estimator: BlazePose) -> Shown:
    """Its first 48 frames, every second one, scaled to 320 px."""
    decoded = iter_foreign_frames(path, max_side_px=_VIDEO_SIDE_PX)
    frames = [frame.pixels for frame in itertools.islice(decoded, 0, _FRAMES, 2)]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    return estimated(np.stack([frame[:height, :width] for frame in frames]), estimator)


def all_distances(signatures: list[Signature]) -> NDArray[np.float64]:
    pairs = itertools.combinations(signatures, 2)
    return np.array([BOUNDS.apart(a, b) for a, b in pairs])


def line(name: str, distances: NDArray[np.float64]) -> None:
    worst = ", ".join(f"{d:.2f}" for d in np.sort(distances)[:3])
    found = np.mean(distances <= 1)
    print(
        f"| {name} | {len(distances)} | {worst} | {np.median(distances):.2f} | "
        f"{distances.max():.2f} | {found:.2%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--puppets", type=int, default=400)
    parser.add_argument("--copied", type=int, default=30, help="puppets that are copied")
    parser.add_argument("--side", type=int, default=128, help="of a puppet's picture, pixels")
    parser.add_argument("--clips", type=Path, help="a folder of videos, all distinct")
    parser.add_argument("--limit", type=int, help="so many of them")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print("| | pairs | nearest | median | farthest | within 1 |")
    print("|---|---|---|---|---|---|")
    seeds = range(arguments.puppets)
    signatures = [puppet(s, s, arguments.side, 8, 4).signature() for s in tqdm(seeds)]
    line("distinct puppets", all_distances(signatures))
    moved = [puppet(s, s + 5000, arguments.side, 8, 4).signature() for s in range(len(seeds) // 4)]
    same = [BOUNDS.apart(a, b) for a, b in zip(signatures, moved, strict=False)]
    line("one puppet, another motion", np.array(same))
    originals = [
        puppet(s, s, arguments.side, _FRAMES, 24) for s in range(5000, 5000 + arguments.copied)
    ]
    shown = [(clip, clip.signature()) for clip in originals]
    for name, copy in COPIES.items():
        line(
            f"puppets: {name}",
            np.array([BOUNDS.apart(of, copy(clip).signature()) for clip, of in shown]),
        )
    if arguments.clips:
        estimator = BlazePose()
        paths = sorted(p for p in arguments.clips.iterdir() if p.suffix in VIDEO_SUFFIXES)
        videos = [video(path, estimator) for path in tqdm(paths[: arguments.limit])]
        shown = [(clip, clip.signature()) for clip in videos]
        distances = all_distances([of for _, of in shown])
        line("distinct videos", distances)
        pairs = itertools.combinations([path.stem for path in paths[: arguments.limit]], 2)
        for (a, b), apart in zip(pairs, distances, strict=True):
            if apart <= 1:
                tqdm.write(f"within 1: {a} and {b}, {apart:.2f}", file=sys.stderr)
        for name, copy in COPIES.items():
            found = []
            for clip, of in tqdm(shown, desc=name):
                made = copy(clip)
                if name in _ESTIMATED_ANEW:
                    made = estimated(made.frames, estimator)
                found.append(BOUNDS.apart(of, made.signature()))
            line(f"videos: {name}", np.array(found))
    rng = np.random.default_rng(0)
    many = Stacked(
        rng.integers(0, 1 << 63, (100_000, 8)).astype(np.uint64),
        rng.integers(0, 256, (100_000, 4, 4, 2)).astype(np.uint8),
    )
    start_s = time.process_time()
    for signature in signatures[:5]:
        BOUNDS.near_pictures(signature, many)
    print(f"\none pair of pictures: {(time.process_time() - start_s) / 5e5 * 1e9:.0f} ns")


if __name__ == "__main__":
    main()
