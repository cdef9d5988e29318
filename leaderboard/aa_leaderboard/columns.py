"""Column: how one metric is headed, printed and ordered, and which values are plausible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal


@dataclass(frozen=True, slots=True)
class Column:
    """One metric as the board shows it.

    Attributes:
        key: the key of `Result.metrics` (or of a published row).
        heading: as the field's papers print it.
        better: which direction wins; None when the board does not know, and so does not rank.
        decimals: digits after the point; None prints 3.78E-04, the papers' form of L1.
        low, high: values outside are refused at `add` as implausible.
        meaning: one sentence for a reader.
    """

    key: str
    heading: str
    better: Literal["higher", "lower"] | None
    decimals: int | None
    low: float
    high: float
    meaning: str

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]

    def text_of(self, value: float) -> str:
        """`value` with the number of digits that the papers print; never 0 for what is not 0."""
        text = f"{value:.{self.decimals or 0}f}"
        vanishes = value != 0 and float(text) == 0
        return f"{value:.2E}" if self.decimals is None or vanishes else text


# The order is the papers': SSIM, PSNR, LPIPS, FVD first; what only some print follows.
COLUMNS = (
    Column("ssim", "SSIM", "higher", 3, -1, 1, "structural similarity"),
    Column(
        "psnr_overflow", "PSNR", "higher", 2, 24, 200,
        "PSNR of DisCo's first script: errors squared in 8 bits, so never below 24.17 dB",
    ),
    Column("psnr", "PSNR*", "higher", 2, -50, 200, "true peak signal-to-noise ratio, dB"),
    Column("psnr_unknown", "PSNR?", None, 2, -50, 200, "PSNR of which no source tells the kind"),
    Column("lpips", "LPIPS", "lower", 3, 0, 20, "as printed; the network is the protocol's"),
    Column("lpips_alex", "LPIPS alex", "lower", 3, 0, 20, "perceptual distance, AlexNet"),
    Column("lpips_vgg", "LPIPS vgg", "lower", 3, 0, 20, "perceptual distance, VGG-16"),
    # KVD is unbiased and may be negative; Fréchet distances are computed without a matrix root.
    Column("fvd", "FVD", "lower", 1, 0, 1e7, "Fréchet video distance"),
    Column("kvd", "KVD", "lower", 2, -1e7, 1e7, "kernel video distance, unbiased"),
    Column("fid_vid", "FID-VID", "lower", 2, 0, 1e7, "Fréchet distance of 3D-ResNet features"),
    Column("fid", "FID", "lower", 2, 0, 1e7, "Fréchet distance of Inception features of frames"),
    Column("l1", "L1", "lower", None, 0, 255, "mean absolute error, in the protocol's unit"),
    Column("csim", "CSIM", "higher", 3, -1, 1, "cosine of face embeddings with the reference's"),
    Column("picd", "pICD", "lower", 3, 0, 2, "distance of DINOv2 patches on the person"),
    Column("pape", "pAPE", "lower", 3, 0, 1, "1 - mean average precision of the body's joints"),
    Column("cd_fvd", "CD-FVD", "lower", 1, 0, 1e7, "Fréchet distance of VideoMAE v2 features"),
    Column("jedi", "JEDi", "lower", 3, 0, 1e7, "kernel distance of V-JEPA features"),
    Column("fvmd", "FVMD", "lower", 1, 0, 1e7, "Fréchet distance of motion histograms"),
    Column("pck", "PCK", "higher", 3, 0, 1, "share of keypoints found within the tolerance"),
    Column("akd", "AKD", "lower", 2, 0, 1e5, "mean distance of keypoints that both have, pixels"),
    Column("missing_rate", "MKR", "lower", 3, 0, 1, "share of keypoints that are missing"),
    Column("dtssd", "dtSSD", "lower", 2, 0, 510, "difference of changes over time, levels"),
    Column("flicker", "Flicker", "lower", 2, 0, 255, "change where the reference stands still"),
    Column("ssim_differences", "ΔSSIM", "higher", 3, -1, 1, "SSIM of frame differences"),
    Column("tlpips", "tLPIPS", "lower", 4, 0, 20, "difference of perceptual changes over time"),
    Column("tof", "tOF", "lower", 2, 0, 1e5, "distance of optical flows, pixels"),
    Column("warp_error", "Warp error", "lower", 4, 0, 1, "change along the reference's motion"),
    Column("limb_angle", "Limb angle", "lower", 1, 0, 180, "degrees from the driving pose's limbs"),
    Column(
        "identity_limbs", "Limb colours", "lower", 1, 0, 255,
        "difference to the photo's colours along the person's limbs, levels",
    ),
    Column("identity_lpips", "LPIPS person", "lower", 3, 0, 20, "of the person, against the photo"),
    Column("photo_lpips", "LPIPS photo", "lower", 3, 0, 20, "of the picture, against the photo"),
    Column("photo_colour", "Colours", "lower", 1, 0, 255, "distance of the colours, levels"),
    Column("flicker_own", "Flicker*", "lower", 2, 0, 255, "change where the video stands still"),
    Column("warp_error_own", "Warp error*", "lower", 4, 0, 1, "change along its own motion"),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}

# The four columns that the paper's Tables 1 to 3 print, in their order.
PAPER_KEYS = ("ssim", "psnr", "lpips", "fvd")


def column_of(key: str) -> Column:
    """The column of a metric; one of unknown direction is shown but never ranked.

    "ssim@face" is the column of "ssim" within region "face". A metric that only a protocol of
    aa-eval knows is ranked in the direction that it states.
    """
    metric, _, region = key.partition("@")
    if region:
        whole = column_of(metric)
        meaning = f"{whole.meaning}; within region {region} only"
        return replace(whole, key=key, heading=f"{whole.heading} {region}", meaning=meaning)
    if key in BY_KEY:
        return BY_KEY[key]
    better = _directions().get(key)
    meaning = "a metric of aa-eval" if better else "not known to this board: shown, never ranked"
    return Column(key, key, better, 4, -1e9, 1e9, meaning)


@cache
def _directions() -> dict[str, Literal["higher", "lower"]]:
    """Metric key -> which direction wins, as the protocols of aa-eval state it."""
    from aa_eval.protocol import KINDS, list_protocols, read_protocol

    protocols = map(read_protocol, list_protocols())
    return {metric.key: KINDS[metric.kind].better for p in protocols for metric in p.metrics}


def columns_of(keys: Iterable[str]) -> tuple[Column, ...]:
    """The columns of `keys` in the papers' order, those of regions behind; unknown ones last."""
    present = set(keys)
    regions = sorted({key.partition("@")[2] for key in present})  # "" first: the whole picture
    keys = [f"{c.key}@{region}" if region else c.key for region in regions for c in COLUMNS]
    known = tuple(column_of(key) for key in keys if key in present)
    return known + tuple(column_of(key) for key in sorted(present - set(keys)))
