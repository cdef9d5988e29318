"""Benchmark: which videos a public test split has, and where aa-eval looks for them."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from aa_eval.errors import EvalError, PairingError, counted
from aa_eval.parse import parse
from aa_eval.videos.layout import VideoFolder


@dataclass(frozen=True, slots=True)
class Frames:
    """Which frames of one test video are scored.

    Attributes:
        first, last, count: numbers of the first and the last, and how many there are.
        missing: numbers between them that do not exist.
        windows: how many windows of 16 consecutive frames there are.
        name: of a frame's file, with {number}.
    """

    first: int
    last: int
    count: int
    missing: tuple[int, ...] = ()
    windows: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A public test split.

    Attributes:
        name, title, source: for people.
        protocols: computed together: the bug-compatible one of the published tables, and ours.
        layout: what the references are and where they come from, in words.
        made_by: the command that makes the folder of references from the user's own copy.
        video_ids: of the test split; empty where no list of them is public.
        num_videos: how many there are, where `video_ids` is empty.
        has_truth: whether there are true videos to score against.
        frames: video id -> its frames.
        names_sha256: of the sorted names of all frames' files, a line each.
    """

    name: str
    title: str
    source: str
    protocols: tuple[str, ...]
    layout: str
    made_by: str
    video_ids: tuple[str, ...] = ()
    num_videos: int | None = None
    has_truth: bool = True
    frames: dict[str, Frames] = field(default_factory=dict)
    names_sha256: str = ""

    @property
    def folder(self) -> Path:
        """Where its folders are looked for when none are named."""
        return Path("data") / self.name

    @property
    def references(self) -> Path:
        """Where the references are looked for when no folder is named."""
        return self.folder / "references"

    @property
    def predictions(self) -> Path:
        """Where the predictions are looked for when no folder is named."""
        return self.folder / "predictions"

    @property
    def size(self) -> str:
        """How many videos it has, for people."""
        count = len(self.video_ids) or self.num_videos
        return "? videos" if count is None else counted(count, "video")

    def describe(self) -> str:
        """What a user must know before scoring on it, as lines."""
        where = f"references: {self.references}/"
        names = "named after the references, with as many frames"
        if not self.has_truth:
            where = f"without true videos: {self.folder}/reference-images/ and driving-poses/"
            names = "<photo>__<motion>.mp4, with as many frames as the driving pose"
        lines = [
            f"{self.name}: {self.title}",
            f"source: {self.source}",
            f"protocols: {', '.join(self.protocols)}",
            f"{where}: {self.layout}",
            f"made by: {self.made_by}",
            f"predictions: {self.predictions}/, {names}",
            self.size + (":" if self.video_ids else "; no list of their ids is public"),
        ]
        lines += [f"  {video_id}{self._describe_frames(video_id)}" for video_id in self.video_ids]
        if self.frames:
            frames = sum(of_video.count for of_video in self.frames.values())
            windows = sum(of_video.windows or 0 for of_video in self.frames.values())
            lines.append(f"{frames} frames, {windows} windows of 16 consecutive ones")
        return "\n".join(lines)

    def _describe_frames(self, video_id: str) -> str:
        frames = self.frames.get(video_id)
        if frames is None:
            return ""
        holes = frames.last - frames.first + 1 - frames.count
        return (
            f": frames {frames.first}..{frames.last}, {frames.count} of them"
            + (f" ({holes} missing between)" if holes else "")
            + f", {frames.windows} windows"
        )

    def require_folders(self, references: Path, predictions: Path | None) -> None:
        """Say what to put where.

        Raises:
            PairingError: one of the folders is absent.
        """
        if not self.has_truth:
            raise PairingError(
                f"{self.title}: has no true videos: give --reference-images and --driving-poses"
            )
        absent = []
        if not references.exists():
            absent.append(
                f"references into {references}/ ({self.layout}); `{self.made_by}` makes that "
                f"folder from your copy of the {len(self.video_ids) or self.num_videos} videos "
                f"{', '.join(self.video_ids[:10])}{', ...' if len(self.video_ids) > 10 else ''}"
            )
        if predictions is not None and not predictions.exists():
            absent.append(
                f"predictions into {predictions}/ (named after the references, with as many frames)"
            )
        if absent:
            raise PairingError(
                f"{self.title}: put the {'; and the '.join(absent)}. "
                "Or name other folders: PREDICTIONS --references DIR"
            )

    def require_cross_folders(self, images: Path, poses: Path) -> None:
        """Say what to put where, of a benchmark without true videos.

        Raises:
            PairingError: one of the folders is absent.
        """
        if absent := [str(folder) for folder in (images, poses) if not folder.exists()]:
            raise PairingError(
                f"{self.title}: put the reference images into {images}/ and the keypoints of the "
                f"driving videos into {poses}/ ({self.layout}). Absent: {', '.join(absent)}. Or "
                "name other folders: PREDICTIONS --reference-images DIR --driving-poses DIR"
            )

    def problems(self, references: VideoFolder) -> dict[str, str]:
        """Kind of problem -> how the references differ from the benchmark's, by names alone.

        The kinds are "test-split" and "test-frames", and "renumbered": as many frames, without the
        benchmark's holes in their numbers. They are scored with a warning: windows of FVD cross the
        holes.
        """
        if problem := self._split_problem(references):
            return {"test-split": problem}
        if not self.frames:
            return {}
        if problem := self._renumbered(references):
            return {"renumbered": problem}
        problem = self._frames_problem(references)
        return {"test-frames": problem} if problem else {}

    def _split_problem(self, references: VideoFolder) -> str | None:
        if not self.video_ids:
            if self.num_videos in (None, len(references.videos)):
                return None
            return f"benchmark {self.name}: {len(references.videos)} of {self.num_videos} videos"
        missing = [v for v in self.video_ids if v not in references.videos]
        extra = sorted(references.videos.keys() - set(self.video_ids))
        if not missing and not extra:
            return None
        found = len(self.video_ids) - len(missing)
        words = [f"benchmark {self.name}: {found} of {len(self.video_ids)} test videos"]
        for name, ids in (("missing", missing), ("not of the test split", extra)):
            if ids:
                words.append(f"{name}: {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}")
        return "; ".join(words)

    def _renumbered(self, references: VideoFolder) -> str | None:
        renumbered = 0
        for video_id, frames in self.frames.items():
            numbers = references.videos[video_id].numbers
            if numbers is None:  # a video file does not number its frames
                renumbered += 1
                continue
            in_turn = numbers[-1] - numbers[0] + 1 == len(numbers) == frames.count
            exact = (numbers[0], numbers[-1]) == (frames.first, frames.last)
            renumbered += in_turn and not exact
            if not (in_turn or exact):
                return None
        if not renumbered:
            return None
        return (
            f"benchmark {self.name}: the frames of {counted(renumbered, 'video')} are numbered in "
            "turn, without the benchmark's holes: FVD's windows cross them"
        )

    def _frames_problem(self, references: VideoFolder) -> str | None:
        names = []
        for video_id, frames in self.frames.items():
            numbers = references.videos[video_id].numbers
            assert numbers is not None  # _renumbered has seen to it
            wrong = set(numbers) & set(frames.missing)
            found = (numbers[0], numbers[-1], len(numbers))
            if wrong or found != (frames.first, frames.last, frames.count):
                return (
                    f"benchmark {self.name}: '{video_id}' has frames {found[0]}..{found[1]}, "
                    f"{found[2]} of them"
                    + (f", {min(wrong)} among them" if wrong else "")
                    + f"; the benchmark's are {frames.first}..{frames.last}, {frames.count} of them"
                    + (f" without {frames.missing[0]}" if wrong else "")
                )
            names += [frames.name.format(number=number) for number in numbers]
        text = "".join(f"{name}\n" for name in sorted(names))
        if self.names_sha256 not in ("", hashlib.sha256(text.encode()).hexdigest()):
            return f"benchmark {self.name}: as many frames as expected, but not the same numbers"
        return None


def list_benchmarks() -> list[str]:
    """Names that `read_benchmark` knows, sorted."""
    folder = files("aa_eval") / "benchmarks"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`, or the user's own in the TOML file at the path `name`.

    Raises:
        EvalError: no such benchmark, or its file is malformed.
    """
    if name.endswith(".toml") and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    elif name in list_benchmarks():
        text = (files("aa_eval") / "benchmarks" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise EvalError(
            f"--benchmark {name}: choose from {', '.join(list_benchmarks())}, or name a .toml file"
        )
    try:
        benchmark = parse(tomllib.loads(text), Benchmark)
    except ValueError as error:
        raise EvalError(f"benchmark {name}: malformed ({error})") from error
    known = list_benchmarks()
    if name not in known and benchmark.name in known:
        raise EvalError(f"benchmark {name}: there is another '{benchmark.name}': rename yours")
    return benchmark
