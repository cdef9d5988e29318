"""The options of `evaluate` and of the command `aa-eval`, spelled once; importing them is cheap."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

_Cross = Parameter(group="Without true videos")
_Regions = Parameter(group="Regions and pose")
_Speed = Parameter(group="Speed and resources")

Layout = Literal["video-files", "frame-tree", "flat-frames", "webdataset-shards"]


@Parameter(name="*")
@dataclass(frozen=True)
class FolderOptions:
    """Which folders are paired, and what is not refused."""

    references: Path | str | None = None
    """Folder of the true videos, laid out like PREDICTIONS."""

    _: KW_ONLY

    reference_images: Annotated[Path | str | None, _Cross] = None
    """Without true videos: folder of the photos that were animated, `<video>.png`, or `<photo>.png`
    of videos called `<photo>__<motion>`."""

    driving_poses: Annotated[Path | str | None, _Cross] = None
    """Folder of the keypoints of the driving videos, `<video>.npz` or `<motion>.npz`, or with
    --keypoints-command of these videos; with keypoints of the photos they are retargeted."""

    benchmark: str | None = None
    """A benchmark (`aa-eval benchmarks`) or one's own TOML file: checks the references' ids and
    frames, computes the protocols of its published tables and ours in one pass, and looks for both
    folders in `data/<benchmark>/`."""

    layout: Layout | None = None
    """Layout of both folders; detected if not given."""

    allow: Annotated[tuple[str, ...], Parameter(show_default=False)] = ()
    """Do not refuse this, and write it into the result: missing-videos, extra-videos, frame-count,
    frame-numbers, numbering-gap, fps, same-files, size, channels, bit-depth, test-split or
    test-frames."""


@Parameter(name="*")
@dataclass(frozen=True)
class EvaluateOptions(FolderOptions):
    """How `evaluate` scores predictions; every field is an option of `aa-eval`, too."""

    _: KW_ONLY

    protocols: Annotated[
        tuple[str, ...], Parameter(name="--protocol", consume_multiple=True, show_default=False)
    ] = ()
    """Names (`aa-eval protocols`) or TOML files of one's own; if not given the benchmark's own,
    else aa-clean-v2, or aa-cross-v1 with --reference-images."""

    metric_module: Path | str | None = None
    """Python file with metrics of one's own: `METRICS = {name: FrameMetric(function, better=...)}`;
    they are scored as a further protocol of the file's name."""

    baselines: str = "fast"
    """Trivial predictions that are scored, too: fast, all, off, or names with commas."""

    method: str | None = None
    """Name in the result; the folder's name if not given."""

    label: str = "measured"
    """What the row is, e.g. "demo"."""

    out: Path | str | None = None
    """Folder that the results are written to; each of several protocols gets a folder in it."""

    keypoints: Annotated[Path | str | None, _Regions] = None
    """Folder of `<video>.npz` of the predictions, for PCK, AKD and the missing rate; with
    --reference-images for identity, too."""

    reference_keypoints: Annotated[Path | str | None, _Regions] = None
    """The same of the references; with --reference-images of the photos."""

    keypoints_command: Annotated[str | None, _Regions] = None
    """A program that finds the keypoints of both sides, in place of the two folders: it gets
    `{frames}`, a folder of PNG, and writes `{keypoints}`, the npz, for each video. What it found is
    kept in OUT/keypoints."""

    regions: Annotated[Path | str | None, _Regions] = None
    """Image metrics inside masks, too: folder of
    `<region>/<video>/<frame>.png`, levels 0 and 255."""

    region_boxes: Annotated[str | None, _Regions] = None
    """The same inside boxes around the reference's joints: person, face, hands (with commas); needs
    --reference-keypoints."""

    device: Annotated[str, _Speed] = "cpu"
    """cpu, cuda, or one GPU: cuda:1."""

    workers: Annotated[int | None, Parameter(group=_Speed.group, validator=Number(gte=1))] = None
    """Processes that videos are spread over, with --device cuda over all GPUs; as many as there
    are cores (or GPUs) if not given, and 1 for fewer than 96 frames."""

    ray: Annotated[str | None, _Speed] = None
    """Spread videos over a Ray cluster instead: its address, auto, or local (needs the package
    ray, and shared storage)."""

    cache: Annotated[str | None, _Speed] = None
    """Folder where finished videos are kept, so that a run can be resumed, or off;
    $XDG_CACHE_HOME/aa-eval or ~/.cache/aa-eval if not given."""

    verify: Annotated[bool, Parameter(group=_Speed.group, negative=())] = False
    """Hash every file again instead of trusting its size, times and inode."""

    feature_cache_gib: Annotated[float, _Speed] = 8.0
    """Room in the cache for LPIPS features of references, which the next method needs, GiB."""
