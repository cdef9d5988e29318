"""Protocol: everything that decides a number, in one file with a hash."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import MISSING, asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

from aa_eval.errors import ProtocolError
from aa_eval.features.networks import NETWORKS
from aa_eval.features.spec import VideoFeatures
from aa_eval.metric_module import MetricModule, read_metric_module
from aa_eval.metrics.skeleton import Crop
from aa_eval.names import DEFAULT_PROTOCOL, POSE_BETTER
from aa_eval.parse import parse
from aa_eval.resize import RESIZES

Pairing: TypeAlias = Literal["numbers", "positions", "humanvid-24", "photo"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to compute a number.

    Attributes:
        better: which direction wins.
        over: what one value is computed from: a "frame" and its reference, a "change" between a
            frame and the one before it (so that the first frame, and the first after a gap, have
            no value), a "video", or the "set" of all videos.
        needs: what must be given besides videos: the "person" as a region, or "keypoints" of both
            sides, or such keypoints that have a "face".
        parameters: the fields that `Metric` must have for it.
        mean_in_float32: the script that it reproduces averages in float32.
        module_sha256: of the user's module that has it; "" for ours.
    """

    better: Literal["higher", "lower"]
    over: Literal["frame", "change", "video", "set"] = "frame"
    parameters: frozenset[str] = frozenset()
    needs: Literal["", "person", "keypoints", "face"] = ""
    mean_in_float32: bool = False
    module_sha256: str = ""


# What a metric lacks, and how it is given.
NEEDS = {
    "person": "needs to know where the person is: --regions DIR with person/<video>/<frame>.png, "
    "or --region-boxes person",
    "keypoints": "needs --keypoints and --reference-keypoints",
    "face": "needs --keypoints and --reference-keypoints with faces: of 5, 128 or 133 joints",
}
_OF_LPIPS = frozenset({"net", "input_range"})
KINDS: dict[str, Kind] = {
    "l1": Kind("lower"),
    "l1_per_pixel_count": Kind("lower"),
    "l1_unit_range_float32": Kind("lower", mean_in_float32=True),
    "ssim_grey_uniform7": Kind("higher"),
    "ssim_colour_gaussian": Kind("higher"),
    "ssim_colour_gaussian_frame_range": Kind("higher"),
    "ssim_colour_gaussian_padded_float32": Kind("higher"),
    "psnr": Kind("higher"),
    "psnr_float32": Kind("higher"),
    "psnr_uint8_overflow": Kind("higher"),
    "lpips": Kind("lower", parameters=_OF_LPIPS),
    "picd": Kind("lower", needs="person"),
    "picd_nearest": Kind("lower"),
    "csim": Kind("higher", needs="face"),
    "pape": Kind("lower", "video", needs="keypoints"),
    "dtssd": Kind("lower", "change"),
    "flicker": Kind("lower", "change"),
    "ssim_of_differences": Kind("higher", "change"),
    "tlpips": Kind("lower", "change", _OF_LPIPS),
    "tof_ilk": Kind("lower", "change"),
    "warp_error_ilk": Kind("lower", "change"),
    "colour_distribution": Kind("lower"),
    "flicker_own_ilk": Kind("lower", "change"),
    "warp_error_own_ilk": Kind("lower", "change"),
    "fvd": Kind("lower", "set"),
    "kvd": Kind("lower", "set"),  # biased where both sides are of the same videos: the next is not
    "kvd_of_videos": Kind("lower", "set"),
    "mean_feature_distance": Kind("lower", "set"),
    "frechet_of_each_video": Kind("lower", "set"),
    "jedi": Kind("lower", "set"),
}
TEMPORAL_KINDS = frozenset(name for name, kind in KINDS.items() if kind.over == "change")
SET_KINDS = frozenset(name for name, kind in KINDS.items() if kind.over == "set")
# can be computed inside a region of the picture, too; picd_nearest looks at a crop of its own
REGION_KINDS = frozenset(
    name
    for name, kind in KINDS.items()
    if kind.over == "frame" and not kind.needs and name != "picd_nearest"
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # results have folders of these names
_KEY = re.compile(r"[A-Za-z0-9_]{1,60}")  # "@" stands before a region


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a protocol.

    Attributes:
        key: its name in results and on the board.
        kind: a key of `KINDS`: the function that computes it.
        net: LPIPS and tLPIPS only: "alex" or "vgg".
        input_range: of these only: "-1..1" (as the network was trained) or "0..1" (DisCo's script).
        crop: under the pairing "photo": the part of frame and photo that is compared, see
            `aa_eval.metrics.crops.crop_frames`.
    """

    key: str
    kind: str
    net: Literal["alex", "vgg"] | None = None
    input_range: Literal["-1..1", "0..1"] | None = None
    crop: Crop = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is measured, and how.

    Attributes:
        name, version: a changed protocol gets a new version, and has another hash anyway.
        description, source: for people; not part of the hash.
        score_reference_frame: whether metrics with a value per frame count each video's first
            frame. Methods are given that frame, so that copying it pays. Windows of
            FVD and KVD hold it in any case.
        aggregation: "frames" (every frame counts alike) or "videos" (every video does).
        identical_psnr_db: what PSNR is given where the error is zero, since infinity has no mean;
            with `inf` one such frame leaves the metric without a value.
        size_mismatch_resize: filter that brings predictions to the reference's size where
            `--allow size` was given; must give whole levels.
        pck_alpha: tolerance of PCK, used when keypoints are given.
        size_mismatch_side: "prediction", or "reference": which of the two is resized.
        resizes: sizes may differ: the resize is part of the protocol.
        pairing: "numbers": by frame number. "positions": in order, whatever their numbers, both
            sides cut to the shorter. "humanvid-24": the prediction's frames in order against the
            first 24 of every third frame of the reference (of fewer than 73 frames: every
            (frames // 24)-th). "photo": without true frames: every frame is held to the photo
            of the person, and its pose to a driving pose.
        metric_module: a Python file (relative to the protocol's own) with metrics of
            the user's: see `aa_eval.metric_module`. Its content, not its place, is in the hash.
        prediction_name: what predictions may be called, apart from the reference's name: "{id}_*",
            "output_{id}".
        min_joint_score: a joint is visible from this score on; 0 is any score above 0.
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
    video_features: VideoFeatures | None = None
    min_joint_score: float = 0.0
    size_mismatch_side: Literal["prediction", "reference"] = "prediction"
    resizes: bool = False
    pairing: Pairing = "numbers"
    prediction_name: str = ""
    metric_module: str = ""
    metric_module_sha256: str = ""

    def better(self, key: str) -> Literal["higher", "lower"] | None:
        """Which direction wins in a column of its results, such as "ssim@face"; None: unknown."""
        name = key.partition("@")[0]
        kinds = {metric.key: KINDS[metric.kind].better for metric in self.metrics}
        return (kinds | POSE_BETTER).get(name)

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON of everything but `description` and `source`.

        Fields that came later are left out where they have their default, so that the hashes of
        older protocols stay.
        """
        content = asdict(self)
        del content["description"], content["source"], content["metric_module"]
        for kind, values in ((Protocol, content), (VideoFeatures, content["video_features"] or {})):
            for field in fields(kind):
                later = field.default is not MISSING and field.name != "video_features"
                if later and values.get(field.name, ...) == field.default:
                    del values[field.name]
        for metric in content["metrics"]:
            if not metric["crop"]:  # came later, too
                del metric["crop"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def list_protocols() -> list[str]:
    """Names that `read_protocol` knows, sorted."""
    folder = files("aa_eval") / "protocols"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def protocol_text(name: str) -> str:
    """The TOML of the protocol called `name`, or of the file at the path `name`, comments included.

    Raises:
        ProtocolError: no such protocol.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise ProtocolError(f"protocol {name}: no such file")
        return Path(name).read_text(encoding="utf-8")
    names = list_protocols()
    if name not in names:
        raise ProtocolError(
            f"protocol '{name}' is unknown: choose from {', '.join(names)}, or name a .toml file"
        )
    return (files("aa_eval") / "protocols" / f"{name}.toml").read_text(encoding="utf-8")


def read_protocol(name: str) -> Protocol:
    """The protocol called `name`, or the user's own in the file at the path `name`.

    Raises:
        ProtocolError: no such protocol, or its file is malformed, or has the name of one of ours
            and other content.
    """
    protocol = parse_protocol(protocol_text(name), name)
    known = list_protocols()
    if name not in known and protocol.name in known and protocol != read_protocol(protocol.name):
        raise ProtocolError(f"protocol {name}: there is another '{protocol.name}': rename yours")
    return protocol


def protocol_of_module(path: Path | str, like: str = DEFAULT_PROTOCOL) -> Protocol:
    """The metrics of the module at `path`, all of them, as a protocol of its name.

    Aggregated as protocol `like` does. Without true videos a metric is given the whole picture and
    the photo, both at one size.

    Raises:
        ProtocolError: see `aa_eval.metric_module.read_metric_module`.
    """
    module = use_metric_module(Path(path))
    base = read_protocol(like)
    crop: Crop = "picture" if base.pairing == "photo" else ""
    return replace(
        base,
        name=module.path.stem,
        version="1",
        description=f"The metrics of {module.path.name}.",
        source="the user's own",
        metrics=tuple(Metric(name, name, crop=crop) for name in module.metrics),
        video_features=None,
        metric_module=str(module.path.resolve()),
        metric_module_sha256=module.sha256,
    )


def use_metric_module(path: Path, sha256: str | None = None) -> MetricModule:
    """Make the metrics of a module kinds of this process; the same module may be used again.

    Raises:
        ProtocolError: as `read_metric_module`, or one of its names is taken.
    """
    module = read_metric_module(path, sha256)
    for name, metric in module.metrics.items():
        if name in KINDS and KINDS[name].module_sha256 != module.sha256:
            raise ProtocolError(f"{path}: there is another metric '{name}': rename yours")
        KINDS[name] = Kind(metric.better, module_sha256=module.sha256)
    return module


@dataclass(frozen=True, slots=True)
class _Alias:
    """Another name of a protocol: a script that computes the very same numbers."""

    name: str
    same_as: str
    description: str
    source: str


def parse_protocol(text: str, where: str) -> Protocol:
    """A protocol from TOML text; `where` names it in errors.

    A text with `same_as` is another name of that protocol, and gives it with its own description.

    Raises:
        ProtocolError: not TOML, a field is missing, unknown or of another type, or a value that
            cannot be computed.
    """
    try:
        row = tomllib.loads(text)
        if "same_as" in row:
            words = parse(row, _Alias)
            if words.same_as not in list_protocols():
                raise ProtocolError(
                    f"protocol {where}: same_as '{words.same_as}' is none of aa-eval's own"
                )
            return replace(
                read_protocol(words.same_as), description=words.description, source=words.source
            )
        protocol = parse(row, Protocol)
        if protocol.metric_module:
            path = Path(where).parent / protocol.metric_module
            module = use_metric_module(path)
            protocol = replace(
                protocol, metric_module=str(path.resolve()), metric_module_sha256=module.sha256
            )
    except ProtocolError:
        raise
    except ValueError as error:
        raise ProtocolError(f"protocol {where}: malformed ({error})") from error
    if problem := _problem(protocol):
        raise ProtocolError(f"protocol {where}: {problem}")
    return protocol


def _problem(protocol: Protocol) -> str | None:
    features = protocol.video_features
    resizes = [protocol.size_mismatch_resize, *([features.resize] if features else [])]
    for name in resizes:
        if name not in RESIZES:
            return f"resize '{name}' is unknown: choose from {', '.join(RESIZES)}"
    if not _NAME.fullmatch(protocol.name):
        return f"name {protocol.name!r} cannot name a folder: letters, digits, '.', '_' and '-'"
    if not protocol.identical_psnr_db > 0:  # also where it is NaN
        return f"identical_psnr_db is {protocol.identical_psnr_db}, expected above 0"
    if not 0 < protocol.pck_alpha <= 1 or not 0 <= protocol.min_joint_score <= 1:
        return "pck_alpha and min_joint_score must be in 0..1, the former not 0"
    if not protocol.size_mismatch_resize.endswith("uint8"):
        return f"size_mismatch_resize '{protocol.size_mismatch_resize}' does not give whole levels"
    keys = [metric.key for metric in protocol.metrics]
    if not keys or len(set(keys)) < len(keys):
        return f"metric keys {keys} are none, or not unique"
    for metric in protocol.metrics:
        if not _KEY.fullmatch(metric.key) or metric.key in POSE_BETTER:
            return (
                f"metric key {metric.key!r}: expected letters, digits and '_', and not one of "
                f"{', '.join(POSE_BETTER)}, which keypoints have"
            )
        if metric.kind not in KINDS:
            return f"metric kind '{metric.kind}' is unknown: choose from {', '.join(KINDS)}"
        given = {name for name in ("net", "input_range") if getattr(metric, name) is not None}
        wanted = KINDS[metric.kind].parameters
        if given != wanted:
            return f"metric '{metric.key}' has {sorted(given)}, needs {sorted(wanted)}"
        if metric.kind in SET_KINDS and features is None:
            return f"metric '{metric.key}' needs a [video_features] table"
        if (protocol.pairing == "photo") != bool(metric.crop):
            return f"metric '{metric.key}': the pairing 'photo' and a crop belong together"
        needs = KINDS[metric.kind].needs
        if protocol.pairing == "photo" and (metric.kind in SET_KINDS or needs not in ("", "face")):
            return f"metric '{metric.key}' needs true videos: not under the pairing 'photo'"
        of_crop = {"csim": "face", "picd_nearest": "figure"}.get(metric.kind)
        if of_crop not in (None, metric.crop) and (metric.crop or metric.kind == "picd_nearest"):
            return f"metric '{metric.key}': {metric.kind} takes the crop '{of_crop}'"
        prefixes = features is not None and features.window_rule == "prefixes"
        if metric.kind in SET_KINDS and prefixes != (metric.kind == "mean_feature_distance"):
            return f"metric '{metric.key}': mean_feature_distance and 'prefixes' belong together"
    return _features_problem(features) if features else None


def _features_problem(features: VideoFeatures) -> str | None:
    if features.net not in NETWORKS:
        return f"network '{features.net}' is unknown: choose from {', '.join(NETWORKS)}"
    wanted = NETWORKS[features.net].size_hw
    if features.size_hw != wanted:
        return f"size_hw is {list(features.size_hw)}: {features.net} takes {list(wanted)}"
    lengths = (features.window_frames, features.window_stride)
    if features.window_rule == "whole" and lengths != (0, 0):
        return "window_frames and window_stride must be 0 under window_rule 'whole'"
    if features.window_rule != "whole" and min(lengths) < 1:
        return "window_frames and window_stride must be at least 1"
    if features.runs < 1 or (features.window_rule != "random-reference" and features.runs != 1):
        return "runs must be at least 1, and 1 where nothing is sampled"
    return None
