"""LoaderConfig: everything that decides the batches of `make_loader`, apart from the shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aa_datasets.errors import DatasetError

if TYPE_CHECKING:
    from aa_datasets.loader.augment import Augmentation
    from aa_datasets.loader.latents import LatentsKey


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderConfig:
    """Which samples a loader gives, and what it may cost.

    Raises:
        DatasetError: a value outside of its range.
    """

    size_hw: tuple[int, int]
    """Height and width of the frames; clips are centre-cropped to this shape and resized."""
    buckets_hw: tuple[tuple[int, int], ...] = ()
    """Further sizes: a clip then has the one, of these and `size_hw`, whose shape is nearest to its
    own, and all clips of a batch have the same one."""
    stage: int = 1
    """1 gives single frames from anywhere in a clip, 2 gives windows of neighbours (Sec. 3.3)."""
    batch_size: int = 1
    """Samples per rank and batch."""
    num_frames: int = 1
    """Target frames per sample, T of the batch."""
    stride: int = 1
    """Distance between neighbours in a window of stage 2, in frames of the clip."""
    seed: int = 0
    """Decides the order of the clips and every window."""
    shards_at_once: int | None = None
    """Read so many shards at a time, in a random order, and shuffle among their clips: for shards
    on a server, or on a disk that seeks slowly. None shuffles among all clips."""
    shard_cache_dir: Path = Path("~/.cache/animate-anyone-toolkit/shards")
    """Where shards from servers are kept; processes and runs may share it."""
    shard_cache_bytes: int = 50 << 30
    """How much of that folder they may take. Less than `shards_at_once` shards, or than all of them
    without it, are fetched again and again."""
    split: str | None = None
    """Only clips of this split, such as "train"; None takes all."""
    too_short_at_most: float = 0.5
    """Share of clips, in [0, 1], that may be left out because the window is longer."""
    augmentation: Augmentation | None = None
    """What is changed at random; None changes nothing."""
    text_mask: bool = False
    """Give each sample a `loss_mask`, False on text laid over the video."""
    draw_face: bool = False
    """Skeletons show the face's points, where clips have them."""
    latents: LatentsKey | None = None
    """Read the latents that these encoders stored next to the shards instead of decoding: reference
    and target then have 0 channels."""
    decoder: Literal["pyav", "decord"] = "pyav"
    """Both give the same pixels; PyAV takes less time."""
    num_workers: int = 0
    """Processes that decode ahead and draw the skeletons; 0 decodes in this process and leaves
    drawing to `FrameBatch.to`."""
    cache_bytes: int = 1 << 30
    """How much each process may keep of the clips that it has decoded; 0 keeps nothing. The batches
    are the same either way."""

    def __post_init__(self) -> None:
        if self.stage not in {1, 2}:
            raise DatasetError(f"loader stage is {self.stage}, expected 1 (frames) or 2 (windows)")
        if self.shards_at_once is not None and self.shards_at_once < 1:
            raise DatasetError(
                f"loader shards_at_once is {self.shards_at_once}, expected at least 1, or None"
            )
        at_least = {"batch_size": 1, "num_frames": 1, "stride": 1, "num_workers": 0}
        for name, least in {**at_least, "cache_bytes": 0}.items():
            if getattr(self, name) < least:
                raise DatasetError(
                    f"loader {name} is {getattr(self, name)}, expected at least {least}"
                )
        for size_hw in self.sizes_hw:
            if min(size_hw) < 1:
                raise DatasetError(f"loader size_hw is {size_hw}, expected (height, width) in px")
        if self.buckets_hw and self.latents is not None:
            raise DatasetError("stored latents are of one size: leave out buckets_hw, or decode")
        if not 0 <= self.too_short_at_most <= 1:
            raise DatasetError(
                f"loader too_short_at_most is {self.too_short_at_most}, expected a share in [0, 1]"
            )

    @property
    def sizes_hw(self) -> tuple[tuple[int, int], ...]:
        """All sizes that a batch may have."""
        return (self.size_hw, *self.buckets_hw)

    @property
    def span_frames(self) -> int:
        """How many frames a clip needs to give a sample."""
        return 1 if self.stage == 1 else (self.num_frames - 1) * self.stride + 1
