"""Scoring of one video: each frame is decoded once, and every metric reads the same frames."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable, VideoError
from aa_eval.features.spec import VideoFeatures
from aa_eval.malloc import outside_the_heap
from aa_eval.metrics.crops import crop_frames
from aa_eval.metrics.skeleton import Person
from aa_eval.protocol import KINDS, REGION_KINDS, TEMPORAL_KINDS, Metric
from aa_eval.resize import resize
from aa_eval.scoring.baselines import BACKWARDS, BASELINES, WITHOUT_TRUTH, baseline_places
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.feature_windows import WindowFeatures, needed_windows
from aa_eval.scoring.metric_runner import Fit, Measures, Where
from aa_eval.videos.pairing import Pair
from aa_eval.videos.regions import MaskFrames, Region, iter_masks
from aa_eval.videos.source import VideoSource, iter_frames, iter_frames_backwards

REFERENCE = ""  # the name under which a reference's own features stand
_DIGEST_FRAMES = 8  # the size stands before every so many frames in a reference's digest

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Item:
    """One array to be known of one video.

    Attributes:
        name: the method, a trivial baseline, or `REFERENCE`.
        what: a metric without key (its values, [T]), video features (vectors, [windows, d]),
            "pixels" (sha256 of the reference's frames, uint8 [32]), or "masks" (of the region's).
        fit: how frames of unequal size are brought to one; None: they are taken as they are.
        region: the part of the picture that a metric looks at; "" for all of it.
    """

    name: str
    what: Metric | VideoFeatures | str
    fit: Fit | None = None
    region: str = ""


# A string in place of an array says why there is none.
VideoScores = dict[Item, NDArray[Any] | str]
PIXELS = Item(REFERENCE, "pixels")


def masks_of(region: str) -> Item:
    """The sha256 of a region's masks."""
    return Item(REFERENCE, "masks", region=region)


def score_video(
    pair: Pair, names: Sequence[str], measures: Measures, cache: Cache | None
) -> VideoScores:
    """Everything that `measures` asks of one video, under each of `names`.

    Args:
        names: the method (where `pair` has a prediction), and trivial baselines.
        cache: what it holds is not computed again, and what is computed goes into it.

    Raises:
        VideoError: a frame cannot be decoded.
    """
    items = _items(pair, names, measures)
    if cache is None:
        return _compute(pair, items, measures)
    keys = _keys(pair, items, measures, cache)
    scores = _found(items, keys, cache)
    computed = _compute(pair, [item for item in items if item not in scores], measures)
    for item, values in computed.items():
        if not isinstance(values, str):
            cache.put(keys[item], values)
    return scores | computed


def scores_in_cache(
    pair: Pair, names: Sequence[str], measures: Measures, cache: Cache | None
) -> VideoScores | None:
    """What `score_video` returns, if all of it is in the cache; nothing is decoded."""
    if cache is None:
        return None
    items = _items(pair, names, measures)
    scores = _found(items, _keys(pair, items, measures, cache), cache)
    return scores if len(scores) == len(items) else None


def _found(items: Sequence[Item], keys: dict[Item, Any], cache: Cache) -> VideoScores:
    arrays = ((item, cache.get(keys[item])) for item in items)
    return {item: array for item, array in arrays if array is not None}


def _items(pair: Pair, names: Sequence[str], measures: Measures) -> list[Item]:
    items = [PIXELS, *(Item(REFERENCE, spec, fit) for spec, fit in measures.features)]
    items += [masks_of(region) for region in pair.regions]
    for name in names:
        items += [
            Item(name, metric, fit, region)
            for metric, fit in measures.frame_metrics
            for region in _regions_of(metric, pair)
        ]
        items += [Item(name, spec, fit) for spec, fit in measures.features]
    return items


def _regions_of(metric: Metric, pair: Pair) -> tuple[str, ...]:
    """Where in a pair's pictures a metric is computed: nowhere if the pair lacks what it needs."""
    needs = KINDS[metric.kind].needs
    if needs == "person":
        return (needs,) if needs in pair.regions else ()
    if needs == "face" and pair.faces is None and pair.driven is None:
        return ()
    return ("", *(pair.regions if metric.kind in REGION_KINDS else ()))


def _keys(pair: Pair, items: Sequence[Item], measures: Measures, cache: Cache) -> dict[Item, Any]:
    reference: Any = cache.digest(pair.reference)
    prediction = cache.digest(pair.prediction) if pair.prediction else None
    if pair.driven is not None:
        others = cache.digest(pair.driven.other_photo) if pair.driven.other_photo else None
        people = [pair.driven.predicted, pair.driven.photo, pair.driven.other]
        # all that it is held to stands for the photo; a baseline may be made of the prediction, too
        held_to = [_digest(pair.driven.target), *(_person_digest(person) for person in people)]
        reference = [reference, prediction, others, *held_to]
    regions = {name: [_region_digest(region, cache)] for name, region in pair.regions.items()}
    regions[""] = []

    def key(item: Item) -> Any:
        side: Any = prediction
        if item.name in BASELINES or item.name in WITHOUT_TRUTH:
            side = ["baseline", item.name, reference]
        inside = regions[item.region]
        # what a fitted frame looks like depends on both sizes
        fit = [*item.fit, pair.size_hw, pair.prediction_size_hw] if item.fit else None
        if isinstance(item.what, str):
            return [item.what, reference, *inside]
        weights = measures.weights(item.what)
        if isinstance(item.what, Metric):
            gaps = _gaps(pair) if item.what.kind in TEMPORAL_KINDS else []
            what = asdict(item.what)
            if KINDS[item.what.kind].needs == "face" and pair.faces is not None:
                inside = [pair.faces.digest]
            return ["frames", what, fit, weights, side, reference, gaps, *inside]
        windows = _windows(item, pair)
        spec = asdict(item.what)
        # these decide which windows and what is done with the vectors afterwards
        for field in ("window_rule", "window_stride", "runs", "unbiased_covariance"):
            del spec[field]
        of_side = reference if item.name == REFERENCE else side
        return ["features", spec, fit, windows, weights, of_side]

    return {item: key(item) for item in items}


def _windows(item: Item, pair: Pair) -> list[tuple[int, int]]:
    assert isinstance(item.what, VideoFeatures)
    return needed_windows(item.what, pair.video_id, pair.frame_numbers, item.name == REFERENCE)


def _region_digest(region: Region, cache: Cache) -> str:
    """sha256 of what decides the masks, apart from the frames' size."""
    if isinstance(region, MaskFrames):
        return cache.digest(region.source)
    content = f"{region.boxes_px.shape}".encode() + region.boxes_px.astype("<i8").tobytes()
    return hashlib.sha256(content).hexdigest()


def _person_digest(person: Person | None) -> list[str | None] | None:
    return None if person is None else [_digest(person.body), _digest(person.face)]


def _digest(array: Values | None) -> str | None:
    return None if array is None else hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _gaps(pair: Pair) -> list[int]:
    """Indices of frames whose number does not follow that of the frame before."""
    return [t for t, (a, b) in enumerate(pairwise(pair.frame_numbers), start=1) if b != a + 1]


def _compute(pair: Pair, items: Sequence[Item], measures: Measures) -> VideoScores:
    if not items:
        return {}
    names = list(dict.fromkeys(item.name for item in items if item.name != REFERENCE))
    streams = {
        item: WindowFeatures(
            item.what,
            partial(measures.network, item.what),
            _windows(item, pair),
            measures.device,
        )
        for item in items
        if isinstance(item.what, VideoFeatures)
    }
    values: dict[Item, list[Values]] = defaultdict(list)
    reasons: dict[Item, str] = {}
    pixels = hashlib.sha256()
    mask_readers = {
        name: iter_masks(pair.regions[name], pair.size_hw)
        for name in dict.fromkeys(item.region for item in items if item.region)
    }
    mask_digests = {name: hashlib.sha256() for name in mask_readers}
    fits = dict.fromkeys([None, *(item.fit for item in items)])
    before: dict[tuple[Fit | None, str], Frames] = {}  # the frame before, of each name
    crops = _Crops(pair)
    done = 0
    for frames_of in _chunks(pair, names, measures.chunk_frames):
        reference = frames_of[REFERENCE]
        if done % _DIGEST_FRAMES == 0:
            pixels.update(f"{reference.shape[1:]}".encode())
        pixels.update(reference.data)
        masks = {
            name: _next_masks(pair, name, reader, len(reference))
            for name, reader in mask_readers.items()
        }
        for name, mask in masks.items():
            for of_frame in mask:
                mask_digests[name].update(f"{of_frame.shape}".encode())
                mask_digests[name].update(np.packbits(of_frame).data)
        fitted = {
            (fit, name): frames
            for fit in fits
            for name, frames in (
                crops.of(frames_of, fit, done)
                if fit and fit.crop
                else _fitted(frames_of, fit, pair)
            ).items()
        }
        done += len(reference)
        for item in items:
            if item in streams:
                streams[item].push(fitted[item.fit, item.name])
            elif isinstance(item.what, Metric) and item not in reasons:
                try:
                    where = Where(
                        masks.get(item.region),
                        _faces_of(pair, item, slice(done - len(reference), done)),
                        crops.shown(item.fit, item.name) if item.fit and item.fit.crop else None,
                    )
                    values[item].append(_values(item, fitted, before, measures, where))
                except MetricUnavailable as error:
                    reasons[item] = f"'{pair.video_id}': {error}"
        before = {key: frames[-1:] for key, frames in fitted.items()}
    scores: VideoScores = {item: stream.finish() for item, stream in streams.items()}
    scores |= {i: np.concatenate(arrays) for i, arrays in values.items() if i not in reasons}
    for item, array in scores.items():
        if isinstance(item.what, Metric) and item.what.kind in TEMPORAL_KINDS:
            assert not isinstance(array, str)  # reasons come last
            array[_gaps(pair)] = np.nan
    if PIXELS in items:
        if pair.driven is not None:  # results are comparable where they were held to one pose, too
            pixels.update(np.ascontiguousarray(pair.driven.target).data)
        scores[PIXELS] = np.frombuffer(pixels.digest(), dtype=np.uint8)
    for name, digest in mask_digests.items():
        if masks_of(name) in items:
            scores[masks_of(name)] = np.frombuffer(digest.digest(), dtype=np.uint8)
    return scores | reasons


def _next_masks(
    pair: Pair, name: str, reader: Iterator[NDArray[np.bool_]], count: int
) -> NDArray[np.bool_]:
    """The masks of the next `count` frames, [count, H, W]."""
    masks = list(islice(reader, count))
    if len(masks) < count:
        raise VideoError(f"'{pair.video_id}': region '{name}' has fewer masks than frames")
    return np.stack(masks)


def _fitted(frames_of: dict[str, Frames], fit: Fit | None, pair: Pair) -> dict[str, Frames]:
    """The frames of all names at one size; baselines are the reference's size, as it is."""
    size_hw = pair.prediction_size_hw
    if fit is None or size_hw is None or size_hw == pair.size_hw:
        return frames_of
    target_hw = pair.size_hw if fit.side == "prediction" else size_hw
    return {
        name: frames
        if frames.shape[1:3] == target_hw
        else resize(frames, fit.resize, target_hw).astype(np.uint8)
        for name, frames in frames_of.items()
    }


class _Crops:
    """The crops of one video's frames, and where they show anything; of a still picture only one.

    A name whose body is not known has no crop but the whole picture.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._still: dict[tuple[Fit, str], tuple[Frames, Masks]] = {}
        self._shown: dict[tuple[Fit, str], Masks] = {}

    def of(self, frames_of: dict[str, Frames], fit: Fit, first: int) -> dict[str, Frames]:
        """The crops of all names' frames, which begin at frame `first`."""
        found = {}
        for name, frames in frames_of.items():
            is_still = name == REFERENCE or name in WITHOUT_TRUTH
            person = self._person(name, first, len(frames))
            lacks = person is None or (fit.crop == "face" and person.face is None)
            if lacks and fit.crop != "picture":
                continue
            if not is_still:
                found[name], self._shown[fit, name] = crop_frames(frames, person, fit.crop)
                continue
            if (fit, name) not in self._still:
                self._still[fit, name] = crop_frames(frames[:1], person, fit.crop)
            crop, shown = self._still[fit, name]
            found[name] = np.repeat(crop, len(frames), axis=0)
            self._shown[fit, name] = np.repeat(shown, len(frames), axis=0)
        return found

    def shown(self, fit: Fit, name: str) -> tuple[Masks, Masks]:
        """Where the crops of a name's and of the photo's latest frames show something.

        Raises:
            MetricUnavailable: it is not known where the person is.
        """
        ours, theirs = self._shown.get((fit, name)), self._shown.get((fit, REFERENCE))
        if ours is None or theirs is None:
            of_face = fit.crop == "face"
            raise MetricUnavailable(
                f"it is not known where the {'face' if of_face else 'person'} is: needs "
                "--keypoints (of the predictions) and --reference-keypoints (of the photos)"
                + (" of 128 or 133 joints" if of_face else "")
            )
        return ours, theirs

    def _person(self, name: str, first: int, count: int) -> Person | None:
        driven = self._pair.driven
        if driven is None:
            return None
        if name in (REFERENCE, "repeat-reference"):
            return driven.photo
        if name == "other-photo":
            return driven.other
        if driven.predicted is None:
            return None
        frames = slice(1) if name == "static" else slice(first, first + count)
        return driven.predicted.at(frames)


def _values(
    item: Item,
    fitted: dict[tuple[Fit | None, str], Frames],
    before: dict[tuple[Fit | None, str], Frames],
    measures: Measures,
    where: Where,
) -> Values:
    """A metric of the frames at hand; a temporal one sees the frame before them, too.

    Raises:
        MetricUnavailable: it has no value on these frames.
    """
    assert isinstance(item.what, Metric)
    sides = (item.fit, item.name), (item.fit, REFERENCE)
    frames, reference = (fitted[side] for side in sides)
    lead = 1 if item.what.kind in TEMPORAL_KINDS and before else 0
    if lead:
        frames, reference = (np.concatenate([before[side], fitted[side]]) for side in sides)
    if where.mask is not None and where.mask.shape[1:] != reference.shape[1:3]:
        raise MetricUnavailable("the reference is resized, its masks are not: no value in a region")
    return measures.per_frame(item.what, frames, reference, where)[lead:]


def _faces_of(pair: Pair, item: Item, frames: slice) -> tuple[Values, Values] | None:
    """Where both sides' faces are in the given frames, if the metric needs to know it.

    Raises:
        MetricUnavailable: the pictures are not of the size in whose pixels that is known.
    """
    assert isinstance(item.what, Metric)
    if pair.faces is None or KINDS[item.what.kind].needs != "face":
        return None
    resized = pair.prediction_size_hw not in (None, pair.size_hw)
    if resized and item.fit is not None and item.fit.side == "reference":
        raise MetricUnavailable(
            "the reference is resized, its keypoints are not: no value of faces"
        )
    ours = pair.faces.predicted
    if item.name in BASELINES:
        ours = baseline_places(item.name, pair.faces.reference)
    return ours[frames], pair.faces.reference[frames]


def _chunks(pair: Pair, names: Sequence[str], size: int) -> Iterator[dict[str, Frames]]:
    """Frames [T, H, W, 3] of each name and of `REFERENCE`, up to `size` at a time."""
    reference = iter_frames(pair.reference)
    readers: dict[str, Iterator[Frames]] = {
        name: iter_frames_backwards(pair.reference)
        if name in BACKWARDS
        else iter_frames(_prediction(pair))
        for name in names
        if name in BACKWARDS or name not in (*BASELINES, "static", "other-photo")
    }
    if "static" in names:
        readers["static"] = repeat(next(iter_frames(_prediction(pair))), pair.num_frames)
    if "other-photo" in names:
        assert pair.driven is not None  # the caller has seen to both
        assert pair.driven.other_photo is not None
        readers["other-photo"] = iter_frames(pair.driven.other_photo)
    predictors = {name: BASELINES[name]() for name in names if name in BASELINES}
    left = pair.num_frames
    while left:
        count = min(size, left)
        true = list(islice(reference, count))
        frames_of = {REFERENCE: _stacked(true)} if true else {}
        for name in names:
            frames = list(islice(readers[name], count)) if name in readers else true
            if min(len(true), len(frames)) < count:
                raise VideoError(
                    f"'{pair.video_id}': fewer frames can be decoded than its file holds"
                )
            if name in predictors:
                frames = [predictors[name](frame) for frame in frames]
            frames_of[name] = _stacked(frames)
        if len(true) < count:
            raise VideoError(f"'{pair.video_id}': fewer frames can be decoded than its file holds")
        yield frames_of
        left -= count
    # also lets the readers make their own checks at a file's end
    if any(next(frames, None) is not None for frames in (reference, *readers.values())):
        raise VideoError(f"'{pair.video_id}': more frames can be decoded than its file announces")


def _stacked(frames: Sequence[Frames]) -> Frames:
    shape = (len(frames), *frames[0].shape)
    return np.stack(frames, out=outside_the_heap(shape, np.uint8))


def _prediction(pair: Pair) -> VideoSource:
    assert pair.prediction is not None  # `names` holds the method only where there is one
    return pair.prediction
