"""Protocols: what their hash depends on, and which files are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aa_eval.errors import ProtocolError
from aa_eval.protocol import (
    KINDS,
    SET_KINDS,
    TEMPORAL_KINDS,
    list_protocols,
    parse_protocol,
    protocol_text,
    read_protocol,
)

MINIMAL = """
name = "p"
version = "1"
description = ""
source = ""
score_reference_frame = true
aggregation = "videos"
identical_psnr_db = 100.0
size_mismatch_resize = "bilinear-uint8"
pck_alpha = 0.1
[[metrics]]
key = "psnr"
kind = "psnr"
"""


def test_every_protocol_shows_both_psnrs_and_has_its_own_hash() -> None:
    aliases = {"tiktok-tcan-2024": "tiktok-disco-2023"}
    for alias, name in aliases.items():
        assert read_protocol(alias).hash == read_protocol(name).hash
    protocols = [read_protocol(name) for name in list_protocols() if name not in aliases]
    assert {p.name for p in protocols} == {
        "aa-clean-v1",
        "aa-clean-v2",
        "aa-cross-v1",
        "aa-person-v1",
        "aa-temporal-v1",
        "cd-fvd",
        "fid-humanvid-2024",
        "fid-onetoall-2025",
        "fid-vid-disco",
        "fid-vid-onetoall-2025",
        "fvd-bdmm-128f",
        "fvd-styleganv",
        "fvd-tf",
        "fvmd",
        "jedi",
        "tiktok-disco-2023",
        "tiktok-disco-2024",
        "tiktok-humanvid-2024",
        "tiktok-onetoall-2025",
        "tiktok-onetoall-2025-lossless",
        "ubc-aa-inferred",
        "ubc-bdmm",
    }
    assert len({p.hash for p in protocols}) == len(protocols)
    for protocol in protocols:
        kinds = {metric.key: metric.kind for metric in protocol.metrics}
        if set(kinds.values()) <= SET_KINDS:
            assert len(kinds) == 1, protocol.name
            continue
        if protocol.name == "aa-person-v1":
            assert all(KINDS[kind].needs for kind in kinds.values())
            continue
        if protocol.name.startswith("aa-temporal-"):
            assert set(kinds.values()) <= TEMPORAL_KINDS
            continue
        if protocol.pairing == "photo":
            assert not SET_KINDS.intersection(kinds.values())
            continue
        assert kinds["psnr"] in ("psnr", "psnr_float32")
        assert kinds["psnr_overflow"] == "psnr_uint8_overflow"


def test_hash_follows_content_and_not_words() -> None:
    protocol = read_protocol("tiktok-disco-2023")
    assert replace(protocol, description="x", source="y").hash == protocol.hash
    assert protocol.video_features is not None
    other_windows = replace(protocol.video_features, window_stride=2)
    assert replace(protocol, video_features=other_windows).hash != protocol.hash
    assert replace(protocol, identical_psnr_db=99.0).hash != protocol.hash
    assert replace(protocol, metrics=protocol.metrics[::-1]).hash != protocol.hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "psnr"', 'kind = "psnrr"', "'psnrr' is unknown"),
        ('kind = "psnr"', 'kind = "fvd"', r"needs a \[video_features\]"),
        ('kind = "psnr"', 'kind = "lpips"\nnet = "alex"', r"needs \['input_range', 'net'\]"),
        ('"videos"', '"clips"', r"Invalid enum value 'clips' - at `\$.aggregation`"),
        ('"bilinear-uint8"', '"lanczos"', "'lanczos' is unknown"),
        ('"bilinear-uint8"', '"bilinear"', "whole levels"),
        ("pck_alpha", "pck_beta", "missing required field `pck_alpha`"),
        ("pck_alpha = 0.1", 'pck_alpha = "0.1"', "Expected `float`, got `str`"),
        ("pck_alpha", "later = 1\npck_alpha", "unknown field: later"),
        ('kind = "psnr"', 'kind = "psnr"\nnte = 1', "unknown field: metrics.0.nte"),
        ("[[metrics]]", "[[metrics", "malformed"),
        ('name = "p"', 'name = "../x"', "cannot name a folder"),
        ("identical_psnr_db = 100.0", "identical_psnr_db = nan", "identical_psnr_db is nan"),
        ("pck_alpha = 0.1", "pck_alpha = -0.1", "must be in 0..1"),
        ('key = "psnr"', 'key = "psnr@face"', "expected letters"),
        ('key = "psnr"', 'key = "pck"', "which keypoints have"),
        ('key = "psnr"', f'key = "{"k" * 61}"', "expected letters, digits"),
        ('name = "p"', f'name = "{"p" * 101}"', "cannot name a folder"),
        ("identical_psnr_db = 100.0", "identical_psnr_db = 0.0", "expected above 0"),
        ("pck_alpha = 0.1", "pck_alpha = 0.0", "must be in 0..1, the former not 0"),
        ("pck_alpha = 0.1", "pck_alpha = 1.1", "must be in 0..1"),
        ("pck_alpha", "min_joint_score = 1.1\npck_alpha", "must be in 0..1"),
        ("pck_alpha", "min_joint_score = -0.1\npck_alpha", "must be in 0..1"),
        ('kind = "psnr"', 'kind = "psnr"\n[[metrics]]\nkey = "psnr"\nkind = "psnr"', "not unique"),
        (
            '[[metrics]]\nkey = "psnr"\nkind = "psnr"',
            "metrics = []",
            r"\[\] are none, or not unique",
        ),
        (
            'kind = "psnr"',
            'kind = "psnr"\ncrop = "picture"',
            "pairing 'photo' and a crop belong tog",
        ),
        ("pck_alpha", 'pairing = "photo"\npck_alpha', "pairing 'photo' and a crop belong together"),
        ('kind = "psnr"', 'kind = "psnr"\nnet = "alex"', r"has \['net'\], needs \[\]"),
    ],
)
def test_what_nobody_can_compute_is_refused(old: str, new: str, message: str) -> None:
    parse_protocol(MINIMAL, "p")
    with pytest.raises(ProtocolError, match=message):
        parse_protocol(MINIMAL.replace(old, new), "p")


FEATURES = """
[video_features]
net = "i3d-kinetics-400"
bn_eps = 1e-3
pool_frames = 2
runs = 1
unbiased_covariance = true
size_hw = [224, 224]
resize = "pil-bilinear-float"
window_rule = "stride"
window_frames = 16
window_stride = 16
"""


def test_the_bounds_of_a_protocol_themselves_are_taken() -> None:
    for old, new in (
        ("pck_alpha = 0.1", "min_joint_score = 1.0\npck_alpha = 1.0"),
        ('name = "p"', f'name = "{"p" * 100}"'),
        ('key = "psnr"', f'key = "{"k" * 60}"'),
        ("identical_psnr_db = 100.0", "identical_psnr_db = inf"),
    ):
        parse_protocol(MINIMAL.replace(old, new), "p")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('net = "i3d-kinetics-400"', 'net = "i3d"', "network 'i3d' is unknown: choose from i3d-ki"),
        ("[224, 224]", "[224, 225]", r"size_hw is \[224, 225\]: i3d-kinetics-400 takes \[224, 224"),
        ('"pil-bilinear-float"', '"nearest"', "resize 'nearest' is unknown"),
        ('"stride"', '"whole"', "must be 0 under window_rule 'whole'"),
        ("window_stride = 16", "window_stride = 0", "must be at least 1"),
        ("window_frames = 16", "window_frames = 0", "must be at least 1"),
        (
            "runs = 1",
            "runs = 0",
            "runs must be at least 1, and 1 where",
        ),
        ("runs = 1", "runs = 2", "and 1 where nothing is sampled"),
        ('kind = "fvd"', 'kind = "mean_feature_distance"', "and 'prefixes' belong together"),
        ('"stride"', '"prefixes"', "mean_feature_distance and 'prefixes' belong together"),
        (
            'kind = "fvd"',
            'kind = "fvd"\ncrop = "picture"',
            "needs true videos: not under the pairi",
        ),
    ],
)
def test_windows_that_nobody_can_compute_are_refused(old: str, new: str, message: str) -> None:
    text = MINIMAL.replace('kind = "psnr"', 'kind = "fvd"') + FEATURES
    parse_protocol(text, "p")
    if "crop" in new:
        text = text.replace("pck_alpha", 'pairing = "photo"\npck_alpha')
    with pytest.raises(ProtocolError, match=message):
        parse_protocol(text.replace(old, new), "p")


def test_a_protocol_of_ones_own_may_not_bear_the_name_of_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(ProtocolError, match=r"mine\.toml: no such file"):
        read_protocol(str(path))
    path.write_text(protocol_text("aa-clean-v2"))
    assert read_protocol(str(path)) == read_protocol("aa-clean-v2"), "the same content is the same"
    path.write_text(protocol_text("aa-clean-v2").replace("pck_alpha = 0.1", "pck_alpha = 0.2"))
    with pytest.raises(ProtocolError, match=r"there is another 'aa-clean-v2': rename yours"):
        read_protocol(str(path))
    path.write_text(MINIMAL)
    assert read_protocol(str(path)).name == "p"


def test_which_direction_wins_is_asked_by_key_with_or_without_a_region() -> None:
    protocol = read_protocol("aa-clean-v2")
    wanted = {"ssim": "higher", "lpips_alex@face": "lower", "fvd": "lower", "pck": "higher",
              "akd": "lower", "limb_angle": "lower", "nonsense": None}  # fmt: skip
    assert {key: protocol.better(key) for key in wanted} == wanted


def test_an_alias_is_of_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "self.toml"
    path.write_text(f'name = "x"\nsame_as = "{path}"\ndescription = ""\nsource = ""\n')
    with pytest.raises(ProtocolError, match="is none of aa-eval's own"):
        read_protocol(str(path))


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ProtocolError, match="choose from aa-clean-v1"):
        read_protocol("../aa-clean-v1")


HASHES = {  # of results that people have: a release must not lose them
    "aa-clean-v1": "aa65238da71a",
    "aa-clean-v2": "f3bcdb06130a",
    "aa-cross-v1": "759c0507db83",
    "aa-person-v1": "8e70524d2d66",
    "aa-temporal-v1": "85ea4cc2fdf7",
    "cd-fvd": "b158e93004e4",
    "fid-humanvid-2024": "0472c9758820",
    "fid-onetoall-2025": "c3ef636fa4f6",
    "fid-vid-disco": "a7e07568487d",
    "fid-vid-onetoall-2025": "e3b10220c465",
    "fvd-bdmm-128f": "5160800e6394",
    "fvd-styleganv": "f754b02cfe9a",
    "fvd-tf": "104279c74f6e",
    "fvmd": "2de585bcde14",
    "jedi": "05ff39cbfd83",
    "tiktok-disco-2023": "e7423dc715fb",
    "tiktok-disco-2024": "91e7b05ce481",
    "tiktok-humanvid-2024": "69c10e6f783e",
    "tiktok-onetoall-2025": "30a7f33050b6",
    "tiktok-onetoall-2025-lossless": "00451b905365",
    "tiktok-tcan-2024": "e7423dc715fb",
    "ubc-aa-inferred": "1e609a238bb6",
    "ubc-bdmm": "133aaf58943d",
}


@pytest.mark.parametrize("name", HASHES)
def test_published_protocols_keep_their_hash(name: str) -> None:
    assert read_protocol(name).hash[:12] == HASHES[name]
