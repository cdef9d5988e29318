"""Pairs: which prediction belongs to which reference, and every reason to refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from aa_eval.errors import PairingError, counted
from aa_eval.metrics.faces import Faces
from aa_eval.metrics.skeleton import Body, Person
from aa_eval.protocol import Pairing
from aa_eval.videos.layout import VideoFolder
from aa_eval.videos.regions import Region
from aa_eval.videos.source import VideoInfo, VideoSource, probe

HUMANVID_FRAMES = 24  # that its script compares of each video
# What `--allow` may name, and what is done then.
PROBLEMS = {
    "missing-videos": "references without a prediction are left out",
    "extra-videos": "predictions without a reference are left out",
    "frame-count": "frames that only one side has are left out",
    "frame-numbers": "frames are paired in order although their numbers differ",
    "numbering-gap": "gaps stay; no FVD window crosses one",
    "fps": "frame rates are not looked at",
    "same-files": "the references are scored as predictions of themselves",
    "size": "predictions are resized to the reference (bilinear, no antialiasing)",
    "channels": "alpha is dropped; grey and palette become RGB",
    "bit-depth": "frames become 8-bit by dropping the low bits",
    "test-split": "videos are scored that are not the benchmark's test split",
    "test-frames": "frames are scored that are not the benchmark's",
}


@dataclass(frozen=True, slots=True)
class Driven:
    """What a prediction is held to whose motion is another person's.

    Attributes:
        target: the driving body in the proportions and at the place of the person in the photo,
            [T, 18, 2] in pixels of the photo; without keypoints as it was given.
        predicted, photo: the person in each frame of the prediction, and in the photo (one frame),
            each in its own pixels; None where no keypoints were given.
        other_photo: the photo of somebody else; None where all videos have one photo.
        other: the person in that.
    """

    target: Body
    predicted: Person | None = None
    photo: Person | None = None
    other_photo: VideoSource | None = None
    other: Person | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One video to score: as many frames on both sides.

    Attributes:
        video_id: of both.
        prediction: None when only trivial baselines of the reference are scored.
        reference: the ground truth.
        frame_numbers: of the reference's frames (0, 1, ... for a video file).
        size_hw: of the reference.
        prediction_size_hw: None without a prediction.
        kept: positions of the compared frames in the whole reference; None where all of them are.
        regions: name -> part of the picture that image metrics are computed in, too.
        driven: without true frames: what the prediction is held to; `reference` is the photo then,
            held for as many frames.
        faces: where the faces are, on both sides; None where it is not known.
    """

    video_id: str
    prediction: VideoSource | None
    reference: VideoSource
    frame_numbers: tuple[int, ...]
    size_hw: tuple[int, int]
    prediction_size_hw: tuple[int, int] | None = None
    kept: tuple[int, ...] | None = None
    regions: Mapping[str, Region] = field(default_factory=dict)
    driven: Driven | None = None
    faces: Faces | None = None

    @property
    def num_frames(self) -> int:
        return len(self.frame_numbers)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair may not be scored: one of `PROBLEMS`, and what was found."""

    kind: str
    message: str


def make_pairs(
    predictions: VideoFolder | None,
    references: VideoFolder,
    allow: frozenset[str] = frozenset(),
    frames: Pairing = "numbers",
    any_size: bool = False,
) -> tuple[list[Pair], tuple[str, ...]]:
    """Pair by video id and check every pair's headers before anything is decoded.

    Args:
        predictions: None to pair references with nothing (baselines only).
        allow: names of `PROBLEMS` that shall not stop the run.
        frames: which frames belong together: `Protocol.pairing`.
        any_size: the protocol says what is done where sizes differ.

    Returns:
        The pairs, ordered by video id, and the overrides that were needed, e.g.
        "allow fps: 'a' has 25 fps, its reference 30".

    Raises:
        PairingError: naming the first problems found that were not allowed, and their remedy.
        VideoError: a file cannot be read.
    """
    require_known(allow)
    problems: list[Problem] = []
    ids = sorted(references.videos)
    if predictions is not None:
        missing = [v for v in ids if v not in predictions.videos]
        extra = sorted(predictions.videos.keys() - references.videos.keys())
        problems += [Problem("missing-videos", f"no prediction for '{v}'") for v in missing]
        problems += [Problem("extra-videos", f"no reference for prediction '{v}'") for v in extra]
        ids = [v for v in ids if v in predictions.videos]
    if not ids:
        ours = f"{predictions.path} has '{min(predictions.videos)}', " if predictions else ""
        raise PairingError(
            f"{ours}{references.path} has '{min(references.videos)}': no video id in common: "
            "predictions are named after references, to the letter"
        )
    pairs = []
    for video_id in ids:
        prediction = predictions.videos[video_id] if predictions else None
        pair, found = _pair(video_id, prediction, references.videos[video_id], frames)
        pairs.append(pair)
        problems += found
    defined = {"size"} if any_size else set()
    if frames != "numbers":  # the protocol says which frames, whatever their numbers
        defined.add("numbering-gap")
    if frames == "positions":  # and that both sides are cut to the shorter
        defined.add("frame-count")
    problems = [p for p in problems if p.kind not in defined]
    return pairs, refuse(problems, allow)


def require_known(allow: frozenset[str]) -> None:
    """Refuse names that are none of `PROBLEMS`.

    Raises:
        PairingError: names the first.
    """
    if unknown := sorted(allow - PROBLEMS.keys()):
        raise PairingError(f"--allow {unknown[0]}: unknown: choose from {', '.join(PROBLEMS)}")


def refuse(problems: Sequence[Problem], allow: frozenset[str]) -> tuple[str, ...]:
    """The overrides that were needed, of problems that are all allowed.

    Raises:
        PairingError: naming the first that are not, and their remedy.
    """
    if refused := [p for p in problems if p.kind not in allow]:
        shown = "; ".join(p.message for p in refused[:3])
        more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
        kinds = " ".join(f"--allow {k}" for k in dict.fromkeys(p.kind for p in refused))
        raise PairingError(
            f"{shown}{more}. Mend the folder, or override with {kinds} "
            "(it will be written into the result)"
        )
    return tuple(f"allow {p.kind}: {p.message}" for p in problems)


def _pair(
    video_id: str, prediction: VideoSource | None, reference: VideoSource, frames: str
) -> tuple[Pair, list[Problem]]:
    reference_info = probe(reference)
    problems = list(problems_of_one_side(reference, reference_info, "reference"))
    whole, whole_info, info = reference, reference_info, None
    if frames == "humanvid-24":
        reference = reference.at_positions(_humanvid_positions(video_id, whole_info.num_frames))
        count = min(HUMANVID_FRAMES, whole_info.num_frames)
        reference_info = replace(reference_info, num_frames=count)
    if prediction is not None:
        info = probe(prediction)
        problems += problems_of_one_side(prediction, info, "prediction")
        problems += _differences(video_id, info, reference_info)
        prediction, reference, found = _same_frames(
            video_id, prediction, info, reference, reference_info, frames == "numbers"
        )
        problems += found
    count = reference.limit or reference_info.num_frames
    numbers = reference.numbers
    if numbers is None:
        numbers = tuple(range(0, count * reference.step, reference.step))
    if not numbers:
        raise PairingError(f"'{video_id}': prediction and reference have no frame in common")
    kept = None
    if len(numbers) < whole_info.num_frames:
        places = {number: place for place, number in enumerate(whole.numbers or numbers)}
        kept = tuple(places[n] for n in numbers) if whole.numbers else numbers
    size_hw = info.size_hw if info else None
    pair = Pair(video_id, prediction, reference, numbers, reference_info.size_hw, size_hw, kept)
    return pair, problems


def _humanvid_positions(video_id: str, count: int) -> list[int]:
    """Frames of a reference that HumanVid's script compares (metrics/metrics.py at 28ff734).

    Of fewer than 24 frames only its FVD has a value, and takes all of them.

    Raises:
        PairingError: the script's FVD takes other frames than its other metrics.
    """
    if count < HUMANVID_FRAMES:
        return list(range(count))
    if 48 <= count <= 72:
        raise PairingError(
            f"'{video_id}': {count} frames: of references of 48 to 72 frames HumanVid's script "
            "takes other frames for FVD than for SSIM, PSNR and LPIPS: cut it, or take another "
            "protocol"
        )
    step = 3 if count > 72 else 1
    return list(range(0, HUMANVID_FRAMES * step, step))


def _same_frames(
    video_id: str,
    prediction: VideoSource,
    info: VideoInfo,
    reference: VideoSource,
    reference_info: VideoInfo,
    by_number: bool,
) -> tuple[VideoSource, VideoSource, list[Problem]]:
    problems = []
    if by_number and prediction.numbers is not None and reference.numbers is not None:
        ours, theirs = set(prediction.numbers), set(reference.numbers)
        if ours == theirs:
            return prediction, reference, []
        if len(ours) == len(theirs):
            message = (
                f"'{video_id}': predicted frames are numbered {_span(prediction.numbers)}, "
                f"the reference's {_span(reference.numbers)}"
            )
            return prediction, reference, [Problem("frame-numbers", message)]
        both = ours & theirs
        message = (
            f"'{video_id}': {counted(info.num_frames, 'predicted frame')}, "
            f"{reference_info.num_frames} in the reference "
            f"({_only(theirs - ours, 'missing')}{_only(ours - theirs, 'extra')})"
        )
        problems.append(Problem("frame-count", message.replace("; )", ")")))
        return prediction.at_numbers(both), reference.at_numbers(both), problems
    if info.num_frames != reference_info.num_frames:
        message = (
            f"'{video_id}': {counted(info.num_frames, 'predicted frame')}, "
            f"{reference_info.num_frames} in the reference"
        )
        problems.append(Problem("frame-count", message))
        count = min(info.num_frames, reference_info.num_frames)
        return prediction.first(count), reference.first(count), problems
    return prediction, reference, []


def _differences(video_id: str, info: VideoInfo, reference: VideoInfo) -> Iterator[Problem]:
    if info.size_hw != reference.size_hw:
        yield Problem(
            "size",
            f"prediction '{video_id}' is {info.size_hw[1]}x{info.size_hw[0]}, its reference "
            f"{reference.size_hw[1]}x{reference.size_hw[0]} (width x height)",
        )
    if info.fps and reference.fps and abs(info.fps / reference.fps - 1) > 1e-3:
        yield Problem(
            "fps", f"prediction '{video_id}' has {info.fps:g} fps, its reference {reference.fps:g}"
        )


def problems_of_one_side(source: VideoSource, info: VideoInfo, side: str) -> Iterator[Problem]:
    """What is wrong with one video, whatever it is compared with; `side` names it in messages."""
    whose = f"{side} '{source.video_id}'"
    for before, after in pairwise(source.numbers or ()):
        if after != before + 1:
            message = f"{whose} has frames {before} and {after} but none between"
            yield Problem("numbering-gap", message)
            break
    if not info.steady:
        yield Problem("fps", f"{whose} has a variable frame rate, expected a constant one")
    if not info.is_eight_bit_rgb:
        kind = "channels" if info.kind.startswith("8-bit") else "bit-depth"
        yield Problem(kind, f"{whose} is {info.kind}, expected 8-bit colour")


def _span(numbers: tuple[int, ...]) -> str:
    return f"{numbers[0]}..{numbers[-1]}"


def _only(numbers: set[int], word: str) -> str:
    if not numbers:
        return ""
    first = ", ".join(str(n) for n in sorted(numbers)[:3])
    return f"{word}: {first}{', ...' if len(numbers) > 3 else ''}; "
