"""A real Ray cluster of this machine scores videos as a plain loop does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aa_eval.cli.main import main
from aa_eval.errors import EvalError, VideoError
from aa_eval.protocol import Protocol, read_protocol
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Three videos of three frames, none smaller than AlexNet needs."""
    draw = np.random.default_rng(0)
    for video in "abc":
        for name in ("gt", "gen"):
            (tmp_path / name / video).mkdir(parents=True)
            for number in range(3):
                frame = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(frame).save(tmp_path / name / video / f"{number}.png")
    return make_pairs(find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt"))[0]


@pytest.fixture
def protocol() -> Protocol:
    """SSIM, both PSNRs and LPIPS alex."""
    clean = read_protocol("aa-clean-v1")
    kept = tuple(m for m in clean.metrics if m.net != "vgg" and m.kind not in ("fvd", "kvd"))
    return replace(clean, metrics=kept, video_features=None)


@pytest.mark.slow
def test_a_cluster_gives_the_bits_of_a_plain_loop_and_names_what_fails(
    pairs: list[Pair], protocol: Protocol, own_cache: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a process of the cluster has
    (loop,) = score_pairs(pairs, [protocol], method="m", cache=None)
    torch.set_num_threads(threads)
    cache = Cache(own_cache)
    (found,) = score_pairs(pairs, [protocol], method="m", cache=cache, ray_address="local")
    assert {"lpips_alex", "ssim"} <= found.metrics.keys()
    assert replace(found, created="") == replace(loop, created="")
    for video in loop.per_frame:
        for key, values in loop.per_frame[video].items():
            assert values.tobytes() == found.per_frame[video][key].tobytes()

    damaged = pairs[1].prediction
    assert damaged is not None
    damaged.files[1].write_bytes(damaged.files[1].read_bytes()[:-30])
    with pytest.raises(VideoError, match=r"b/1\.png"):
        score_pairs(pairs, [protocol], method="m", ray_address="local")


def test_an_environment_without_ray_is_said(
    pairs: list[Pair], protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EvalError, match="the package ray is missing: pip install ray"):
        score_pairs(pairs, [protocol], method="m", ray_address="auto")


def test_ray_and_workers_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main([str(tmp_path), "--references", str(tmp_path), "--ray", "auto", "--workers", "2"]) == 2
    )
    assert "exclude each other" in capsys.readouterr().err
