"""Protocol: everything that decides a number, in one file with a hash."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Literal

from aa_eval.errors import ProtocolError
from aa_eval.features.networks import NETWORKS
from aa_eval.features.spec import VideoFeatures
from aa_eval.resize import RESIZES

# kind -> the parameters that its entry must have
KINDS: dict[str, frozenset[str]] = {
    "l1": frozenset(),
    "l1_per_pixel_count": frozenset(),
    "ssim_grey_uniform7": frozenset(),
    "ssim_colour_gaussian": frozenset(),
    "ssim_colour_gaussian_frame_range": frozenset(),
    "l1_unit_range_float32": frozenset(),
    "psnr": frozenset(),
    "psnr_float32": frozenset(),
    "psnr_uint8_overflow": frozenset(),
    "lpips": frozenset({"net", "input_range"}),
    "dtssd": frozenset(),
    "flicker": frozenset(),
    "ssim_of_differences": frozenset(),
    "tlpips": frozenset({"net", "input_range"}),
    "tof_ilk": frozenset(),
    "warp_error_ilk": frozenset(),
    "fvd": frozenset(),
    "kvd": frozenset(),
}
# from each frame and the one before: the first frame, and the first behind a gap, have no value
TEMPORAL_KINDS = frozenset(
    {"dtssd", "flicker", "ssim_of_differences", "tlpips", "tof_ilk", "warp_error_ilk"}
)
FLOAT32_KINDS = frozenset({"l1_unit_range_float32"})  # their mean over frames is float32, too
SET_KINDS = frozenset({"fvd", "kvd"})  # one value for all videos together
# of one frame and its reference: can be had within a region of the picture, too
REGION_KINDS = frozenset(KINDS) - TEMPORAL_KINDS - SET_KINDS


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a protocol.

    Attributes:
        key: its name in results and on the board.
        kind: a key of `KINDS`: the function that computes it.
        net: LPIPS and tLPIPS only: "alex" or "vgg".
        input_range: of these only: "-1..1" (as the network was trained) or "0..1" (DisCo's script).
    """

    key: str
    kind: str
    net: Literal["alex", "vgg"] | None = None
    input_range: Literal["-1..1", "0..1"] | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is measured, and how.

    Attributes:
        name, version: a changed protocol gets a new version, and has another hash anyway.
        description, source: for people; not part of the hash.
        score_reference_frame: whether metrics with a value per frame count each video's first
            frame. Methods are given that frame, so that it flatters whoever copies it. Windows of
            FVD and KVD hold it in any case.
        aggregation: "frames" (every frame counts alike) or "videos" (every video does).
        identical_psnr_db: what PSNR is given where the error is zero, since infinity has no mean.
        size_mismatch_resize: filter that brings predictions to the reference's size where
            `--allow size` was given; must give whole levels.
        pck_alpha: tolerance of PCK, used when keypoints are given.
        metrics: in the order in which they are shown.
        video_features: None when no metric needs them.
    """

    name: str
    version: str
    description: str
    source: str
    score_reference_frame: bool
    aggregation: Literal["frames", "videos"]
    identical_psnr_db: float
    size_mismatch_resize: str
    pck_alpha: float
    metrics: tuple[Metric, ...]
    video_features: VideoFeatures | None

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON of everything but `description` and `source`."""
        content = asdict(self)
        del content["description"], content["source"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def list_protocols() -> list[str]:
    """Names that `read_protocol` knows, sorted."""
    folder = files("aa_eval") / "protocols"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_protocol(name: str) -> Protocol:
    """The protocol called `name`, from protocols/<name>.toml.

    Raises:
        ProtocolError: no such protocol, or its file is malformed.
    """
    names = list_protocols()
    if name not in names:
        raise ProtocolError(f"protocol '{name}' is unknown: choose from {', '.join(names)}")
    text = (files("aa_eval") / "protocols" / f"{name}.toml").read_text(encoding="utf-8")
    protocol = parse_protocol(text, name)
    if protocol.name != name:
        raise ProtocolError(f"{name}.toml calls itself '{protocol.name}': name both alike")
    return protocol


def parse_protocol(text: str, where: str) -> Protocol:
    """A protocol from TOML text; `where` names it in errors.

    Raises:
        ProtocolError: not TOML, a field is missing or unknown, or a value nobody can compute.
    """
    try:
        row: dict[str, Any] = tomllib.loads(text)
        features = row.pop("video_features", None)
        if features is not None:
            features = VideoFeatures(**{**features, "size_hw": tuple(features["size_hw"])})
        metrics = tuple(Metric(**metric) for metric in row.pop("metrics"))
        protocol = Protocol(**row, metrics=metrics, video_features=features)
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise ProtocolError(f"protocol {where}: malformed ({error})") from error
    if problem := _problem(protocol):
        raise ProtocolError(f"protocol {where}: {problem}")
    return protocol


def _problem(protocol: Protocol) -> str | None:
    features = protocol.video_features
    if protocol.aggregation not in ("frames", "videos"):
        return f"aggregation is '{protocol.aggregation}', expected 'frames' or 'videos'"
    resizes = [protocol.size_mismatch_resize, *([features.resize] if features else [])]
    for name in resizes:
        if name not in RESIZES:
            return f"resize '{name}' is unknown: choose from {', '.join(RESIZES)}"
    if not protocol.size_mismatch_resize.endswith("uint8"):
        return f"size_mismatch_resize '{protocol.size_mismatch_resize}' does not give whole levels"
    keys = [metric.key for metric in protocol.metrics]
    if not keys or len(set(keys)) < len(keys):
        return f"metric keys {keys} are none, or not unique"
    for metric in protocol.metrics:
        if metric.kind not in KINDS:
            return f"metric kind '{metric.kind}' is unknown: choose from {', '.join(KINDS)}"
        given = {name for name in ("net", "input_range") if getattr(metric, name) is not None}
        if given != KINDS[metric.kind]:
            return f"metric '{metric.key}' has {sorted(given)}, needs {sorted(KINDS[metric.kind])}"
        if metric.kind in SET_KINDS and features is None:
            return f"metric '{metric.key}' needs a [video_features] table"
    return _features_problem(features) if features else None


def _features_problem(features: VideoFeatures) -> str | None:
    if features.net not in NETWORKS:
        return f"network '{features.net}' is unknown: choose from {', '.join(NETWORKS)}"
    wanted = NETWORKS[features.net].size_hw
    if features.size_hw != wanted:
        return f"size_hw is {list(features.size_hw)}: {features.net} takes {list(wanted)}"
    if min(features.window_frames, features.window_stride, features.runs) < 1:
        return "window_frames, window_stride and runs must be at least 1"
    if features.window_rule not in ("stride", "random-reference"):
        return f"window_rule is '{features.window_rule}', expected stride or random-reference"
    if features.window_rule == "stride" and features.runs != 1:
        return "runs must be 1 under window_rule 'stride', which draws nothing"
    return None
