"""Recipe: the steps of a curation and every threshold, as one Python value."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aa_curation.check import Check
from aa_curation.errors import RecipeError
from aa_curation.ledger.records import CorpusHead
from aa_curation.measure.black_bars import BlackBars
from aa_curation.measure.distance import NearDuplicates
from aa_curation.measure.frame_stats import Picture
from aa_curation.measure.people import People
from aa_curation.measure.posed_clip import PosedClip
from aa_curation.measure.sampled_frames import SampledFrames
from aa_curation.measure.shots import ShotCuts
from aa_curation.recipe_hash import Form, canonical_form, sha256_of_form
from aa_curation.text.overlay import OverlaidText, TextSearch
from aa_datasets.pose import Pose
from aa_datasets.pose_estimator import PoseEstimator
from aa_datasets.video.foreign import DecodeLimits, VideoInfo

# Our recipes: next to this file in an installed wheel, next to the package in a checkout.
_IN_WHEEL, _IN_CHECKOUT = (folder / "recipes" for folder in Path(__file__).parents[:2])

_NOT_HASHED = frozenset({"thresholds", "weights", "decode", "decode_processes"})
STEPS_VERSION = 5  # raised when a step decides otherwise, or stores other bytes, for the same clip


@dataclass(frozen=True, slots=True)
class Canonical:
    """The form of the stored clips.

    Attributes:
        short_side_px: frames are scaled down to it, never up; sides are even.
        max_fps: faster sources are thinned by a whole number (60 -> 30, 50 -> 25), never blended.
        read_side_px: the long side at which source frames are read (poses are found in these).
    """

    short_side_px: int
    max_fps: float
    read_side_px: int = 1920


@dataclass(frozen=True)
class Recipe:
    """The steps of a curation, in the order in which they run.

    Attributes:
        name: of the corpus.
        min_s, max_s: length of a clip. Longer shots are cut into equal parts.
        video_filters: on the file's header, before decoding.
        cuts: how shots are told apart.
        bars: when black bars are cropped away; None keeps them.
        picture_filters: on a clip's pixels.
        estimator: makes the pose estimator, once a worker, from the folder of model files that
            `--weights` names, or None.
        people_frames: how many frames of a clip are searched for people.
        people_filters: on who is seen in them.
        pose_filters: on the pose of the whole clip.
        clip_filters: on pose, frame rate and overlaid text together.
        frame_filters: on the pixels of the frames that are searched for people, by models of your
            choice (`filters/frame_model.py`).
        canonical: the form of the stored clip.
        text: how the frames that are searched for people are searched for overlaid text, too (boxes
            go to `Clip.text_px`); None does not look for any.
        text_filters: on what was found.
        near_duplicates: which clips are one recording; None keeps them all (two videos of the same
            bytes or packets are one source in any case).
        clips_per_shard: at most so many.
        thresholds: `{reason: threshold}` of `aa-curate redecide`, in place of the filters' own; not
            in `sha256`, since they change while a corpus grows.
        weights: the folder of model files; not in `sha256`, since their content is verified.
        decode: time and memory at which the decoder of a video is killed; not in `sha256`, since
            what is decoded does not depend on them.
        decode_processes: the survey of a video of several minutes decodes so many segments of it at
            a time; not in `sha256`, since the result is the same.
    """

    name: str
    min_s: float
    max_s: float
    video_filters: tuple[Callable[[VideoInfo], Check], ...]
    cuts: ShotCuts
    picture_filters: tuple[Callable[[Picture], Check], ...]
    estimator: Callable[[Path | None], PoseEstimator]
    people_frames: int
    people_filters: tuple[Callable[[People], Check], ...]
    pose_filters: tuple[Callable[[Pose], Check], ...]
    canonical: Canonical
    bars: BlackBars | None = field(default_factory=BlackBars)
    text: TextSearch | None = None
    text_filters: tuple[Callable[[OverlaidText], Check], ...] = ()
    frame_filters: tuple[Callable[[SampledFrames], Check], ...] = ()
    clip_filters: tuple[Callable[[PosedClip], Check], ...] = ()
    near_duplicates: NearDuplicates | None = field(default_factory=NearDuplicates)
    clips_per_shard: int = 256
    thresholds: Mapping[str, float] = field(default_factory=dict, repr=False)
    weights: Path | None = field(default=None, repr=False)
    decode: DecodeLimits = field(default_factory=DecodeLimits, repr=False)
    decode_processes: int = field(default=1, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s:
            raise RecipeError(f"clips of {self.min_s:g} to {self.max_s:g} s: no length fits")
        if min(self.people_frames, self.clips_per_shard, self.decode_processes) < 1:
            raise RecipeError(
                "people_frames, clips_per_shard and decode_processes must be at least 1"
            )
        if self.text_filters and self.text is None:
            raise RecipeError("text_filters without text: add text=TextSearch()")

    def make_estimator(self) -> PoseEstimator:
        """Raises WeightsError where a model is missing or altered."""
        return self.estimator(self.weights)

    @property
    def form(self) -> Form:
        """What the recipe is, in JSON's types: STEPS_VERSION, then every field that decides.

        Raises:
            RecipeError: a filter or estimator cannot be described; the message names it.
        """
        form = canonical_form(self, "RECIPE", leave_out=_NOT_HASHED)
        return {"steps_version": STEPS_VERSION, "recipe": form}

    @property
    def sha256(self) -> str:
        """The hash of `form`: it changes with every threshold and with STEPS_VERSION."""
        return sha256_of_form(self.form)

    @property
    def head(self) -> CorpusHead:
        """The first row of the ledger of a corpus of this recipe."""
        near = None if self.near_duplicates is None else asdict(self.near_duplicates)
        return CorpusHead(self.name, self.sha256, self.clips_per_shard, near, self.form)


def load_recipe(path: Path | str) -> Recipe:
    """The `RECIPE` that a Python file defines.

    Args:
        path: of the file; or the name of one of ours, such as `default`.

    Raises:
        RecipeError: no such file, it fails to run, or it defines no Recipe.
    """
    path = Path(path)
    folder = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT
    ours = {file.stem: file for file in folder.glob("*.py")}
    if not path.is_file() and str(path) in ours:
        path = ours[str(path)]
    if not path.is_file():
        raise RecipeError(
            f"no recipe {path}: give a Python file that defines RECIPE = Recipe(...), or one of "
            f"{', '.join(sorted(ours)) or 'ours (none is installed)'}"
        )
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} is not a Python file: a recipe ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, TypeError) as error:
        raise RecipeError(f"recipe {path} does not run: {error!r}") from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{path} defines no RECIPE = Recipe(...)")
    return recipe
