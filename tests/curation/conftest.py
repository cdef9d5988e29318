"""Sources for the curation tests: puppets with exact poses, bad files, and real package clips."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from aa_curation.corpus.fetch_sources import Fetches, located, to_fetch
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.ledger.file import LEDGER_NAME, LedgerWriter, read_ledger
from aa_curation.poses.blazepose import BlazePose
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import Source
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical

REPOSITORY = Path(__file__).parents[2]
COLUMNS = ("source_id", "location", "licence", "owner", "synthetic", "split", "pose_file")


def _write_sources(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "sources.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _write_puppet(folder: Path, seed: int, num_frames: int = 30) -> dict[str, str]:
    """A puppet's video and pose in `folder`; gives its row."""
    name = f"puppet_{seed}"
    puppet = render_puppet(seed, 100 + seed, num_frames=num_frames, size_hw=(256, 256))
    (folder / f"{name}.mp4").write_bytes(encode_canonical(puppet.frames, 24))
    write_pose(folder / f"{name}.pose.npz", puppet.pose)
    return {
        "source_id": name,
        "location": f"{name}.mp4",
        "licence": "Apache-2.0",
        "owner": "the tests",
        "synthetic": "true",
        "split": "test" if seed % 3 == 0 else "train",
        "pose_file": f"{name}.pose.npz",
    }


@pytest.fixture(scope="module")
def estimator() -> BlazePose:
    return BlazePose()


@pytest.fixture(scope="session")
def sources_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five puppets, a copy of one under another id, one too short, four bad files, no licence."""
    folder = tmp_path_factory.mktemp("sources")
    rows = [_write_puppet(folder, seed) for seed in range(5)]
    rows.append({**rows[1], "source_id": "zz_copy"})
    rows.append({**_write_puppet(folder, 7, num_frames=9), "source_id": "short"})
    good = (folder / "puppet_0.mp4").read_bytes()
    bad = {
        "bad_empty": b"",
        "bad_html": b"<!doctype html><html><body>404 Not Found</body></html>",
        "bad_truncated": good[: len(good) * 6 // 10],
    }
    for name, content in bad.items():
        (folder / f"{name}.mp4").write_bytes(content)
    rows += [
        {"source_id": name, "location": f"{name}.mp4", "licence": "CC0-1.0"}
        for name in (*bad, "bad_missing")
    ]
    rows.append({**rows[2], "source_id": "no_licence", "licence": ""})
    _write_sources(folder, rows)
    return folder


@pytest.fixture(scope="session")
def demo_recipe() -> Recipe:
    return load_recipe(REPOSITORY / "curation/recipes/demo.py")


@pytest.fixture(scope="session")
def small_shards(demo_recipe: Recipe) -> Recipe:
    """The demo's recipe with two clips a shard, so that there are several."""
    return dataclasses.replace(demo_recipe, clips_per_shard=2)


def _fetch(
    writer: LedgerWriter, sources: Sequence[Source], policy: FetchPolicy | None, store: Store
) -> list[Source]:
    """Fetch what is missing, as a run does; the sources that have a file."""
    todo = [source for source in sources if to_fetch(writer.ledger, source, store)]
    with Fetches(writer, todo, policy, store) as fetches:
        while fetches.waiting:
            fetches.poll(60.0)
    found = (located(writer.ledger, source, store) for source in sources)
    return [source for source in found if source is not None]


@pytest.fixture(scope="session")
def fetch() -> Callable[..., list[Source]]:
    return _fetch


@pytest.fixture(scope="session")
def write_sources() -> Callable[[Path, list[dict[str, str]]], Path]:
    return _write_sources


@pytest.fixture(scope="session")
def write_puppet() -> Callable[..., dict[str, str]]:
    return _write_puppet


def _to_lines(folder: Path) -> None:
    """Turn a corpus's ledger into the lines of JSON that earlier versions wrote."""
    ledger = read_ledger(folder)
    rows: list[tuple[str, object]] = [("run", ledger.head), ("thresholds", ledger.thresholds)]
    rows += [("fetch", fetch) for fetch in ledger.fetches.values()]
    rows += [("survey", survey) for survey in ledger.surveys.values()]
    rows += [("decision", decision) for decision in ledger.decisions.values()]
    rows += [("takedown", takedown) for takedown in ledger.takedowns.values()]
    lines = [json.dumps({kind: msgspec.to_builtins(row)}, sort_keys=True) for kind, row in rows]
    ledger.close()
    (folder / "ledger.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / LEDGER_NAME).unlink()


@pytest.fixture(scope="session")
def to_lines() -> Callable[[Path], None]:
    return _to_lines
