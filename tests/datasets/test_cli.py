from __future__ import annotations

import csv
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from aa_datasets.cli import main
from aa_datasets.pose import RIGHT_HAND, make_pose, read_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import read_canonical


def _refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    code = main([str(a) for a in argv])
    captured = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in captured.err
    last = captured.err.strip().splitlines()[-1]
    assert "error: " in last
    assert last.startswith("aa-datasets")
    return last


def test_puppets_writes_videos_poses_and_sources(tmp_path: Path) -> None:
    out = tmp_path / "p"
    argv = ["--count", "2", "--first-seed", "7", "--frames", "5", "--size", "64", "--split", "test"]
    assert main(["puppets", "--out", str(out), *argv]) == 0
    with (out / "sources.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source_id"] for row in rows] == ["puppet_0000007", "puppet_0000008"]
    for seed, row in zip((7, 8), rows, strict=True):
        assert (row["synthetic"], row["split"]) == ("true", "test")
        puppet = render_puppet(seed, seed, num_frames=5, size_hw=(64, 64))
        pose = read_pose(out / row["pose_file"])
        np.testing.assert_array_equal(pose.keypoints_px, puppet.pose.keypoints_px)
        assert read_canonical(out / row["location"]).shape == (5, 64, 64, 3)


def test_one_puppet_is_not_counted_in_the_plural(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = str(tmp_path / "one.tar")
    assert main(["puppets", "--out", shard, "--count", "1", "--frames", "5", "--size", "64"]) == 0
    assert main(["verify", shard]) == 0
    assert main(["stats", shard]) == 0
    said = capsys.readouterr().out
    assert f"1 synthetic puppet in {shard}" in said
    assert "one.tar: 1 clip, sha256" in said
    assert "of 24 frames: 1 clip, which" in said


def test_show_verify_and_stats_say_what_is_there(
    shards: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(path) for path in shards]
    assert main(["show", *paths]) == 0
    shown = capsys.readouterr().out
    assert all(f"puppet_{seed}  10 frames at 12 fps  80x64" in shown for seed in range(7))
    assert main(["verify", *paths]) == 0
    assert "a.tar: 4 clips" in capsys.readouterr().out
    assert main(["stats", *paths]) == 0
    stats = capsys.readouterr().out
    assert "7 clips of 7 sources, 70 frames, 5.8 s" in stats
    assert "licences: CC0-1.0 (7 clips)" in stats


def test_stats_count_what_differs(
    samples: list[ShardSample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two splits, of which one has half of the frames, half of them without a right hand."""
    written = []
    for i, sample in enumerate(samples[:4]):
        test = i == 3
        scores = sample.pose.scores.copy()
        if test:
            scores[:5, RIGHT_HAND] = 0
        clip = dataclasses.replace(
            sample.clip, split="test" if test else "train", source_id=f"s{i // 2}",
            synthetic=not test, licence="mine" if test else "CC0-1.0",
            text_px=((0, 0, 9, 9),) if test else (),
        )  # fmt: skip
        pose = make_pose(sample.pose.keypoints_px, scores, sample.pose.size_hw)
        written.append(ShardSample(clip, sample.mp4, pose))
    write_shard(tmp_path / "a.tar", written)
    assert main(["stats", str(tmp_path / "a.tar"), "--window", "11"]) == 0
    lines = capsys.readouterr().out.splitlines()
    video_bytes = sum(len(sample.mp4) for sample in written)
    right = sum(int((s.pose.scores[:, RIGHT_HAND] > 0).sum()) for s in written) / (40 * 21)
    assert right < 0.9
    assert lines[0] == "4 clips of 2 sources, 40 frames, 3.3 s"
    assert lines[1] == "split test: 1 clip of 1 source, 10 frames, 0.8 s"
    assert lines[2] == "split train: 3 clips of 2 sources, 30 frames, 2.5 s"
    for line in (
        "length in frames: 10 to 10, median 10",
        "shorter than a window of 11 frames: 4 clips, which stage 2 leaves out",
        "frames per second: 12 (4 clips)",
        "width x height: 80x64 (4 clips)",
        f"video: {video_bytes} bytes, {video_bytes / 40:.0f} a frame",
        "synthetic: 3 of 4 clips",
        "with text laid over: 1 of 4 clips",
        "licences: CC0-1.0 (3 clips), mine (1 clip)",
    ):
        assert line in lines
    assert f"right hand {100 * right:.1f} %" in "".join(lines)


def test_export_writes_frames_or_keypoints(shards: list[Path], tmp_path: Path) -> None:
    size = ["--size", "32", "--max-frames", "2"]
    assert main(["export", str(shards[1]), "--out", str(tmp_path / "f"), *size]) == 0
    assert cv2.imread(str(tmp_path / "f" / "puppet_4" / "0001.png")).shape == (32, 32, 3)
    assert not (tmp_path / "f" / "puppet_4" / "0002.png").exists()
    assert main(["export", str(shards[1]), "--out", str(tmp_path / "k"), "--keypoints", *size]) == 0
    assert (tmp_path / "k" / "puppet_6.npz").is_file()
    near = ["--nearest-pose", str(shards[0]), *size]
    assert main(["export", str(shards[1]), "--out", str(tmp_path / "n"), *near]) == 0
    assert (tmp_path / "n" / "puppet_5" / "0001.png").is_file()


@pytest.mark.parametrize("command", ["show", "verify", "stats", "export"])
def test_missing_unfinished_and_damaged_shards_are_one_line(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    more = ["--out", tmp_path / "out"] if command == "export" else []
    assert "no shard" in _refused(capsys, command, tmp_path / "gone.tar", *more)
    shard = tmp_path / "a.tar"
    shutil.copy(shards[0], shard)
    assert "has no record" in _refused(capsys, command, shard, *more)
    shutil.copy(shards[0].with_suffix(".json"), tmp_path)
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "is damaged" in _refused(capsys, command, shard, *more)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--size", "63"), ("--size", "0"), ("--size", "-2"), ("--size", "x"), ("--frames", "0"),
        ("--frames", "-1"), ("--fps", "0"), ("--fps", "nan"), ("--count", "0"), ("--wrong", "1"),
        ("--first-seed", "-1"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    small = ["--count", 1, "--frames", 2, "--size", 32]
    _refused(capsys, "puppets", "--out", tmp_path / "p", *small, option, value)


def test_out_that_is_a_file_is_one_line(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    _refused(capsys, "puppets", "--count", 1, "--frames", 2, "--out", tmp_path / "file")
    for what in ([], ["--keypoints"]):
        _refused(capsys, "export", shards[0], "--out", tmp_path / "file", *what)


def test_the_command_itself_exits_2_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aa_datasets.cli", "verify", str(tmp_path / "gone.tar")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("aa-datasets: error: no shard")
    assert len(done.stderr.splitlines()) == 1


HELP = {
    "": "Usage: aa-datasets COMMAND",
    "puppets": "--fps FLOAT       Frames per second. [default: 24]",
    "show": "Usage: aa-datasets show SHARD",
    "verify": "Usage: aa-datasets verify SHARD",
    "stats": "counted. [default: 24]",
    "export": "--nearest-pose PATH...",
    "fetch": "--size-hw INT INT  Height and width of the references. [default: 256 256]",
}


@pytest.mark.parametrize("command", HELP)
def test_each_help_has_an_example_and_loads_nothing_heavy(command: str) -> None:
    script = (
        "import sys; from aa_datasets.cli import main; main(sys.argv[1:]);"
        "print({'torch', 'cv2', 'av', 'decord', 'numpy', 'webdataset'} & set(sys.modules))"
    )
    argv = [sys.executable, "-c", script, *command.split(), "--help"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert HELP[command] in shown
    assert f"Example: aa-datasets {command}" in shown
    assert shown.endswith("set()\n")
    assert "()]" not in shown
    assert "[default: False]" not in shown


def test_exports_that_exclude_each_other_are_refused(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--keypoints", "--nearest-pose", shards[0]]
    error = _refused(capsys, "export", shards[1], "--out", tmp_path / "e", *both)
    assert "--keypoints" in error
    assert "--nearest-pose" in error
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("command", ["stats", "show", "verify"])
def test_a_shard_that_is_not_there_is_the_only_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, str(tmp_path / "gone.tar")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "gone.tar: give .tar files" in said.err
