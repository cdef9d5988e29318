"""Keypoints by a command of the user's: a folder of frames in, one npz out, for each video."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from aa_eval.errors import EvalError, counted
from aa_eval.progress import progress
from aa_eval.scoring.cache import Cache
from aa_eval.videos.keypoints import read_keypoints
from aa_eval.videos.source import VideoSource, iter_frames

FRAMES, KEYPOINTS = "{frames}", "{keypoints}"


def words_of(command: str) -> list[str]:
    """The words of a command that gets frames and writes keypoints; no shell reads it.

    Raises:
        EvalError: it does not say where either goes.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise EvalError(f"--keypoints-command {command}: {error}") from error
    if lacking := [name for name in (FRAMES, KEYPOINTS) if not any(name in w for w in words)]:
        raise EvalError(
            f"--keypoints-command '{command}' lacks {' and '.join(lacking)}: expected a program "
            f"with {FRAMES} (a folder of 00000.png, 00001.png, ...) and {KEYPOINTS} (the npz that "
            "it writes)"
        )
    return words


def estimate_keypoints(
    command: str, videos: Mapping[str, VideoSource], folder: Path, cache: Cache | None
) -> None:
    """Run the command for each video, and put what it writes to folder/<name>.npz.

    Args:
        command: see `words_of`.
        videos: by the name of their file; the frames that are scored, and no others, are handed on.
        cache: a video whose frames the same command (and the same content of the files that it
            names) has seen is not given to it again.

    Raises:
        EvalError: the command cannot be run, fails, or writes no keypoints of so many frames.
    """
    words = words_of(command)
    programs = [
        hashlib.sha256(Path(w).read_bytes()).hexdigest() for w in words if Path(w).is_file()
    ]
    for name, video in progress(
        list(videos.items()), desc=f"{folder.name} keypoints", unit="video"
    ):
        path = (folder / f"{name}.npz").absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        key = ["keypoints", words, programs, cache.digest(video)] if cache else None
        kept = cache.get(key) if cache else None
        if kept is not None:
            path.write_bytes(kept.tobytes())
            continue
        path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            count = 0
            for count, frame in enumerate(iter_frames(video), start=1):
                Image.fromarray(frame).save(Path(scratch, f"{count - 1:05}.png"), compress_level=1)
            _run([w.replace(FRAMES, scratch).replace(KEYPOINTS, str(path)) for w in words], name)
        if not path.is_file():
            raise EvalError(f"--keypoints-command: it wrote no {path}, for video '{name}'")
        points, _, _ = read_keypoints(path)
        if len(points) != count:
            raise EvalError(
                f"--keypoints-command: keypoints of {counted(len(points), 'frame')} for video "
                f"'{name}', which has {count}"
            )
        if cache:
            cache.put(key, np.frombuffer(path.read_bytes(), dtype=np.uint8))


def _run(words: list[str], name: str) -> None:
    try:
        ended = subprocess.run(words, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise EvalError(f"--keypoints-command: {words[0]}: {error.strerror}") from error
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "nothing").splitlines()[-1]
        raise EvalError(
            f"--keypoints-command: status {ended.returncode} for video '{name}', the last that it "
            f"said: {said}"
        )
