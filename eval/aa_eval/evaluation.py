"""Evaluate: two folders and names of protocols in, results out; every check before the work."""

from __future__ import annotations

import functools
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from aa_eval.errors import EvalError, PairingError
from aa_eval.names import CROSS_PROTOCOL, DEFAULT_PROTOCOL
from aa_eval.options import EvaluateOptions, FolderOptions
from aa_eval.protocol import Pairing, Protocol, protocol_of_module, read_protocol
from aa_eval.result import RESULT_FILE, Result, read_result, write_result
from aa_eval.scoring.baselines import choose_baselines, is_trivial
from aa_eval.scoring.cache import Cache, default_cache
from aa_eval.scoring.estimate_keypoints import estimate_keypoints, words_of
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.benchmark import Benchmark, read_benchmark
from aa_eval.videos.cross_pairs import CrossFolders, make_cross_pairs, photo_of
from aa_eval.videos.layout import find_videos, named_after
from aa_eval.videos.pairing import Pair, make_pairs
from aa_eval.videos.region_pairs import pairs_with_regions
from aa_eval.videos.source import VideoSource

P = ParamSpec("P")
AnyOptions = TypeVar("AnyOptions", bound=FolderOptions)
_log = logging.getLogger("aa_eval")
_NO_DRIVER = "--reference-images needs --driving-poses DIR: whose motion it should be"


def _with_options(
    options: Callable[P, EvaluateOptions],
) -> Callable[
    [Callable[[Path | str | None, EvaluateOptions], list[Result]]],
    Callable[Concatenate[Path | str | None, P], list[Result]],
]:
    """Give a function the fields of `EvaluateOptions` as its own arguments."""

    def decorate(
        function: Callable[[Path | str | None, EvaluateOptions], list[Result]],
    ) -> Callable[Concatenate[Path | str | None, P], list[Result]]:
        @functools.wraps(function)
        def call(
            predictions: Path | str | None = None, /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Result]:
            return function(predictions, options(*args, **kwargs))

        return call

    return decorate


@_with_options(EvaluateOptions)
def evaluate(predictions: Path | str | None, options: EvaluateOptions) -> list[Result]:
    """Score predicted videos against references, and trivial baselines of the same references.

    Called as `evaluate(predictions, references, protocols=..., baselines=..., ...)`: what follows
    `predictions` are the fields of `EvaluateOptions`, which `aa-eval` has as options.

    Each frame is decoded once for all protocols; finished videos go into the cache, so that a run
    that was stopped resumes. Memory does not grow with the number of frames, except for one number
    per frame and metric, and one vector per FVD window.

    Args:
        predictions: folder of <video>.mp4, <video>/<frame>.png, <video>_<frame>.png, or WebDataset
            shards; named after the references, frame for frame. None where a benchmark says where.

    Returns:
        For each protocol the method's result, then the baselines' (label "baseline").

    Raises:
        EvalError: what was found, what was expected, what to do; nothing was written.

    Example:
        >>> from aa_eval import evaluate
        >>> results = evaluate("predictions", "references", workers=2)  # doctest: +SKIP
        >>> results[0].to_frame()  # doctest: +SKIP
    """
    with tempfile.TemporaryDirectory() as scratch:
        return _evaluate(predictions, options, Path(scratch))


def _evaluate(
    predictions: Path | str | None, options: EvaluateOptions, scratch: Path
) -> list[Result]:
    benchmark = read_benchmark(options.benchmark) if options.benchmark else None
    options = _with_folders(options, benchmark)
    _require_sense(predictions, options)
    has_truth = options.reference_images is None
    usual = DEFAULT_PROTOCOL if has_truth else CROSS_PROTOCOL
    names = options.protocols or (benchmark.protocols if benchmark else (usual,))
    protocols = [read_protocol(name) for name in dict.fromkeys(names)]
    if options.metric_module is not None:
        protocols.append(protocol_of_module(options.metric_module, usual))
    doubled = {p.name for p in protocols if sum(p.name == q.name for q in protocols) > 1}
    if doubled:
        raise EvalError(f"--protocol: '{min(doubled)}' is there twice: name it once")
    baselines = choose_baselines(options.baselines, has_truth=has_truth)
    if predictions is None:
        assert benchmark is not None  # _require_sense has seen to it
        predictions = benchmark.predictions
    method = options.method or Path(predictions).resolve().name
    if is_trivial(method):
        raise EvalError(f"--method {method}: the name of a trivial baseline: choose another")
    folders = _folders(Path(options.out), protocols) if options.out else []
    made_in = (Path(options.out) if options.out else scratch) / "keypoints"
    if not has_truth and options.keypoints_command is not None:
        _require_out(folders, method)  # before the command runs
        options = _driven_keypoints(predictions, options, made_in, _cache(options))
    pairs, overrides = pair_folders(predictions, options, protocols)
    _require_out(folders, method)
    cache = _cache(options)
    if has_truth:
        options = _keypoints_of_both(pairs, options, made_in, cache)
    keypoints, theirs, masks = (
        None if folder is None else Path(folder)
        for folder in (options.keypoints, options.reference_keypoints, options.regions)
    )
    if has_truth:
        pairs = pairs_with_regions(pairs, masks, _names(options.region_boxes), theirs)
    elif not all(pair.driven and pair.driven.other_photo for pair in pairs):
        _log.info("no baseline other-photo: all videos have one photo")
        baselines = tuple(name for name in baselines if name != "other-photo")
    results = score_pairs(
        pairs, protocols, method=method, label=options.label,
        benchmark=benchmark.name if benchmark else None,
        baselines=baselines, overrides=overrides,
        keypoints=(keypoints, theirs) if has_truth and keypoints and theirs else None,
        keypoints_by=options.keypoints_command, device=options.device, cache=cache,
        workers=options.workers, ray_address=options.ray,
    )  # fmt: skip
    for folder, protocol in zip(folders, protocols, strict=False):
        for result in results:
            if result.protocol == protocol.name:
                own = result.method == method
                write_result(folder if own else folder / "baselines" / result.method, result)
    return results


def pair_folders(
    predictions: Path | str | None,
    options: FolderOptions,
    protocols: Sequence[Protocol] = (),
    *,
    references_only: bool = False,
) -> tuple[list[Pair], tuple[str, ...]]:
    """Pair the folders' videos and check their headers; nothing is decoded.

    Args:
        predictions: None where a benchmark says where they lie.
        protocols: they say which frames belong together, and which names; by number without any.
        references_only: pair the references with nothing.

    Returns:
        The pairs, and the overrides that were needed; each is also logged as a warning.

    Raises:
        PairingError, VideoError: the folders are refused.
    """
    benchmark = read_benchmark(options.benchmark) if options.benchmark else None
    options = _with_folders(options, benchmark)
    wants_truth = {protocol.pairing != "photo" for protocol in protocols}
    if options.reference_images is not None:
        return _cross_pairs(predictions, options, protocols, benchmark)
    if False in wants_truth:
        raise EvalError(
            f"--protocol {' '.join(p.name for p in protocols)}: needs --reference-images DIR and "
            "--driving-poses DIR: it scores without true videos"
        )
    predictions_at = None if predictions is None else Path(predictions)
    references_at = None if options.references is None else Path(options.references)
    if benchmark is not None:
        references_at = references_at or benchmark.references
        predictions_at = None if references_only else predictions_at or benchmark.predictions
        benchmark.require_folders(references_at, predictions_at)
    if references_at is None:
        raise EvalError("--references DIR is missing: the true videos (or --benchmark NAME)")
    ours = None
    if predictions_at is not None:
        ours = find_videos(predictions_at, options.layout)
        _log.info("predictions %s", ours.describe())
    theirs = find_videos(references_at, options.layout)
    _log.info("references  %s", theirs.describe())
    problems = benchmark.problems(theirs) if benchmark else {}
    for kind, problem in problems.items():
        if kind != "renumbered" and kind not in options.allow:
            raise PairingError(
                f"{problem}. Complete the folder, or override with --allow {kind} "
                "(it will be written into the result)"
            )
    frames: set[Pairing] = {protocol.pairing for protocol in protocols} or {"numbers"}
    names = {protocol.prediction_name for protocol in protocols} or {""}
    if max(len(frames), len(names)) > 1:
        raise EvalError(
            f"--protocol {' '.join(protocol.name for protocol in protocols)}: they pair frames "
            "differently: score under one at a time"
        )
    if ours is not None:
        ours = named_after(ours, theirs, names.pop())
    any_size = bool(protocols) and all(protocol.resizes for protocol in protocols)
    pairs, overrides = make_pairs(
        ours, theirs, frozenset(options.allow), frames.pop(), any_size=any_size
    )
    overrides += tuple(
        problem if kind == "renumbered" else f"allow {kind}: {problem}"
        for kind, problem in problems.items()
    )
    overrides += _same_files(pairs, options)
    for override in overrides:
        _log.warning("%s", override)
    return pairs, overrides


def _cross_pairs(
    predictions: Path | str | None,
    options: FolderOptions,
    protocols: Sequence[Protocol],
    benchmark: Benchmark | None,
) -> tuple[list[Pair], tuple[str, ...]]:
    """`pair_folders` without true videos."""
    if options.driving_poses is None or options.reference_images is None:
        raise EvalError(_NO_DRIVER)
    if options.references is not None:
        raise EvalError(
            "--references and --reference-images exclude each other: with true videos there is "
            "something better to compare with than a photo"
        )
    if theirs := [protocol.name for protocol in protocols if protocol.pairing != "photo"]:
        raise EvalError(
            f"--protocol {theirs[0]}: needs true videos: choose {CROSS_PROTOCOL} with "
            "--reference-images"
        )
    least = {protocol.min_joint_score for protocol in protocols} or {0.0}
    if len(least) > 1:
        raise EvalError(
            f"--protocol {' '.join(p.name for p in protocols)}: min_joint_score differs: score "
            "under one at a time"
        )
    if predictions is None:
        if benchmark is None:
            raise EvalError("PREDICTIONS is missing: without true videos only a method is scored")
        predictions = benchmark.predictions
    ours = find_videos(Path(predictions), options.layout)
    _log.info("predictions %s", ours.describe())
    keypoints, of_photos = (
        (options.keypoints, options.reference_keypoints)
        if isinstance(options, EvaluateOptions)
        else (None, None)
    )
    folders = CrossFolders(
        Path(options.reference_images),
        Path(options.driving_poses),
        None if keypoints is None else Path(keypoints),
        None if of_photos is None else Path(of_photos),
    )
    pairs, overrides = make_cross_pairs(ours, folders, frozenset(options.allow), least.pop())
    for override in overrides:
        _log.warning("%s", override)
    return pairs, overrides


def _keypoints_of_both(
    pairs: Sequence[Pair], options: EvaluateOptions, folder: Path, cache: Cache | None
) -> EvaluateOptions:
    """With the folders that --keypoints-command fills, if it is given."""
    if options.keypoints_command is None:
        return options
    for side, name in (("prediction", "predictions"), ("reference", "references")):
        if side == "prediction" or options.reference_keypoints is None:
            videos = {pair.video_id: getattr(pair, side) for pair in pairs}
            estimate_keypoints(options.keypoints_command, videos, folder / name, cache)
    theirs = options.reference_keypoints or folder / "references"
    return replace(options, keypoints=folder / "predictions", reference_keypoints=theirs)


def _driven_keypoints(
    predictions: Path | str, options: EvaluateOptions, folder: Path, cache: Cache | None
) -> EvaluateOptions:
    """The same without true videos: of the predictions, the photos, and the driving videos."""
    command = options.keypoints_command
    assert command is not None
    assert options.reference_images is not None  # the caller has seen to both
    if options.driving_poses is None:
        raise EvalError(_NO_DRIVER)
    ours = find_videos(Path(predictions), options.layout).videos
    photos = {photo_of(Path(options.reference_images), video) for video in ours}
    poses = Path(options.driving_poses)
    if not any(poses.glob("*.npz")):
        estimate_keypoints(command, find_videos(poses).videos, folder / "driving", cache)
        poses = folder / "driving"
    estimate_keypoints(command, ours, folder / "predictions", cache)
    theirs = options.reference_keypoints
    if theirs is None:
        theirs = folder / "photos"
        of_photos = {photo.stem: VideoSource(photo.stem, (photo,), (0,)) for photo in photos}
        estimate_keypoints(command, of_photos, theirs, cache)
    return replace(
        options,
        driving_poses=poses,
        keypoints=folder / "predictions",
        reference_keypoints=theirs,
    )


def _with_folders(options: AnyOptions, benchmark: Benchmark | None) -> AnyOptions:
    """With the folders of a benchmark without true videos, where none are given."""
    if benchmark is None or benchmark.has_truth:
        if benchmark is not None and options.reference_images is not None:
            raise EvalError(
                f"--benchmark {benchmark.name} has true videos: drop --reference-images"
            )
        return options
    images = options.reference_images or benchmark.folder / "reference-images"
    poses = options.driving_poses or benchmark.folder / "driving-poses"
    benchmark.require_cross_folders(Path(images), Path(poses))
    return replace(options, reference_images=images, driving_poses=poses)


def _same_files(pairs: Sequence[Pair], options: FolderOptions) -> tuple[str, ...]:
    same = [p for p in pairs if p.prediction and p.prediction.is_same_file(p.reference)]
    if not same:
        return ()
    problem = (
        f"predictions that are the references' own files: {len(same)} ({same[0].reference.name})"
    )
    if "same-files" not in options.allow:
        raise PairingError(
            f"{problem}. Name the predictions' folder, or override with --allow same-files "
            "(it will be written into the result)"
        )
    return (f"allow same-files: {problem}",)


def _require_cross_sense(options: EvaluateOptions) -> None:
    for option, given in (("--regions", options.regions), ("--region-boxes", options.region_boxes)):
        if given is not None:
            raise EvalError(f"{option} needs true videos: drop it, or give --references")
    made = options.keypoints or options.keypoints_command
    if options.reference_keypoints is not None and made is None:
        raise EvalError("--reference-keypoints needs --keypoints: the poses of the predictions")


def _require_sense(predictions: Path | str | None, options: EvaluateOptions) -> None:
    if options.driving_poses is not None and options.reference_images is None:
        raise EvalError("--driving-poses needs --reference-images DIR: the photos of the people")
    if options.reference_images is not None:
        _require_cross_sense(options)
    if options.keypoints_command is not None:
        words_of(options.keypoints_command)
        if options.keypoints is not None:
            raise EvalError("--keypoints and --keypoints-command exclude each other")
    made = options.keypoints_command is not None
    if options.region_boxes and not made and options.reference_keypoints is None:
        raise EvalError("--region-boxes needs --reference-keypoints DIR, whose joints it boxes in")
    boxes_alone = options.region_boxes and options.keypoints is None
    both = (options.keypoints is None) == (options.reference_keypoints is None)
    if options.reference_images is None and not (both or boxes_alone or made):
        raise EvalError("--keypoints and --reference-keypoints belong together: give both")
    if options.workers is not None and options.workers < 1:
        raise EvalError(f"--workers {options.workers}: expected at least 1")
    if options.ray and options.workers is not None:
        raise EvalError("--ray and --workers exclude each other: a cluster has its own processes")
    if not 0 <= options.feature_cache_gib < 2**20:  # also where it is NaN
        raise EvalError(f"--feature-cache-gib {options.feature_cache_gib}: expected 0 or more GiB")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", options.device):
        raise EvalError(f"--device {options.device}: expected cpu, cuda or cuda:0")
    if predictions is None and options.benchmark is None:
        raise EvalError("PREDICTIONS is missing: the folder to score")
    if options.device.startswith("cuda"):
        import torch  # takes seconds to import: only where it is asked

        there = torch.cuda.device_count()
        if int(options.device.partition(":")[2] or 0) >= there:
            raise EvalError(f"--device {options.device}: torch sees {there} CUDA devices: use cpu")


def _names(words: str | None) -> list[str]:
    """The names in a list with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in words.split(","))) if words else []


def _cache(options: EvaluateOptions) -> Cache | None:
    if options.cache == "off":
        return None
    folder = Path(options.cache) if options.cache else default_cache()
    _require_writable(folder, "--cache", "another folder, or --cache off")
    room = int(options.feature_cache_gib * 2**30)
    return Cache(folder, options.device, options.verify, room)


def _folders(out: Path, protocols: Sequence[Protocol]) -> list[Path]:
    """Where each protocol's result goes."""
    return [out / p.name for p in protocols] if len(protocols) > 1 else [out]


def _require_out(folders: Sequence[Path], method: str) -> None:
    """Before the work: the results can be written, and overwrite no other method's."""
    for folder in folders:
        _require_writable(folder, "--out", "another folder")
        if (folder / RESULT_FILE).exists():
            there = read_result(folder).method
            if there != method:
                raise EvalError(
                    f"--out {folder}: holds the result of '{there}', this run is '{method}': name "
                    "another folder, or delete it"
                )


def _require_writable(folder: Path, option: str, remedy: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise EvalError(
            f"{option} {folder}: nothing can be written there ({error.strerror}): name {remedy}"
        ) from error
