"""What verification finds in shards that are whole, clip by clip."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from aa_curation.corpus.verify import _shard_problems
from aa_curation.errors import LedgerError
from aa_curation.ledger.records import Decision
from aa_curation.steps.pack_shard import _checked
from aa_datasets.clip import Clip
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical


def _sample(name: str, num_frames: int = 6) -> ShardSample:
    puppet = render_puppet(1, 2, num_frames=num_frames, size_hw=(64, 64))
    clip = Clip(
        clip_id=f"{name}-0000", source_id=name, source="puppets", licence="MIT", start_s=0.0,
        end_s=num_frames / 24, fps=24.0, size_hw=(64, 64), num_frames=num_frames, synthetic=True,
        pose_from="renderer", split="train",
    )  # fmt: skip
    return ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose)


def _decision(sample: ShardSample) -> Decision:
    pose = io.BytesIO()
    write_pose(pose, sample.pose)
    return Decision(
        sample.clip.clip_id, sample.clip.source_id, "accepted", "clip", clip=sample.clip,
        mp4_sha256=hashlib.sha256(sample.mp4).hexdigest(),
        pose_sha256=hashlib.sha256(pose.getvalue()).hexdigest(),
    )  # fmt: skip


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, list[Decision]]:
    samples = [_sample("a"), _sample("b")]
    write_shard(tmp_path / "train-000000.tar", samples)
    return tmp_path / "train-000000.tar", [_decision(sample) for sample in samples]


def test_a_shard_that_is_the_ledgers_has_no_problem(shard: tuple[Path, list[Decision]]) -> None:
    path, decisions = shard
    assert list(_shard_problems(path, decisions, decode=True)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[:1], "has the wrong clips: surplus ['b-0000'], missing []"),
        (
            lambda d: [*d, dataclasses.replace(d[0], clip_id="c-0000")],
            "has the wrong clips: surplus [], missing ['c-0000']",
        ),
        (
            lambda d: [dataclasses.replace(d[0], mp4_sha256="0" * 64), d[1]],
            ": a-0000.mp4 is not the one that was accepted",
        ),
        (
            lambda d: [d[0], dataclasses.replace(d[1], pose_sha256="0" * 64)],
            ": b-0000 has another pose than was accepted",
        ),
        (
            lambda d: [
                dataclasses.replace(d[0], clip=dataclasses.replace(d[0].clip, fps=25)),
                d[1],
            ],
            ": a-0000 has another record than the ledger",
        ),
    ],
)
def test_what_differs_from_the_ledger_is_named_once(
    shard: tuple[Path, list[Decision]],
    change: Callable[[list[Decision]], list[Decision]],
    words: str,
) -> None:
    path, decisions = shard
    (problem,) = _shard_problems(path, change(decisions), decode=True)
    assert problem.startswith("train-000000.tar")
    assert problem.endswith(words)


def test_a_clip_is_decoded_to_its_last_frame_where_that_is_asked(tmp_path: Path) -> None:
    whole, short = _sample("a", 6), _sample("a", 5)
    lies = ShardSample(whole.clip, short.mp4, whole.pose)
    write_shard(tmp_path / "train-000000.tar", [lies])
    path, decision = tmp_path / "train-000000.tar", _decision(lies)
    assert list(_shard_problems(path, [decision], decode=False)) == []
    assert len(list(_shard_problems(path, [decision], decode=True))) == 1
    path.unlink()
    assert len(list(_shard_problems(path, [decision], decode=False))) == 1


def test_a_file_that_is_gone_or_another_stops_the_pack(tmp_path: Path) -> None:
    path = tmp_path / "a-0000.mp4"
    with pytest.raises(LedgerError, match=r"the accepted clip a-0000\.mp4 is gone"):
        _checked(path, "0" * 64)
    path.write_bytes(b"mp4")
    with pytest.raises(LedgerError, match=r"is not the clip that was accepted .*: move the corpus"):
        _checked(path, "0" * 64)
    assert _checked(path, hashlib.sha256(b"mp4").hexdigest()) == b"mp4"
