"""Make a study: one HTML file with blinded clips for the raters, and the key to its clips."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from aa_eval.progress import progress
from aa_eval.videos.layout import find_videos
from aa_eval.videos.source import VideoSource, iter_frames, probe
from aa_leaderboard.board.make_clips import FPS_OF_IMAGES, enlarge, write_h264
from aa_leaderboard.errors import StudyError
from aa_leaderboard.page_files import page_script, page_template, script_hash
from aa_leaderboard.study.key import KEY_FILE, SCHEMA, BlindClip, Key, write_key
from aa_leaderboard.study.plan import StudyOptions, plan_trials

MAX_PAGE_BYTES = 600 * 2**20  # what browsers still open at once
_SPOILT_BLOCKS = 12  # a spoilt clip has so many blocks along its shorter side


@dataclass(frozen=True, slots=True)
class Study:
    """What `make_study` wrote.

    Attributes:
        page: for the raters.
        key: for the person who runs the study.
        left_out: videos that some folder lacks, and so are not shown.
    """

    page: Path
    key: Path
    num_trials: int
    left_out: tuple[str, ...]


def make_study(methods: Sequence[Path | str], options: StudyOptions) -> Study:
    """Write out/study.html, on which people compare methods blindly, and out/key.json.

    The page is one file that needs no network. It shows two clips of one video in step, and saves
    votes as CSV; no name in it tells a method.

    Args:
        methods: folders of predictions, as `aa-eval` takes them; their names are the methods'.

    Raises:
        StudyError: fewer than two folders, no video in common, videos of unequal size or length,
            or a page too large to open.
        aa_eval.errors.EvalError: a folder or a video cannot be read.
    """
    paths = [Path(method).resolve() for method in methods]
    found = {path.name: find_videos(path).videos for path in paths}
    if len(found) < len(paths):
        raise StudyError("two of the folders have one name: rename one, it names the method")
    truth = find_videos(options.references).videos if options.references else None
    folders = [*found.values(), *([truth] if truth is not None else [])]
    shared = set(folders[0]).intersection(*folders) if folders else set()
    left_out = tuple(sorted({video for videos in found.values() for video in videos} - shared))
    videos = sorted(shared)[: options.videos]
    trials = plan_trials(list(found), videos, options.checks, options.seed)
    wanted = dict.fromkeys(
        (trial.video, method, trial.spoilt == side)
        for trial in trials
        for side, method in (("left", trial.left), ("right", trial.right))
    )
    lengths, rates = _timing(found, videos)
    contents: dict[tuple[str, str, bool], bytes] = {}
    for video, method, spoilt in progress(list(wanted), desc="clips", unit="clip"):
        frames = islice(iter_frames(found[method][video]), lengths[video])
        contents[video, method, spoilt] = _clip(frames, rates[video], spoilt)
        if sum(map(len, contents.values())) > MAX_PAGE_BYTES:
            raise StudyError(
                f"the clips exceed {MAX_PAGE_BYTES >> 20} MiB at {video!r}: choose fewer (--videos)"
            )
    names = _blind_names(contents, options.seed)
    shown = {f"t{n:03d}": trial for n, trial in enumerate(trials, 1)}
    blind = {
        name: (names[t.video, t.left, t.spoilt == "left"],
               names[t.video, t.right, t.spoilt == "right"])
        for name, t in shown.items()
    }  # fmt: skip
    clips = {
        name: BlindClip(method, video, spoilt) for (video, method, spoilt), name in names.items()
    }
    study = hashlib.sha256(repr((sorted(names.values()), options.question)).encode()).hexdigest()[
        :12
    ]
    key = Key(SCHEMA, study, options.question, list(found), clips, blind)
    photos = {video: _photo(truth[video]) for video in videos} if truth is not None else {}
    data = {
        "study": study,
        "question": options.question,
        "trials": [{"name": name, "clips": blind[name], "photo": photos.get(t.video)}
                   for name, t in shown.items()],
        "clips": {names[c]: base64.b64encode(content).decode() for c, content in contents.items()},
    }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    made = Study(options.out / "study.html", options.out / KEY_FILE, len(trials), left_out)
    made.page.write_text(_page(data), encoding="utf-8")
    write_key(made.key, key)
    return made


def _page(data: dict[str, Any]) -> str:
    script = page_script("study.js")
    return page_template("study.html.j2").render(
        question=data["question"], data=data, script=Markup(script), script_hash=script_hash(script)
    )


def _timing(
    found: dict[str, dict[str, VideoSource]], videos: Sequence[str]
) -> tuple[dict[str, int], dict[str, float]]:
    """Frames and frame rate of each video; the first rate given.

    Raises:
        StudyError: the methods' videos differ in size or length, which would tell them apart.
    """
    lengths, rates = {}, {}
    for video in videos:
        infos = {method: probe(sources[video]) for method, sources in found.items()}
        (first, like), *others = infos.items()
        for method, info in others:
            for what, ours, theirs in (
                ("frames", like.num_frames, info.num_frames),
                ("pixels (height, width)", like.size_hw, info.size_hw),
            ):
                if ours != theirs:
                    raise StudyError(
                        f"'{video}' has {ours} {what} in {first}, {theirs} in {method}: raters "
                        "would know them by it: bring both to one size and length"
                    )
        lengths[video] = like.num_frames
        rates[video] = next((info.fps for info in infos.values() if info.fps), FPS_OF_IMAGES)
    return lengths, rates


def _clip(frames: Iterator[NDArray[np.uint8]], fps: float, spoilt: bool) -> bytes:
    file = io.BytesIO()
    write_h264(file, (enlarge(spoil(frame) if spoilt else frame) for frame in frames), fps)
    return file.getvalue()


def spoil(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame in large blocks, uint8 [H, W, 3]: a rater who looks cannot prefer it."""
    height, width = frame.shape[:2]
    block = max(1, -(-min(height, width) // _SPOILT_BLOCKS))
    small = Image.fromarray(frame).resize(
        (-(-width // block), -(-height // block)), Image.Resampling.BOX
    )
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def _blind_names(
    contents: dict[tuple[str, str, bool], bytes], seed: int
) -> dict[tuple[str, str, bool], str]:
    """A name for each clip from which nothing can be guessed, not even the order of making."""
    draw = random.Random(
        f"{seed}:{len(contents)}:{hashlib.sha256(b''.join(contents.values())).hexdigest()}"
    )
    return {clip: f"{draw.getrandbits(40):010x}" for clip in contents}


def _photo(source: VideoSource) -> str:
    picture = Image.fromarray(next(iter_frames(source)))
    picture.thumbnail((480, 480))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
