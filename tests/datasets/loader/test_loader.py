from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import re
import shutil
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aa_datasets.errors import DatasetError, ShardError
from aa_datasets.loader.batch import FrameBatch
from aa_datasets.loader.clip_dataset import ClipDataset, choose_window
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.loader.loader import ShardLoader, make_loader
from aa_datasets.pose import FACE, make_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ClipPlace, ShardSample, find_shards, read_record, write_shard
from aa_datasets.video.canonical import encode_canonical, read_canonical

SIZE_HW = (16, 16)
CPU = torch.device("cpu")
fast = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_corpus_stands_for_its_shards_and_a_split_for_its_clips(
    samples: list[ShardSample], tmp_path: Path
) -> None:
    held_out = [
        dataclasses.replace(sample, clip=dataclasses.replace(sample.clip, split="test"))
        for sample in samples[5:]
    ]
    (tmp_path / "shards").mkdir()
    tars = [tmp_path / "shards" / name for name in ("test-000000.tar", "train-000000.tar")]
    write_shard(tars[0], [*held_out, samples[0]])  # others may mix splits in one shard
    write_shard(tars[1], samples[1:5])
    (tmp_path / "shards" / ".train-000001.tar.7.tmp").touch()
    assert find_shards([tmp_path]) == find_shards([tars[0].parent]) == find_shards(tars[::-1])

    def ids(split: str | None) -> set[str]:
        loader = make_loader(
            [tmp_path], LoaderConfig(stage=1, batch_size=7, size_hw=SIZE_HW, split=split)
        )
        return {clip_id for _ in range(3) for clip_id in next(loader).clip_ids}

    assert ids("train") == {sample.clip.clip_id for sample in samples[:5]}
    assert ids("test") == {sample.clip.clip_id for sample in held_out}
    assert ids(None) == {sample.clip.clip_id for sample in samples}
    with pytest.raises(ShardError, match="no clip is of split 'val': the shards hold test, train"):
        ids("val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShardError, match=r"empty holds no \.tar"):
        find_shards([tmp_path / "empty"])


def _world(
    shards: list[Path], world_size: int, batch_size: int, state: dict[str, Any] | None = None
) -> list[ShardLoader]:
    loaders = [
        make_loader(
            shards,
            LoaderConfig(stage=1, batch_size=batch_size, size_hw=SIZE_HW, seed=5),
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    for loader in loaders if state else ():
        loader.load_state_dict(state)
    return loaders


def _stored(sample: ShardSample, *clip_ids: str) -> list[ShardSample]:
    """The same clip under other ids."""
    clips = [dataclasses.replace(sample.clip, clip_id=clip_id) for clip_id in clip_ids]
    return [dataclasses.replace(sample, clip=clip) for clip in clips]


def _assert_equal_batches(one: FrameBatch, other: FrameBatch) -> None:
    """Whether or not their skeletons are drawn yet."""
    assert one.clip_ids == other.clip_ids
    for name in ("reference", "target", "pose"):
        assert torch.equal(getattr(one.to(CPU), name), getattr(other.to(CPU), name))


def _assert_evenly_drawn(drawn: Counter[str], samples: Iterable[ShardSample]) -> None:
    """So often as full epochs have passed, or once more: no clip lost, none repeated."""
    ids = [sample.clip.clip_id for sample in samples]
    epochs = drawn.total() / len(ids)
    assert set(drawn) <= set(ids)
    assert {drawn[clip_id] for clip_id in ids} <= {math.floor(epochs), math.ceil(epochs)}


@pytest.fixture(scope="session")
def cut_into(
    samples: list[ShardSample], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int, int], list[Path]]:
    """Shards of the first n clips: `count` of them, or n where there are more shards than clips."""
    folder = tmp_path_factory.mktemp("counted")

    @functools.cache
    def cut(n: int, count: int) -> list[Path]:
        bounds = np.linspace(0, n, min(n, count) + 1).astype(int)
        paths = [folder / f"{n}_{count}_{i}.tar" for i in range(len(bounds) - 1)]
        for path, first, last in zip(paths, bounds, bounds[1:], strict=False):
            write_shard(path, samples[first:last])
        return paths

    return cut


@fast
@given(
    clips=st.integers(2, 7),
    num_shards=st.integers(1, 5),
    world_size=st.integers(1, 4),
    batch_size=st.integers(1, 4),
)
def test_ranks_together_draw_each_clip_once_an_epoch(
    samples: list[ShardSample],
    cut_into: Callable[[int, int], list[Path]],
    clips: int,
    num_shards: int,
    world_size: int,
    batch_size: int,
) -> None:
    world = _world(cut_into(clips, num_shards), world_size, batch_size)
    drawn: Counter[str] = Counter()
    for _ in range(math.ceil(2.5 * clips / (world_size * batch_size))):
        for loader in world:
            batch = next(loader)
            assert batch.size == batch_size
            drawn.update(batch.clip_ids)
        _assert_evenly_drawn(drawn, samples[:clips])


@fast
@given(
    clips=st.integers(2, 7),
    num_shards=st.integers(1, 5),
    before=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 4)),
    after=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
)
def test_resume_at_another_world_size_repeats_and_loses_nothing(
    samples: list[ShardSample],
    cut_into: Callable[[int, int], list[Path]],
    clips: int,
    num_shards: int,
    before: tuple[int, int, int],
    after: tuple[int, int, int],
) -> None:
    drawn: Counter[str] = Counter()
    state = None
    for world_size, batch_size, steps in (before, after):
        world = _world(cut_into(clips, num_shards), world_size, batch_size, state)
        for _ in range(steps):
            for loader in world:
                drawn.update(next(loader).clip_ids)
            _assert_evenly_drawn(drawn, samples[:clips])
        states = [loader.state_dict() for loader in world]
        assert all(s == states[0] for s in states)
        state = states[0]


@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 3), (3, 2), (6, 1)])
def test_the_worlds_batch_is_the_same_however_it_is_split(
    shards: list[Path], world_size: int, batch_size: int
) -> None:
    alone, world = _world(shards, 1, 6)[0], _world(shards, world_size, batch_size)
    for _ in range(3):
        whole, parts = next(alone), [next(loader) for loader in world]
        for rank, part in enumerate(parts):
            assert part.clip_ids == whole.clip_ids[rank::world_size]
            assert torch.equal(part.target, whole.target[rank::world_size])


def test_state_resumes_to_the_very_batches_that_would_have_come(shards: list[Path]) -> None:
    through = _world(shards, 1, 3)[0]
    for _ in range(4):
        next(through)
    state = through.state_dict()
    resumed = _world(shards, 1, 3, state)[0]
    came = [next(through) for _ in range(4)]
    for batch in came:
        _assert_equal_batches(batch, next(resumed))
    through.load_state_dict(state)  # a loader in use goes back as well
    for batch in came:
        _assert_equal_batches(batch, next(through))


def test_workers_change_nothing_even_after_a_resume(shards: list[Path]) -> None:
    def loader(num_workers: int, state: dict[str, Any] | None = None) -> ShardLoader:
        made = make_loader(
            shards,
            LoaderConfig(
                stage=2, batch_size=2, size_hw=SIZE_HW, num_frames=3, num_workers=num_workers
            ),
        )
        if state:
            made.load_state_dict(state)
        return made

    inline, parallel = loader(0), loader(2)
    for _ in range(5):
        batch = next(parallel)
        assert batch.skeletons is not None
        _assert_equal_batches(next(inline), batch)
    # What workers fetched ahead is not consumed.
    assert parallel.state_dict() == inline.state_dict()
    _assert_equal_batches(next(loader(0, parallel.state_dict())), next(inline))


def test_a_state_is_of_its_clips_in_their_shards(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    loader = _world(shards, 1, 2)[0]
    next(loader)
    state = loader.state_dict()
    # The same shards under other names, in the same order: the same sequence.
    whole = [tmp_path / "x.tar", tmp_path / "y.tar"]
    for path, some in zip(whole, (samples[:4], samples[4:]), strict=True):
        write_shard(path, some)
    _world(whole, 1, 2, state)
    for path, some in zip(whole, (samples[4:], samples[:4]), strict=True):
        write_shard(path, some)  # in another order: this epoch is the same
    _assert_equal_batches(next(_world(whole, 1, 2, state)[0]), next(_world(shards, 1, 2, state)[0]))
    for path, some in zip(whole, (samples[:3], samples[3:]), strict=True):
        write_shard(path, some[::-1])
    _world(whole, 1, 2, state)  # cut otherwise, in the same order
    for path, some in zip(whole, (samples[3:], samples[:3]), strict=True):
        write_shard(path, some)
    with pytest.raises(ShardError, match="7 other clips, or of the same in other shards"):
        _world(whole, 1, 2, state)
    write_shard(whole[0], samples)  # all in one shard: the same sequence again
    resumed = _world(whole[:1], 1, 2, state)[0]
    _assert_equal_batches(next(resumed), next(loader))
    # A state of a version that knew no shards is of just its clips.
    old = {key: state[key] for key in ("seed", "num_clips", "clips_sha256", "consumed")}
    _assert_equal_batches(next(_world(shards, 1, 2, old)[0]), next(_world(shards, 1, 2, state)[0]))
    with pytest.raises(ShardError, match="7 other clips, or of the same in other shards"):
        _world(shards[:1], 1, 2, old)


def test_a_state_resumes_over_a_corpus_that_has_grown(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    """The epoch ends as it would have; new clips come with the next one, whatever their name."""
    before = _world(shards, 1, 2)[0]
    drawn = [*next(before).clip_ids]
    state = before.state_dict()
    late = _stored(samples[0], "late-0", "late-1")
    for name in ("0.tar", "z.tar"):  # before and behind the others
        write_shard(tmp_path / name, late)
        with pytest.warns(RuntimeWarning, match=r"0 of 2 are gone .*\(0 clips\), 1 are new"):
            grown = _world([*shards, tmp_path / name], 1, 2, state)[0]
        through = _world(shards, 1, 2, state)[0]
        ids = list(drawn)
        for _ in range(2):
            _assert_equal_batches(next(through), batch := next(grown))
            ids += batch.clip_ids
        _assert_evenly_drawn(Counter(ids), samples)
        with pytest.warns(RuntimeWarning, match="1 are new"):  # saved and resumed once more
            again = _world([*shards, tmp_path / name], 2, 1, grown.state_dict())
        for _ in range(5):  # the end of this epoch, 1 clip, and the next, 9
            ids += itertools.chain(*(next(loader).clip_ids for loader in again))
        counts = Counter(ids)
        assert counts == {s.clip.clip_id: 2 for s in samples} | {"late-0": 1, "late-1": 1}
        last = again[0].state_dict()
        assert "shards" not in last["epoch"]  # from here on nothing is special
        _world([*shards, tmp_path / name], 1, 1, last)


def test_a_state_resumes_without_the_clips_of_a_shard_that_was_altered(
    samples: list[ShardSample], tmp_path: Path
) -> None:
    """As after a takedown: what is left of that shard comes with the next epoch."""
    paths = [tmp_path / f"{number}.tar" for number in range(3)]
    for path, some in zip(paths, (samples[:2], samples[2:5], samples[5:]), strict=True):
        write_shard(path, some)
    loader = _world(paths, 1, 1)[0]
    ids = [*next(loader).clip_ids, *next(loader).clip_ids]
    state = loader.state_dict()
    write_shard(paths[1], samples[2:4])
    untouched = {s.clip.clip_id for s in [*samples[:2], *samples[5:]]}
    with pytest.warns(RuntimeWarning, match=r"1 of 3 are gone or altered \(3 clips\), 1 are new"):
        loader = _world(paths, 1, 1, state)[0]
    rest = untouched - set(ids)
    came = []
    for _ in rest:
        came += next(loader).clip_ids
        with warnings.catch_warnings(record=True):  # again and again
            loader = _world(paths, 1, 1, loader.state_dict())[0]
    assert set(came) == rest
    assert len(came) == len(rest)
    following = [next(loader).clip_ids[0] for _ in range(6)]
    assert sorted(following) == sorted(untouched | {s.clip.clip_id for s in samples[2:4]})


shards_of = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=6)


@settings(max_examples=200)
@given(worlds=st.lists(st.tuples(shards_of, st.integers(0, 12)), min_size=2, max_size=5))
def test_whatever_shards_come_and_go_an_epoch_loses_and_repeats_nothing_that_stays(
    worlds: list[tuple[list[str], int]],
) -> None:
    """By positions alone: each shard has three clips."""
    state, epochs = None, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shards, steps in worlds:
            clips = [
                ClipPlace(Path(s), n, f"{s}{n}", 9, "train", (64, 64))
                for s in sorted(shards)
                for n in range(3)
            ]
            config = LoaderConfig(stage=1, size_hw=SIZE_HW)
            loader = ShardLoader(ClipDataset(clips, config, None), config, 0, 1)
            if state is not None:
                try:
                    loader.load_state_dict(state)
                except ShardError:
                    assert not {key for key, _ in state["shards"]} & set(loader._dataset.shards)
                    return
            for number in range(loader._consumed, loader._consumed + steps):
                epoch = loader._order.epoch_at(number)
                epochs.setdefault(epoch.number, []).append(
                    clips[epoch.order[number - epoch.start]].clip_id
                )
                loader._consumed += 1
            state = loader.state_dict()
            everywhere = [w[0] for w in worlds]
            for number, ids in epochs.items():
                assert len(ids) == len(set(ids)), "repeated within an epoch"
                if number < max(epochs):  # it is over
                    stay = {s for s in "abcdef" if all(s in some for some in everywhere)}
                    assert {f"{s}{n}" for s in stay for n in range(3)} <= set(ids)


@pytest.mark.slow  # starts worker processes
@pytest.mark.parametrize("num_shards", [1, 3])
def test_ranks_workers_and_worlds_together_lose_nothing(
    samples: list[ShardSample], tmp_path: Path, num_shards: int
) -> None:
    paths = [tmp_path / f"{i}.tar" for i in range(num_shards)]
    for path, some in zip(paths, np.array_split(np.arange(7), num_shards), strict=True):
        write_shard(path, [samples[i] for i in some])
    drawn: Counter[str] = Counter()
    state = None
    for world_size, num_workers, steps in ((2, 2, 3), (3, 0, 2), (1, 3, 3)):
        world = [
            make_loader(
                paths,
                LoaderConfig(
                    stage=2,
                    batch_size=2,
                    size_hw=SIZE_HW,
                    num_frames=3,
                    seed=5,
                    num_workers=num_workers,
                ),
                rank=rank,
                world_size=world_size,
            )
            for rank in range(world_size)
        ]
        for loader in world if state else ():
            loader.load_state_dict(state)
        for _ in range(steps):
            for loader in world:
                drawn.update(next(loader).clip_ids)
            _assert_evenly_drawn(drawn, samples)
        state = world[0].state_dict()
    assert state["consumed"] == drawn.total() == 12 + 12 + 6


def _order(shards: list[Path], seed: int, epochs: int = 1) -> list[tuple[str, ...]]:
    loader = make_loader(shards, LoaderConfig(stage=1, batch_size=7, size_hw=SIZE_HW, seed=seed))
    return [next(loader).clip_ids for _ in range(epochs)]


def test_seed_decides_the_order_and_epochs_reshuffle(shards: list[Path]) -> None:
    first = _order(shards, 0, 4)
    assert first == _order(list(reversed(shards)), 0, 4)
    assert len(set(first)) > 1
    assert first != _order(shards, 1, 4)


def test_windows_vary_between_epochs(shards: list[Path]) -> None:
    loader = make_loader(shards, LoaderConfig(stage=1, batch_size=7, size_hw=SIZE_HW))
    by_clip = []
    for _ in range(2):
        batch = next(loader)
        by_clip.append(dict(zip(batch.clip_ids, batch.target, strict=True)))
    assert any(not torch.equal(by_clip[0][c], by_clip[1][c]) for c in by_clip[0])


@pytest.mark.parametrize(("stage", "num_frames"), [(1, 1), (1, 4), (2, 4)])
def test_shapes_and_ranges(shards: list[Path], stage: int, num_frames: int) -> None:
    frames = next(
        make_loader(
            shards,
            LoaderConfig(
                stage=stage, batch_size=3, size_hw=(32, 24), num_frames=num_frames, stride=2
            ),
        )
    )
    assert frames.reference.shape == (3, 32, 24, 3)
    assert frames.target.shape == (3, num_frames, 32, 24, 3)
    assert frames.reference.dtype == frames.target.dtype == torch.uint8
    assert [(p.num_frames, p.size_hw) for p in frames.poses] == 3 * [(num_frames, (32, 24))]
    batch = frames.to(CPU)
    assert batch.reference.shape == (3, 3, 32, 24)
    assert batch.target.shape == batch.pose.shape == (3, num_frames, 3, 32, 24)
    for tensor in (batch.reference, batch.target, batch.pose):
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert tensor.min() >= -1
        assert tensor.max() <= 1
        assert tensor.max() > 0
    assert (batch.pose == -1).float().mean() > 0.5  # black around the skeleton


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_sample_is_the_clips_frames_with_the_poses_of_the_same_frames(
    samples: list[ShardSample], shards: list[Path], cache_bytes: int
) -> None:
    stored = {sample.clip.clip_id: sample for sample in samples}
    batch = next(
        make_loader(
            shards,
            LoaderConfig(
                stage=2, batch_size=7, size_hw=(32, 24), num_frames=10, cache_bytes=cache_bytes
            ),
        )
    )
    floats = batch.to(CPU)
    for i, clip_id in enumerate(batch.clip_ids):  # 10 of 10 frames: there is only one window
        frames = resize_frames(read_canonical(stored[clip_id].mp4), (32, 24))
        pose = draw_pose(resize_pose(stored[clip_id].pose, (32, 24)))
        np.testing.assert_array_equal(batch.target[i].numpy(), frames)
        for found, expected in ((floats.target[i], frames), (floats.pose[i], pose)):
            in_range = expected.transpose(0, 3, 1, 2) / 127.5 - 1
            np.testing.assert_allclose(found.numpy(), in_range, atol=1e-6)
        assert any(np.array_equal(batch.reference[i].numpy(), frame) for frame in frames)


def test_a_window_without_its_reference_or_with_gaps_is_the_same_frames(
    samples: list[ShardSample], shards: list[Path]
) -> None:
    """Windows are cut out of what was decoded, which holds the reference as well."""
    stored = {sample.clip.clip_id: read_canonical(sample.mp4) for sample in samples}
    places = Counter[str]()
    for stride in (1, 3):
        loader = make_loader(
            shards,
            LoaderConfig(
                stage=2, batch_size=1, size_hw=(64, 80), num_frames=3, stride=stride, cache_bytes=0
            ),
        )
        for number in range(30):
            batch = next(loader)
            clip = stored[batch.clip_ids[0]]
            window = choose_window(10, 3, stride, np.random.default_rng([0, 1, number]))
            np.testing.assert_array_equal(batch.target[0].numpy(), clip[window.targets])
            np.testing.assert_array_equal(batch.reference[0].numpy(), clip[window.reference])
            first, last = window.targets[[0, -1]]
            places["before" if window.reference < first else "after"] += 1
            places["between"] += first < window.reference < last
    assert min(places[place] for place in ("before", "between", "after")) > 5


def test_only_workers_draw_ahead(shards: list[Path]) -> None:
    loader = make_loader(shards, LoaderConfig(stage=2, batch_size=2, size_hw=SIZE_HW, num_frames=3))
    batch = next(loader)
    assert batch.skeletons is None
    drawn = batch.drawn()
    assert drawn.skeletons is not None
    assert drawn.skeletons.shape == (2, 3, *SIZE_HW, 3)
    assert drawn.drawn().skeletons is drawn.skeletons
    _assert_equal_batches(batch, drawn)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_faces_are_drawn_where_that_is_asked_for(
    samples: list[ShardSample], tmp_path: Path, num_workers: int
) -> None:
    puppet = render_puppet(1, 1, num_frames=6, size_hw=SIZE_HW)
    points, scores = puppet.pose.keypoints_px.copy(), puppet.pose.scores.copy()
    points[:, FACE] = points[:, :1] + np.linspace(-9, 9, 68)[:, None]
    scores[:, FACE] = 1
    pose = make_pose(points, scores, SIZE_HW)
    clip = dataclasses.replace(samples[0].clip, num_frames=6, size_hw=SIZE_HW)
    shard = tmp_path / "train-000000.tar"
    write_shard(shard, [ShardSample(clip, encode_canonical(puppet.frames, 24), pose)])

    def drawn(draw_face: bool) -> np.ndarray:
        loader = make_loader(
            [shard],
            LoaderConfig(
                stage=2,
                batch_size=1,
                size_hw=SIZE_HW,
                num_frames=6,
                num_workers=num_workers,
                draw_face=draw_face,
            ),
        )
        skeletons = next(loader).drawn().skeletons
        assert skeletons is not None
        return skeletons[0].numpy()

    for draw_face in (False, True):
        np.testing.assert_array_equal(drawn(draw_face), draw_pose(pose, face=draw_face))
    assert not np.array_equal(drawn(True), drawn(False))


def test_what_is_done_to_a_batch_stays_there(shards: list[Path]) -> None:
    def loader() -> ShardLoader:
        return make_loader(
            shards, LoaderConfig(stage=2, batch_size=1, size_hw=SIZE_HW, num_frames=10)
        )

    spoilt, whole = loader(), loader()
    for _ in range(14):  # two epochs: the second one out of memory
        batch = next(spoilt)
        _assert_equal_batches(batch, next(whole))
        batch.target.zero_()
        batch.reference.zero_()


def test_what_cannot_be_loaded_is_named(shards: list[Path], tmp_path: Path) -> None:
    def load(paths: list[Path], **options: int) -> ShardLoader:
        return make_loader(paths, LoaderConfig(stage=2, batch_size=1, size_hw=SIZE_HW, **options))

    with pytest.raises(ShardError, match="no shards given"):
        load([])
    with pytest.raises(ShardError, match=r"no shard .*gone\.tar"):
        load([tmp_path / "gone.tar"])
    with pytest.raises(ShardError, match=r"no clip in 2 shards has 11 frames"):
        load(shards, num_frames=11)
    with pytest.raises(ShardError, match=r"no clip in 2 shards has 11 frames"):
        load(shards, num_frames=6, stride=2)
    with pytest.raises(ShardError, match=r"puppet_0 is in .*a\.tar and in .*a\.tar: give each"):
        load([shards[0], shards[1], shards[0]])
    loader = load(shards, num_frames=2)
    with pytest.raises(ShardError, match="the loader's state is of seed 1, this is seed 0"):
        loader.load_state_dict({**loader.state_dict(), "seed": 1})


@fast
@given(cache_bytes=st.sampled_from([0, 40_000, 1 << 30]), stage=st.sampled_from([1, 2]))
def test_what_is_kept_in_memory_changes_no_batch(
    shards: list[Path], cache_bytes: int, stage: int
) -> None:
    def loader(cache_bytes: int) -> ShardLoader:
        return make_loader(
            shards,
            LoaderConfig(
                stage=stage, batch_size=3, size_hw=SIZE_HW, num_frames=4, cache_bytes=cache_bytes
            ),
        )

    one, other = loader(cache_bytes), loader(0)
    for _ in range(6):
        _assert_equal_batches(next(one), next(other))


def test_what_is_kept_in_memory_is_no_more_than_was_counted(shards: list[Path]) -> None:
    config = LoaderConfig(stage=2, batch_size=7, size_hw=(64, 16), num_frames=4)
    next(make_loader(shards, config))  # what is imported only once is not measured
    loader = make_loader(shards, config)
    tracemalloc.start()
    next(loader)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    clips_bytes = 7 * 10 * 64 * 16 * 3  # crops of pictures of 64 x 80
    assert clips_bytes <= kept_bytes < 2 * clips_bytes


def test_short_clips_are_counted(samples: list[ShardSample], tmp_path: Path) -> None:
    short = render_puppet(7, 7, num_frames=4, fps=12, size_hw=(64, 80))
    clip = dataclasses.replace(samples[0].clip, clip_id="short", num_frames=4)
    added = ShardSample(clip, encode_canonical(short.frames, 12), short.pose)
    write_shard(tmp_path / "a.tar", [*samples[:2], added])
    options = {"stage": 2, "batch_size": 2, "size_hw": SIZE_HW}
    with pytest.warns(RuntimeWarning, match="1 of 3 clips have less than 5 frames"):
        loader = make_loader([tmp_path / "a.tar"], LoaderConfig(num_frames=5, **options))
    assert loader.num_clips == 2
    with pytest.raises(ShardError, match=r"1 of 3 clips have less than 5 frames, over .* 0\.3"):
        make_loader(
            [tmp_path / "a.tar"], LoaderConfig(num_frames=5, too_short_at_most=0.3, **options)
        )
    with warnings.catch_warnings(action="error"):
        assert (
            make_loader([tmp_path / "a.tar"], LoaderConfig(num_frames=4, **options)).num_clips == 3
        )


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_clip_damaged_after_the_start_stops_training_by_name(
    shards: list[Path], tmp_path: Path, num_workers: int
) -> None:
    """It is not skipped: asked again, the loader says so again."""
    for path in (shards[0], shards[0].with_suffix(".json")):
        shutil.copy(path, tmp_path)
    shard = tmp_path / "a.tar"
    loader = make_loader(
        [shard],
        LoaderConfig(stage=2, batch_size=1, size_hw=SIZE_HW, num_frames=3, num_workers=num_workers),
    )
    damaged = read_record(shard).clips[2]
    offset, length, _ = damaged.members["mp4"]
    content = bytearray(shard.read_bytes())
    content[offset + length // 2 : offset + length] = bytes(length - length // 2)
    shard.write_bytes(content)
    drawn: list[str] = []
    for _ in range(3):
        with pytest.raises(ShardError) as refused:
            drawn.extend(itertools.chain.from_iterable(batch.clip_ids for batch in loader))
        assert re.fullmatch(
            rf"a\.tar: clip {damaged.clip.clip_id} at byte {offset} is altered: the CRC-32 of .*",
            str(refused.value),
        )
    assert damaged.clip.clip_id not in drawn
    assert loader.state_dict()["consumed"] == len(drawn) < 4


def test_a_clip_that_was_never_a_video_is_named_with_its_place(
    samples: list[ShardSample], tmp_path: Path
) -> None:
    """The shard is as it was written; what it holds cannot be decoded."""
    shard = tmp_path / "a.tar"
    write_shard(shard, [dataclasses.replace(samples[0], mp4=b"no video")])
    offset = read_record(shard).clips[0].members["mp4"].offset
    loader = make_loader([shard], LoaderConfig(stage=1, batch_size=1, size_hw=SIZE_HW))
    with pytest.raises(ShardError, match=rf"a\.tar: clip puppet_0 at byte {offset}: .*"):
        next(loader)


def test_a_configuration_out_of_range_is_named() -> None:
    for wrong, expected in (
        ({"stage": 3}, r"stage is 3, expected 1 \(frames\) or 2"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"stride": 0}, "stride is 0"),
        ({"num_workers": -1}, "num_workers is -1, expected at least 0"),
        ({"too_short_at_most": 1.5}, "too_short_at_most is 1.5"),
        ({"too_short_at_most": -0.1}, "too_short_at_most is -0.1"),
        ({"size_hw": (0, 4)}, r"size_hw is \(0, 4\)"),
        ({"buckets_hw": ((4, 0),)}, r"size_hw is \(4, 0\)"),
        ({"shards_at_once": 0}, "shards_at_once is 0, expected at least 1, or None"),
        ({"cache_bytes": -1}, "cache_bytes is -1, expected at least 0"),
        ({"buckets_hw": ((8, 8),), "latents": "a key"}, "stored latents are of one size: leave ou"),
    ):
        with pytest.raises(DatasetError, match=expected):
            LoaderConfig(**{"size_hw": SIZE_HW, **wrong})
    for edge in ({"too_short_at_most": 0.0}, {"too_short_at_most": 1.0}, {"shards_at_once": 1},
                 {"cache_bytes": 0}, {"size_hw": (1, 1)}, {"stride": 1}):  # fmt: skip
        LoaderConfig(**{"size_hw": SIZE_HW, **edge})
    spans = [LoaderConfig(size_hw=SIZE_HW, stage=stage, num_frames=8, stride=3).span_frames
             for stage in (1, 2)]  # fmt: skip
    assert spans == [1, 22]
    with pytest.raises(DatasetError, match="rank 2 of world_size 2"):
        make_loader([], LoaderConfig(size_hw=SIZE_HW), rank=2, world_size=2)


def test_many_shards_are_opened_by_their_records_alone(shards: list[Path], tmp_path: Path) -> None:
    """400 shards of 4 clips, each tar a hole of the right length: only what is drawn is read."""
    template = json.loads(shards[0].with_suffix(".json").read_text())
    for number in range(400):
        record = json.loads(json.dumps(template))
        for entry in record["clips"]:
            entry["clip"]["clip_id"] += f"-{number}"
        tar = tmp_path / f"{number:05d}.tar"
        tar.with_suffix(".json").write_text(json.dumps(record))
        with tar.open("wb") as file:
            file.truncate(record["num_bytes"])
    asked_s = time.process_time()
    loader = make_loader(tmp_path, LoaderConfig(stage=1, size_hw=SIZE_HW))
    assert time.process_time() - asked_s < 2 / 10_000 * 400 * 3, "three times the goal of 10,000"
    assert loader.num_clips == 1600
    with pytest.raises(ShardError, match=r"puppet_\d-\d+ at byte \d+ is altered: the CRC-32"):
        next(loader)


def test_an_old_record_without_crcs_is_verified_whole_when_a_clip_is_read(
    shards: list[Path], tmp_path: Path
) -> None:
    row = json.loads(shards[0].with_suffix(".json").read_text())
    for clip in row["clips"]:
        clip["members"] = {kind: place[:2] for kind, place in clip["members"].items()}
    (tmp_path / "a.json").write_text(json.dumps(row))
    (tmp_path / "a.tar").write_bytes(shards[0].read_bytes())
    config = LoaderConfig(stage=1, size_hw=SIZE_HW)
    assert next(make_loader(tmp_path, config)).size == 1
    (tmp_path / "a.tar").write_bytes(shards[0].read_bytes()[:-1] + b"x")
    with pytest.raises(ShardError, match=r"a\.tar is altered somewhere"):
        next(make_loader(tmp_path, config))


def test_paths_may_be_strings_and_a_single_one(shards: list[Path]) -> None:
    config = LoaderConfig(stage=1, batch_size=7, size_hw=SIZE_HW)
    folder = str(shards[0].parent)
    for paths in (folder, [folder], [str(path) for path in shards]):
        batch = next(make_loader(paths, config))
        assert len(set(batch.clip_ids)) == 7
        assert batch.to("cpu").target.shape == (7, 1, 3, *SIZE_HW)
