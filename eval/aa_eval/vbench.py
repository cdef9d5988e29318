"""VBench-I2V: write the folder that its script reads, and read its result back.

VBench (Vchitect/VBench, read at 45e79ec) judges videos by networks of its own and is not rebuilt
here. It needs no ground truth: the eight dimensions are the second table of the papers of 2025.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aa_eval.errors import EvalError, ResultError, VideoError, counted
from aa_eval.parse import parse
from aa_eval.progress import progress
from aa_eval.result import SCHEMA, MetricValue, Result
from aa_eval.statistics import cluster_bootstrap
from aa_eval.videos.cross_pairs import photo_of
from aa_eval.videos.images import read_image
from aa_eval.videos.layout import find_videos
from aa_eval.videos.source import VideoSource, iter_frames, probe

# What the tables of RealisDance-Val print; camera_motion needs a phrase in the video's name.
DIMENSIONS = (
    "i2v_subject", "i2v_background", "subject_consistency", "background_consistency",
    "motion_smoothness", "dynamic_degree", "aesthetic_quality", "imaging_quality",
)  # fmt: skip
MANIFEST_FILE = "manifest.json"
_RATIOS = ("1-1", "8-5", "7-4", "16-9")  # of VBench's own crops, width to height
_CRF = "10"  # as VBench's example encodes
_FPS_OF_IMAGES = 24.0
# VBench drops "-<digits>" from a video's name to find its image: an id may end in that, too.
_SUFFIX = "-0"
_PERCENT = frozenset({"imaging_quality"})  # per video in 0..100, overall in 0..1


@dataclass(frozen=True, slots=True)
class ExportedVideo:
    """One video of a manifest; `sha256` is that of the mp4."""

    id: str
    sha256: str
    image_sha256: str
    num_frames: int
    fps: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `export_vbench` wrote, for `import_vbench`."""

    method: str
    videos: tuple[ExportedVideo, ...]


def export_vbench(predictions: Path | str, reference_images: Path | str, out: Path | str) -> str:
    """Write out/videos/<id>-0.mp4, out/images/<id>.png, full_info.json and manifest.json.

    An mp4 is copied; other videos and folders of frames are encoded at CRF 10 (images at 24 fps).

    Args:
        predictions: as `evaluate` takes them.
        reference_images: `<video>.png`, or `<photo>.png` of a video called `<photo>__<motion>`.
        out: a folder that is empty or not there.

    Returns:
        The command that scores them, to be run in a checkout of VBench.

    Raises:
        EvalError: a photo is missing, a video cannot be read, or `out` holds something.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EvalError(f"--out {out}: is there already: delete it, or name another folder")
    sources = find_videos(Path(predictions)).videos
    images = Path(reference_images)
    if not images.is_dir():
        raise EvalError(f"--reference-images {images}: no such folder")
    photos = {video: photo_of(images, video) for video in sorted(sources)}
    for folder in ("videos", "images"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    videos = []
    info: list[dict[str, Any]] = []
    ratio = 1.0
    for video, photo in progress(photos.items(), desc="exporting", unit="video"):
        found = probe(sources[video])
        ratio = found.size_hw[1] / found.size_hw[0]
        target, image = out / "videos" / f"{video}{_SUFFIX}.mp4", out / "images" / f"{video}.png"
        _write_video(sources[video], target, found.fps or _FPS_OF_IMAGES)
        Image.fromarray(read_image(photo)).save(image)
        videos.append(
            ExportedVideo(
                video, _sha256(target), _sha256(image), found.num_frames,
                found.fps or _FPS_OF_IMAGES,
            )
        )  # fmt: skip
        info.append(
            {"prompt_en": video, "dimension": list(DIMENSIONS),
             "video_list": [str(target.resolve())], "custom_image_path": str(image.resolve())}
        )  # fmt: skip
    manifest = Manifest(Path(predictions).resolve().name, tuple(videos))
    for name, content in (("full_info.json", info), (MANIFEST_FILE, asdict(manifest))):
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (out / name).write_text(text, encoding="utf-8")
    nearest = min(_RATIOS, key=lambda name: abs(math.log(ratio) - math.log(_width_to_height(name))))
    folders = ("--videos_path", str((out / "videos").resolve()),
               "--custom_image_folder", str((out / "images").resolve()))  # fmt: skip
    words = ["python", "evaluate_i2v.py", "--mode", "custom_input", *folders, "--ratio", nearest]
    return shlex.join([*words, "--dimension", *DIMENSIONS])


def import_vbench(results: Path | str, manifest: Path | str, commit: str) -> Result:
    """What VBench found, as a Result whose metrics are called vbench_<dimension>.

    Its values stand as VBench gives them, with a 95 % interval over videos; its protocol is called
    vbench-i2v@<commit>, so that `compare` holds two methods to each other where one version of
    VBench scored both.

    Args:
        results: results_<date>_eval_results.json.
        manifest: of `export_vbench`.
        commit: of VBench, 7 to 40 hexadecimal digits.

    Raises:
        ResultError: not a result of VBench, or not of the videos in the manifest, each once.
    """
    results, manifest = Path(results), Path(manifest)
    if not re.fullmatch(r"[0-9a-f]{7,40}", commit):
        raise ResultError(
            f"--commit {commit}: expected VBench's commit, 7 to 40 hexadecimal digits"
        )
    found = _read_json(results)
    try:
        exported = parse(_read_json(manifest), Manifest)
    except ValueError as error:
        raise ResultError(
            f"{manifest}: not a manifest of aa-eval export-vbench: {error}"
        ) from error
    _require_same_files(manifest.parent, exported)
    if not isinstance(found, dict) or not found:
        raise ResultError(f"{results}: expected the dimensions that VBench scored")
    ids = [video.id for video in exported.videos]
    metrics: dict[str, MetricValue] = {}
    per_video: dict[str, dict[str, float | None]] = {video: {} for video in ids}
    for dimension, value in found.items():
        if not re.fullmatch(r"[a-z0-9_]{1,40}", dimension):
            raise ResultError(f"{results}: '{dimension:.40}' is not a dimension of VBench")
        key = f"vbench_{dimension}"
        overall, values = _dimension(f"{results}: {dimension}", dimension, value, ids)
        for video in ids:
            per_video[video][key] = values[video]
        means = np.asarray([values[video] for video in ids])
        low, high = cluster_bootstrap(means, np.ones(len(means))) or (None, None)
        metrics[key] = MetricValue(overall, low, high, None, len(ids), f"VBench at {commit}")
    name = f"vbench-i2v@{commit}"
    return Result(
        schema=SCHEMA,
        method=exported.method,
        label="measured",
        benchmark=None,
        protocol=name,
        protocol_version=commit,
        protocol_hash=hashlib.sha256(name.encode()).hexdigest(),
        metrics=metrics,
        per_video=per_video,
        references={video.id: video.image_sha256 for video in exported.videos},
        regions={},
        trimmed={},
        num_videos=len(ids),
        num_frames=sum(video.num_frames for video in exported.videos),
        weights={},
        packages={},
        overrides=(),
        machine="scored by VBench",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _dimension(
    where: str, dimension: str, value: Any, ids: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """Overall value and value by id of one dimension: [overall, ..., [{video_path, ...}]]."""
    rows = value[-1] if isinstance(value, list) and len(value) > 1 else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ResultError(f"{where}: expected [overall, [{{video_path, video_results}}, ...]]")
    found: dict[str, float] = {}
    for row in rows:
        path, number = row.get("video_path"), row.get("video_results")
        if not isinstance(path, str):
            raise ResultError(f"{where}: a row has no video_path")
        video = Path(path).stem.removesuffix(_SUFFIX)
        if video in found:
            raise ResultError(f"{where}: '{video}' is there twice")
        if video not in ids:
            raise ResultError(f"{where}: '{video}' is not in the manifest")
        scale = 100 if dimension in _PERCENT else 1
        found[video] = _number(f"{where}: '{video}'", number, scale)
    if missing := sorted(set(ids) - found.keys()):
        raise ResultError(
            f"{where}: missing: {len(missing)} of {counted(len(ids), 'video')}, e.g. '{missing[0]}'"
        )
    return _number(f"{where}: overall", value[0], 1), found


def _number(where: str, value: Any, scale: float) -> float:
    """A value in 0..1; booleans are 0 and 1."""
    number = float(value) / scale if isinstance(value, int | float) else math.nan
    if not 0 <= number <= 1 + 1e-6:
        raise ResultError(f"{where} is {value!r:.40}, expected 0 to {scale:g}")
    return number


def _require_same_files(folder: Path, manifest: Manifest) -> None:
    """Refuse videos that changed after the export, where they still lie next to the manifest."""
    for video in manifest.videos:
        path = folder / "videos" / f"{video.id}{_SUFFIX}.mp4"
        if path.is_file() and _sha256(path) != video.sha256:
            raise ResultError(f"{path}: changed after it was exported: export and score it again")
    if len({video.id for video in manifest.videos}) < max(len(manifest.videos), 1):
        raise ResultError(f"{folder / MANIFEST_FILE}: holds no video, or one twice")


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise ResultError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ResultError(f"{path}: not JSON ({error})") from error


def _write_video(source: VideoSource, target: Path, fps: float) -> None:
    if source.is_video_file and source.member is None and source.place.suffix.lower() == ".mp4":
        shutil.copyfile(source.place, target)
        return
    import av

    frames: Iterator[Any] = iter_frames(source)
    with av.open(str(target), "w", format="mp4") as container:
        stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _CRF}
        for index, frame in enumerate(frames):
            height, width = frame.shape[:2]
            if height % 2 or width % 2:
                raise VideoError(f"{source.name}: {width}x{height}: an mp4 needs even sides")
            if index == 0:
                stream.height, stream.width = height, width
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _width_to_height(ratio: str) -> float:
    width, _, height = ratio.partition("-")
    return int(width) / int(height)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
