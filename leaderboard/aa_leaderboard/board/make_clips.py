"""Write the clips that the page plays: `media/` of a result, from the folders that were scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_eval.result import Result
from aa_eval.videos.layout import find_videos
from aa_eval.videos.source import iter_frames, probe
from aa_leaderboard.board.media import MEDIA_DIR
from aa_leaderboard.errors import SubmissionError

MIN_SIDE_PX = 192  # smaller clips are enlarged by a whole factor: a browser would blur them
FPS_OF_IMAGES = 24.0  # image folders carry no rate


def make_clips(
    result_dir: Path, result: Result, predictions: Path, references: Path, count: int
) -> Iterator[str]:
    """Write the clips of the first `count` videos of `result`; yields each video's id when done.

    A video becomes VIDEO.reference.png (the first true frame, as the trivial baselines take it),
    VIDEO.ground_truth.mp4 and VIDEO.prediction.mp4: h264, 4:2:0, as long as the shorter of the two.

    Raises:
        SubmissionError: a video of the result is missing from a folder.
        aa_eval.errors.EvalError: a folder or a video cannot be read.
    """
    folders = {
        "prediction": find_videos(predictions).videos,
        "ground_truth": find_videos(references).videos,
    }
    media = result_dir / MEDIA_DIR
    media.mkdir(parents=True, exist_ok=True)
    for video in islice(sorted(result.per_video), count):
        for role, found in folders.items():
            if video not in found:
                raise SubmissionError(
                    f"{video}: scored in {result_dir}, absent from the {role} folder: "
                    "give the folders that aa-eval was given"
                )
        sources = {role: found[video] for role, found in folders.items()}
        infos = {role: probe(source) for role, source in sources.items()}
        length = min(info.num_frames for info in infos.values())
        rates = [info.fps for info in infos.values() if info.fps]
        name = video.replace("/", "__")
        first = next(iter_frames(sources["ground_truth"]))
        Image.fromarray(enlarge(first)).save(media / f"{name}.reference.png")
        for role, source in sources.items():
            fps = rates[0] if rates else FPS_OF_IMAGES
            frames = (enlarge(frame) for frame in islice(iter_frames(source), length))
            with (media / f"{name}.{role}.mp4").open("wb") as file:
                write_h264(file, frames, fps)
        yield video


def write_h264(file: BinaryIO, frames: Iterable[NDArray[np.uint8]], fps: float) -> None:
    """Encode frames [H, W, 3] of even sides as mp4: h264, 4:2:0, the same bytes on any machine."""
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "16", "threads": "1"}
        for i, frame in enumerate(frames):
            if i == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def enlarge(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge by the least whole factor that reaches MIN_SIDE_PX; h264 needs even sides."""
    factor = -(-MIN_SIDE_PX // min(frame.shape[:2]))
    large = frame.repeat(factor, 0).repeat(factor, 1) if factor > 1 else frame
    return large[: large.shape[0] // 2 * 2, : large.shape[1] // 2 * 2]
