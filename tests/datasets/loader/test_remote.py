"""Shards on a web server, read through a cache."""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aa_datasets.errors import ShardError
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.loader import ShardLoader, make_loader
from aa_datasets.loader.sampler import Shuffle
from aa_datasets.shards import ShardSample, write_shard

SIZE_HW = (16, 16)


class Server:
    """A corpus on 127.0.0.1, and how often each file was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, Counter[str]()
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                asked[Path(self.path).name] += 1
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        handler = partial(Handler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def served(samples: list[ShardSample], tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served" / "shards"
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, 7, 2)):
        write_shard(folder / f"train-{number:06d}.tar", samples[first : first + 2])
    server = Server(folder.parent)
    yield server
    server.server.shutdown()
    server.server.server_close()


def _loader(paths: list[str | Path] | str, cache: Path, **options: int) -> ShardLoader:
    config = LoaderConfig(
        stage=1, batch_size=1, size_hw=SIZE_HW, seed=3, shard_cache_dir=cache, **options
    )
    return make_loader(paths, config)


def _tars(server: Server) -> dict[str, int]:
    return {name: count for name, count in server.asked.items() if name.endswith(".tar")}


def test_shards_from_a_server_give_the_batches_of_those_on_the_disk(
    served: Server, tmp_path: Path
) -> None:
    local = _loader([served.folder], tmp_path / "unused")
    remote = _loader(served.url, tmp_path / "cache")
    assert _tars(served) == {}, "only the records are read at the start"
    for _ in range(7):
        ours, theirs = next(local), next(remote)
        assert ours.clip_ids == theirs.clip_ids
        assert (ours.target == theirs.target).all()
    assert _tars(served) == {f"train-{number:06d}.tar": 1 for number in range(4)}
    again = _loader([f"{served.url}/shards/"], tmp_path / "cache")  # another process or run
    again.load_state_dict(local.state_dict())
    assert next(again).clip_ids == next(local).clip_ids
    assert set(_tars(served).values()) == {1}, "each shard once per machine"
    one = f"{served.url}/shards/train-000000.tar"
    assert _loader(one, tmp_path / "cache").num_clips == 2
    mixed = [one, *sorted((served.folder / "shards").glob("*.tar"))[1:]]
    assert _loader(mixed, tmp_path / "cache").num_clips == 7


def test_the_cache_holds_no_more_than_it_may_and_reading_in_order_fetches_once(
    served: Server, tmp_path: Path
) -> None:
    size = max(path.stat().st_size for path in served.folder.glob("shards/*.tar"))
    loader = _loader(served.url, tmp_path, shard_cache_bytes=2 * size, shards_at_once=1)
    seen = [next(loader).clip_ids[0] for _ in range(7)]
    assert len(set(seen)) == 7
    assert set(_tars(served).values()) == {1}
    kept = sorted(tmp_path.glob("*/*.tar"), key=os.path.getmtime)
    assert sum(path.stat().st_size for path in kept) <= 2 * size
    assert len(kept) >= 2
    for _ in range(7):
        next(loader)  # the next epoch, in another order
    assert sum(p.stat().st_size for p in tmp_path.glob("*/*.tar")) <= 2 * size


def test_workers_share_one_copy(served: Server, tmp_path: Path) -> None:
    loader = _loader(served.url, tmp_path, num_workers=2)
    assert len({next(loader).clip_ids[0] for _ in range(7)}) == 7
    assert set(_tars(served).values()) == {1}


def test_what_a_server_lacks_or_has_altered_is_named(served: Server, tmp_path: Path) -> None:
    shard = served.folder / "shards" / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    url = f"{served.url}/shards/train-000000.tar"
    with pytest.raises(ShardError, match=r"train-000000\.tar is altered: its record says sha256"):
        next(_loader(url, tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("*/*.tar"))
    shard.unlink()
    with pytest.raises(ShardError, match="cannot be read"):
        next(_loader(url, tmp_path / "cache"))
    shard.with_suffix(".json").unlink()
    with pytest.raises(ShardError, match=r"no http.*/train-000000\.json"):
        _loader(url, tmp_path / "cache")
    shard.with_suffix(".json").write_text('{"name": "train-000000"}')
    with pytest.raises(ShardError, match=r"train-000000\.tar: its \.json is not a shard record"):
        _loader(url, tmp_path / "cache")
    (served.folder / "empty").mkdir()
    with pytest.raises(ShardError, match=r"/empty lists no \.tar: name the \.tar files"):
        _loader(f"{served.url}/empty", tmp_path / "cache")
    shutil.rmtree(served.folder / "shards")
    with pytest.raises(ShardError, match="http"):
        _loader(served.url, tmp_path / "cache")


def test_shards_are_read_some_at_a_time_and_every_clip_comes_once() -> None:
    counts = [3, 1, 4, 2, 5]
    of_shard = [shard for shard, count in enumerate(counts) for _ in range(count)]
    orders = set()
    for epoch in range(5):
        order = Shuffle(7, shards_at_once=2)(epoch, counts).tolist()
        assert sorted(order) == list(range(15))
        shards = list(dict.fromkeys(of_shard[clip] for clip in order))
        for first in range(0, 5, 2):
            pair = set(shards[first : first + 2])
            places = [place for place, clip in enumerate(order) if of_shard[clip] in pair]
            assert places == list(range(places[0], places[-1] + 1))
        orders.add(tuple(order))
    assert len(orders) == 5
    assert Shuffle(7, 2)(0, counts).tolist() == Shuffle(7, 2)(0, counts).tolist()


def test_a_state_is_of_its_way_of_reading(shards: list[Path], tmp_path: Path) -> None:
    loader = _loader(list(shards), tmp_path, shards_at_once=1)
    next(loader)
    state = loader.state_dict()
    resumed = _loader(list(shards), tmp_path, shards_at_once=1)
    resumed.load_state_dict(state)
    assert [next(resumed).clip_ids for _ in range(9)] == [next(loader).clip_ids for _ in range(9)]
    with pytest.raises(ShardError, match="of shards_at_once 1, this is shards_at_once None"):
        _loader(list(shards), tmp_path).load_state_dict(state)
