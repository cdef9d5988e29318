"""redecide, takedown and verify on a small corpus of puppets."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.check import Check, first_drop, with_thresholds
from aa_curation.cli.main import main
from aa_curation.corpus.near_duplicates import separate
from aa_curation.corpus.pending import is_surveyed
from aa_curation.corpus.purge import adopt_takedowns
from aa_curation.corpus.verify import iter_problems
from aa_curation.corpus.write_shards import pack
from aa_curation.errors import LedgerError
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.filters.resolution import Resolution
from aa_curation.ledger.file import LEDGER_NAME, LedgerWriter, has_ledger, read_ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.redecide import redecided
from aa_curation.measure.distance import NearDuplicates
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.worker import Worker
from aa_datasets.pose import read_pose, write_pose
from aa_datasets.shards import read_shards, write_shard


def _run(recipe: Recipe, sources: list[Source], folder: Path) -> list[str]:
    """Run without Ray; gives the clips that were curated."""
    before = read_ledger(folder) if has_ledger(folder) else None
    known = set[str]()
    if before is not None:
        known = {d.clip_id for d in before.decisions.values() if d.stage == "clip"}
        ((number,),) = before.sql("SELECT coalesce(max(number), 0) FROM replaced")
    ledger = run(recipe, sources, folder, Local())
    if before is not None:
        again = ledger.sql("SELECT clip_id FROM replaced WHERE number > ?", number)
        known -= {clip_id for (clip_id,) in again}
    curated = {d.clip_id for d in ledger.decisions.values() if d.stage == "clip"}
    return sorted(curated - known)


def _hashes(folder: Path) -> dict[str, str]:
    files = [*(folder / "shards").iterdir(), folder / "clips.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _accepted(folder: Path) -> set[str]:
    ledger = read_ledger(folder)
    return {d.source_id for d in ledger.decisions.values() if d.status == "accepted"}


@pytest.fixture(scope="module")
def made(
    small_shards: Recipe, sources_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    _run(small_shards, read_sources([sources_folder]), folder)
    return folder


@pytest.fixture
def corpus(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "corpus"))


def _areas(folder: Path) -> dict[str, float]:
    return {
        decision.source_id: check.measured
        for decision in read_ledger(folder).decisions.values()
        if decision.status == "accepted"
        for check in decision.checks
        if check.reason == "small_person"
    }


def test_a_tighter_threshold_and_back_gives_the_same_bytes_without_a_decode(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, areas = _hashes(corpus), _areas(corpus)
    smallest = min(areas, key=lambda source_id: areas[source_id])
    bound = sorted(areas.values())[1]
    command = ["redecide", "--set", f"small_person={bound}", "--out", str(corpus)]
    ledger = (corpus / LEDGER_NAME).read_bytes()
    assert main([*command, "--dry-run"]) == 0
    foretold = capsys.readouterr().out
    assert (corpus / LEDGER_NAME).read_bytes() == ledger
    assert _hashes(corpus) == before
    assert main(command) == 0
    assert "1 accepted -> rejected small_person" in foretold
    assert capsys.readouterr().out == foretold
    assert _accepted(corpus) == set(areas) - {smallest}
    shards = sorted(corpus.glob("shards/*.tar"))
    assert smallest not in {sample.clip.source_id for sample in read_shards(shards)}
    assert main(["verify", "--decode", "--out", str(corpus)]) == 0
    assert main(["why", smallest, "--out", str(corpus)]) == 0
    assert f"small_person {areas[smallest]:.4g} (at least {bound:.4g})" in capsys.readouterr().out

    assert main(["redecide", "--set", "small_person=0.02", "--out", str(corpus)]) == 0
    assert _hashes(corpus) == before


def test_a_looser_threshold_leaves_only_what_was_never_encoded_to_the_next_run(
    corpus: Path, small_shards: Recipe, sources_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redecide", "--set", "too_short=0.3", "--out", str(corpus)]) == 0
    out = capsys.readouterr().out
    assert "1 rejected too_short -> undecided" in out
    assert "1 not yet decided" in out
    assert main(["verify", "--out", str(corpus)]) == 1
    assert "1 of 12 planned clips are not decided yet" in capsys.readouterr().err
    assert _run(small_shards, read_sources([sources_folder]), corpus) == ["short-0000"]
    assert "short" in _accepted(corpus)
    assert main(["verify", "--out", str(corpus)]) == 0
    # The thresholds hold for what comes later, too: nothing is left to do.
    assert _run(small_shards, read_sources([sources_folder]), corpus) == []


def test_a_source_that_its_header_rejected_is_surveyed_again(
    small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    strict = dataclasses.replace(small_shards, video_filters=(Resolution(480),))
    sources = [s for s in read_sources([sources_folder]) if s.source_id == "puppet_1"]
    corpus = tmp_path / "corpus"
    _run(strict, sources, corpus)
    assert _accepted(corpus) == set()
    assert main(["redecide", "--set", "low_resolution=256", "--out", str(corpus)]) == 0
    assert _run(strict, sources, corpus) == ["puppet_1-0000"]
    assert _accepted(corpus) == {"puppet_1"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [("min_height=0.5", "nothing was measured under min_height"), ("small_person", "NAME=VALUE")],
)
def test_a_setting_that_means_nothing_is_refused(
    corpus: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
) -> None:
    before = (corpus / LEDGER_NAME).read_bytes()
    try:
        code: object = main(["redecide", "--set", setting, "--out", str(corpus)])
    except SystemExit as error:  # argparse's way
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert (corpus / LEDGER_NAME).read_bytes() == before


CHECKS = st.lists(
    st.builds(
        Check,
        st.sampled_from("abc"),
        st.floats(-2, 2) | st.just(float("nan")),
        st.floats(-2, 2),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda check: check.reason,
)


@given(checks=CHECKS, thresholds=st.dictionaries(st.sampled_from("abc"), st.floats(-2, 2)))
def test_redeciding_is_deciding_with_these_thresholds_from_the_start(
    checks: list[Check], thresholds: dict[str, float]
) -> None:
    def decide(found: tuple[Check, ...]) -> tuple[str, str]:
        drop = first_drop(found)
        return ("rejected", drop.reason) if drop else ("accepted", "")

    clip = object()  # an accepted clip keeps its record through all of this
    status, reason = decide(tuple(checks))
    decision = Decision("x-0000", "x", status, "clip", reason, checks=tuple(checks), clip=clip)  # type: ignore[arg-type]
    again = redecided(decision, thresholds)
    assert again is not None
    assert (again.status, again.reason) == decide(with_thresholds(checks, thresholds))
    assert again.clip is clip
    never_encoded = dataclasses.replace(decision, clip=None)
    if status == "rejected" and again.status == "accepted":
        assert redecided(never_encoded, thresholds) is None


def test_a_takedown_rewrites_its_own_shards_only_and_deletes_the_files(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _hashes(corpus)
    ledger = read_ledger(corpus)
    shard_of = {
        s.clip.source_id: p.name for p in corpus.glob("shards/*.tar") for s in read_shards([p])
    }
    gone = "puppet_1"
    latents = [p.with_suffix(f".latents.{k}") for p in corpus.glob("shards/*.tar")
               for k in ("npy", "json")]  # fmt: skip
    for path in latents:  # what `aa-train precompute` puts there shows the frames, too
        path.write_bytes(b"")
    (corpus / "clips" / f"{gone}-0007.mp4").write_bytes(b"of an earlier survey")
    assert main(["takedown", "--source", gone, "--out", str(corpus), "--dry-run"]) == 0
    assert f"{gone}: 1 clip would be removed for good, from {shard_of[gone]}\n" == (
        capsys.readouterr().out
    )
    assert all(path.exists() for path in latents)
    assert read_ledger(corpus) == ledger
    assert main(["takedown", "--source", gone, "--out", str(corpus)]) == 0
    assert f"{gone}: 1 clip removed; shards rewritten or deleted: {shard_of[gone]}" in (
        capsys.readouterr().out
    )
    kept = [path for path in latents if path.exists()]
    assert {path.name.split(".")[0] for path in latents if path not in kept} == {
        shard_of[gone].removesuffix(".tar")
    }
    for path in kept:
        path.unlink()
    after = _hashes(corpus)
    changed = {name.split(".")[0] for name in before if before[name] != after.get(name)}
    assert changed == {shard_of[gone].removesuffix(".tar"), "clips"}  # clips.csv
    assert not list((corpus / "clips").glob(f"{gone}-*"))
    for path in (*corpus.glob("shards/*"), corpus / "clips.csv"):
        assert gone.encode() not in path.read_bytes()
    assert _accepted(corpus) == {d.source_id for d in ledger.decisions.values() if d.clip} - {gone}
    assert main(["verify", "--out", str(corpus)]) == 0
    assert main(["takedown", "--source", "nobody", "--out", str(corpus)]) == 2
    assert "no source 'nobody'" in capsys.readouterr().err


def test_what_was_taken_down_does_not_come_back_under_any_name(
    corpus: Path,
    small_shards: Recipe,
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> None:
    assert main(["takedown", "--source", "puppet_1", "--out", str(corpus)]) == 0
    shutil.copy(sources_folder / "puppet_1.mp4", tmp_path / "renamed.mp4")
    _remux(tmp_path / "renamed.mp4", tmp_path / "remuxed.mkv")
    row = {"licence": "MIT", "pose_file": str(sources_folder / "puppet_1.pose.npz")}
    path = write_sources(
        tmp_path,
        [
            {**row, "source_id": "renamed", "location": "renamed.mp4"},
            {**row, "source_id": "remuxed", "location": "remuxed.mkv"},
        ],
    )
    before = _hashes(corpus)
    assert _run(small_shards, read_sources([sources_folder, path]), corpus) == []
    assert not list(corpus.glob("clips/re*"))
    reasons = {d.source_id: d.reason for d in read_ledger(corpus).decisions.values()}
    assert reasons["puppet_1"] == reasons["renamed"] == reasons["remuxed"] == "takedown"
    # zz_copy was a duplicate of it: the same bytes, so down with it.
    assert reasons["zz_copy"] == "takedown"
    assert _hashes(corpus) == before


def test_a_takedown_that_was_killed_is_finished_by_the_next_run(
    corpus: Path, small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    by_command = Path(shutil.copytree(corpus, tmp_path / "whole"))
    assert main(["takedown", "--source", "puppet_2", "--out", str(by_command)]) == 0
    (tombstone,) = read_ledger(by_command).takedowns.values()
    with LedgerWriter.reopen(corpus) as writer:  # killed after its row was written
        writer.add_takedown(tombstone)
    _run(small_shards, read_sources([sources_folder]), corpus)
    assert _hashes(corpus) == _hashes(by_command)


def test_a_takedown_finds_the_halves_of_files_too(corpus: Path) -> None:
    for name in (".puppet_2-0000.mp4.77.tmp", ".puppet_3-0000.mp4.77.tmp"):
        (corpus / "clips" / name).write_bytes(b"half")
    assert main(["takedown", "--source", "puppet_2", "--out", str(corpus)]) == 0
    assert {path.name for path in (corpus / "clips").glob(".*")} == {".puppet_3-0000.mp4.77.tmp"}
    assert not list((corpus / "clips").glob("puppet_2*"))


def test_a_takedown_of_another_corpus_holds_here_where_it_is_named(
    corpus: Path, small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    assert main(["takedown", "--source", "puppet_1", "--out", str(corpus)]) == 0
    other = tmp_path / "other"
    with LedgerWriter(other, small_shards.head) as writer:
        assert adopt_takedowns(writer, corpus) == 1
        assert adopt_takedowns(writer, corpus) == 0
    # What only bears the same id is another source.
    puppet_2 = next(s for s in read_sources([sources_folder]) if s.source_id == "puppet_2")
    _run(small_shards, [dataclasses.replace(puppet_2, source_id="puppet_1")], other)
    assert _accepted(other) == {"puppet_1"}
    sources = [s for s in read_sources([sources_folder]) if s.source_id != "puppet_2"]
    _run(small_shards, sources, other)
    reasons = {d.source_id: d.reason for d in read_ledger(other).decisions.values()}
    assert reasons["puppet_1"] == reasons["zz_copy"] == "takedown"


def test_a_change_of_the_list_is_heeded_and_a_touched_file_is_not(
    small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    source = next(s for s in read_sources([sources_folder]) if s.source_id == "puppet_1")
    path = Path(shutil.copy(source.path, tmp_path / "a.mp4"))
    corpus = tmp_path / "corpus"
    unlicensed = dataclasses.replace(source, path=path, licence="")
    _run(small_shards, [unlicensed], corpus)
    assert _accepted(corpus) == set()
    licensed = dataclasses.replace(unlicensed, licence="MIT", owner="somebody")
    assert _run(small_shards, [licensed], corpus) == ["puppet_1-0000"]
    (decision,) = read_ledger(corpus).decisions.values()
    assert decision.clip is not None
    assert (decision.clip.licence, decision.owner) == ("MIT", "somebody")
    other = dataclasses.replace(licensed, licence="CC0-1.0")
    assert _run(small_shards, [other], corpus) == ["puppet_1-0000"]
    (sample,) = read_shards(corpus.glob("shards/*.tar"))
    assert sample.clip.licence == "CC0-1.0"  # the same pictures, in a shard that says so
    assert list(iter_problems(read_ledger(corpus), corpus)) == []
    assert _run(small_shards, [licensed], corpus) == ["puppet_1-0000"]
    path.touch()
    assert _run(small_shards, [licensed], corpus) == []
    assert licensed.pose_path is not None
    pose = tmp_path / "a.pose.npz"
    moved = read_pose(licensed.pose_path)
    write_pose(pose, dataclasses.replace(moved, keypoints_px=moved.keypoints_px + 1))
    posed = dataclasses.replace(licensed, pose_path=pose)
    assert _run(small_shards, [posed], corpus) == ["puppet_1-0000"]
    (sample,) = read_shards(corpus.glob("shards/*.tar"))
    np.testing.assert_allclose(sample.pose.keypoints_px, moved.keypoints_px + 1)
    licensed = posed
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    assert not is_surveyed(read_ledger(corpus), licensed)


def test_what_a_killed_pack_left_is_cleared_away(
    corpus: Path, small_shards: Recipe, sources_folder: Path
) -> None:
    before = _hashes(corpus)
    for left in ("shards/.train-000000.tar.1.tmp", ".clips.csv.1.tmp"):
        (corpus / left).write_bytes(b"half")
    _run(small_shards, read_sources([sources_folder]), corpus)
    assert _hashes(corpus) == before
    assert not list(corpus.rglob(".*.tmp"))


def test_a_damaged_shard_is_mended_from_its_clips(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _hashes(corpus)
    damaged, *sound = sorted(corpus.glob("shards/train-*.tar"))
    stamps = [shard.stat().st_mtime_ns for shard in sound]
    _flip(damaged)
    assert main(["verify", "--out", str(corpus)]) == 1
    assert main(["verify", "--mend", "--out", str(corpus)]) == 0
    assert "0 problems" in capsys.readouterr().out
    assert _hashes(corpus) == before
    assert sound
    assert [shard.stat().st_mtime_ns for shard in sound] == stamps, "the others are left alone"


def test_another_pose_in_a_shard_that_is_whole_is_found(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(corpus.glob("shards/train-*.tar"))
    first, *others = read_shards([path])
    forged = dataclasses.replace(first, pose=first.pose.mirrored())
    write_shard(path, [forged, *others])
    assert main(["verify", "--out", str(corpus)]) == 1
    assert f"{first.clip.clip_id} has another pose than was accepted" in capsys.readouterr().err
    assert main(["verify", "--mend", "--out", str(corpus)]) == 0


def test_a_near_duplicate_that_fails_a_new_bound_does_not_come_in_for_the_better_one(
    corpus: Path,
) -> None:
    """Both fall below the bound: that the first goes must not let the second in."""
    with LedgerWriter.reopen(corpus) as writer:
        first = next(d for d in writer.ledger.decisions.values() if d.source_id == "puppet_1")
        assert first.clip is not None
        clip = dataclasses.replace(first.clip, clip_id="twin-0000", source_id="twin")
        found = writer.ledger.surveys["puppet_1"]
        planned = [
            dataclasses.replace(p, clip_id="twin-0000", source_id="twin") for p in found.planned
        ]
        survey = dataclasses.replace(
            found, source_id="twin", source_sha256="", packets_sha256="", planned=tuple(planned)
        )
        twin = dataclasses.replace(first, clip_id="twin-0000", source_id="twin", clip=clip)
        for kind in ("mp4", "pose.npz"):
            shutil.copy(corpus / f"clips/puppet_1-0000.{kind}", corpus / f"clips/twin-0000.{kind}")
        writer.add_survey(survey)
        writer.add_decision(twin)
        for row in separate(writer.ledger, NearDuplicates()):
            writer.add_decision(row)
        pack(writer, corpus)
        before = _hashes(corpus)
        assert writer.ledger.decisions["twin-0000"].reason == "near_duplicate"
    bound = 1 + _areas(corpus)["puppet_1"]
    command = ["redecide", "--out", str(corpus), "--set"]
    assert main([*command, f"small_person={bound}"]) == 0
    decisions = read_ledger(corpus).decisions
    assert {decisions[f"{name}-0000"].reason for name in ("puppet_1", "twin")} == {"small_person"}
    assert main(["verify", "--out", str(corpus)]) == 0
    # And back: of the two again one is in, by the same bytes.
    assert main([*command, "small_person=0.02"]) == 0
    assert _hashes(corpus) == before
    assert main(["verify", "--out", str(corpus)]) == 0


def test_a_remux_is_a_duplicate_of_its_source(
    small_shards: Recipe,
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> None:
    _remux(sources_folder / "puppet_1.mp4", tmp_path / "a.mkv")
    row = {"licence": "MIT", "pose_file": str(sources_folder / "puppet_1.pose.npz")}
    rows = [{**row, "source_id": "remuxed", "location": "a.mkv"}]
    sources = [s for s in read_sources([sources_folder]) if s.source_id == "puppet_1"]
    sources += read_sources([write_sources(tmp_path, rows)])
    _run(small_shards, sources, tmp_path / "corpus")
    decisions = read_ledger(tmp_path / "corpus").decisions
    assert decisions["remuxed-0000"].reason == "duplicate"
    assert "the same packets as source puppet_1" in decisions["remuxed-0000"].detail


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda c: _flip(next(c.glob("shards/train-*.tar"))), "is altered"),
        (lambda c: next(c.glob("shards/*.tar")).unlink(), "no shard"),
        (lambda c: (c / "clips.csv").write_text("x"), "is not the one of this ledger"),
        (lambda c: (c / "clips.csv").unlink(), "cannot be read"),
        (
            lambda c: shutil.copy(next(c.glob("shards/*.tar")), c / "shards/train-000009.tar"),
            "train-000009.tar is not a shard of this corpus",
        ),
    ],
)
def test_verify_names_what_is_wrong(
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], object],
    message: str,
) -> None:
    assert list(iter_problems(read_ledger(corpus), corpus, decode=True)) == []
    harm(corpus)
    assert main(["verify", "--out", str(corpus)]) == 1
    assert message in capsys.readouterr().err


def _remux(path: Path, target: Path) -> None:
    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_run_whose_list_has_lost_a_row_says_so_or_drops_its_clips(
    small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    sources = [s for s in read_sources([sources_folder]) if s.source_id in {"puppet_1", "puppet_2"}]
    folder = tmp_path / "corpus"
    with LedgerWriter(folder, small_shards.head) as writer:  # killed after the surveys
        for source in sources:
            writer.add_survey(Worker(small_shards, tmp_path).survey(source))
    with pytest.raises(LedgerError, match=r"1 of 2 .* \(puppet_1-0000\).*--drop-missing.*takedown"):
        run(small_shards, sources[1:], folder, Local())
    ledger = run(small_shards, sources[1:], folder, Local(), drop_missing=True)
    assert {d.source_id: d.reason for d in ledger.decisions.values()} == {
        "puppet_1": "not_listed", "puppet_2": ""
    }  # fmt: skip
    assert list(iter_problems(read_ledger(folder), folder)) == []
    # Once the row is back, the clip is curated.
    assert _run(small_shards, sources, folder) == ["puppet_1-0000"]
    assert _accepted(folder) == {"puppet_1", "puppet_2"}
