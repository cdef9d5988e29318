"""The bridge to VBench-I2V: the folder that its script takes, and what it writes, read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from aa_eval import compare, read_result
from aa_eval.cli.main import main
from aa_eval.vbench import DIMENSIONS

IDS = ("a", "clip-12", "c")  # VBench drops a trailing -<digits> of a name


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for video in IDS:
        folder = tmp_path / "mine" / video
        folder.mkdir(parents=True)
        for t in range(3):
            picture = Image.fromarray(draw.integers(0, 256, (32, 48, 3), dtype=np.uint8))
            picture.save(folder / f"{t}.png")
    (tmp_path / "photos").mkdir()
    for number, video in enumerate(IDS):
        suffix = "jpg" if number else "png"
        Image.new("RGB", (48, 32), (number, 0, 0)).save(tmp_path / "photos" / f"{video}.{suffix}")
    assert main(["export-vbench", "mine", "--reference-images", "photos", "--out", "v"]) == 0
    return tmp_path / "v"


def vbench(folder: Path, value: float = 0.5) -> dict[str, Any]:
    """What VBench writes of a folder: its own rule names the videos."""
    found: dict[str, Any] = {}
    for dimension in DIMENSIONS:
        rows = []
        for number, path in enumerate(sorted((folder / "videos").iterdir())):
            of_video: float | bool = value + 0.1 * number
            if dimension == "dynamic_degree":
                of_video = number > 0
            if dimension == "imaging_quality":
                of_video = 100 * (value + 0.1 * number)
            rows.append({"video_path": str(path), "video_results": of_video})
        found[dimension] = [value + 0.1, rows]
    return found


def write(content: Any, name: str = "results.json") -> str:
    Path(name).write_text(json.dumps(content))
    return name


def test_the_folder_is_as_vbench_takes_it(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["export-vbench", "mine", "--reference-images", "photos", "--out", "w"]) == 0
    command = capsys.readouterr().out
    assert "evaluate_i2v.py --mode custom_input --videos_path" in command
    assert "--ratio 8-5 --dimension i2v_subject i2v_background" in command
    info = json.loads((exported / "full_info.json").read_text())
    assert [row["prompt_en"] for row in info] == sorted(IDS)
    for row in info:
        (video,) = row["video_list"]
        # VBench finds the image of a video under its stem without a trailing -<digits>
        stem, _, digits = Path(video).stem.rpartition("-")
        assert digits == "0"
        assert (exported / "images" / f"{stem}.png").is_file()
        assert Path(row["custom_image_path"]) == exported / "images" / f"{stem}.png"
        with av.open(video) as container:
            assert sum(1 for _ in container.decode(video=0)) == 3
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["method"], manifest["videos"][0]["num_frames"]) == ("mine", 3)
    # what is there is not written over, and an mp4 goes as it is
    assert main(["export-vbench", "mine", "--reference-images", "photos", "--out", "v"]) == 2
    copied = ["export-vbench", "v/videos", "--reference-images", "named", "--out", "again"]
    Path("named").mkdir()
    for video in IDS:
        Image.new("RGB", (48, 32)).save(f"named/{video}-0.png")
    assert main(copied) == 0
    before, after = "v/videos/a-0.mp4", "again/videos/a-0-0.mp4"
    assert Path(before).read_bytes() == Path(after).read_bytes()


def test_what_vbench_found_becomes_columns_with_its_commit(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--manifest", "v/manifest.json", "--commit", "45e79ec"]
    assert main(["import-vbench", write(vbench(exported)), *words, "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert "vbench-i2v@45e79ec, 3 videos" in printed
    result = read_result("out")
    assert list(result.metrics) == [f"vbench_{dimension}" for dimension in DIMENSIONS]
    found = result.metrics["vbench_imaging_quality"]
    assert (found.value, found.note) == (0.6, "VBench at 45e79ec")
    assert found.ci_low < 0.6 < found.ci_high
    assert result.per_video["clip-12"]["vbench_imaging_quality"] == pytest.approx(0.7)
    assert result.per_video["a"]["vbench_dynamic_degree"] == 0.0
    assert main(["import-vbench", write(vbench(exported, 0.4)), *words, "--out", "other"]) == 0
    difference = compare(result, read_result("other"))[0]
    assert difference.difference == pytest.approx(0.1)
    words[-1] = "aaaaaaa"
    assert main(["import-vbench", write(vbench(exported)), *words, "--out", "later"]) == 0
    with pytest.raises(ValueError, match="other protocol: vbench-i2v@45e79ec"):
        compare(result, read_result("later"))


def drop_last(found: dict[str, Any]) -> None:
    found["i2v_subject"][1].pop()


def twice(found: dict[str, Any]) -> None:
    found["i2v_subject"][1].append(found["i2v_subject"][1][0])


def not_a_number(found: dict[str, Any]) -> None:
    found["i2v_subject"][1][0]["video_results"] = float("nan")


def percent(found: dict[str, Any]) -> None:
    found["aesthetic_quality"][0] = 60


def foreign(found: dict[str, Any]) -> None:
    found["i2v_subject"][1][0]["video_path"] = "/x/other-0.mp4"


def text(found: dict[str, Any]) -> None:
    found["i2v_subject"] = "good"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_last, "i2v_subject: missing: 1 of 3 videos, e.g. 'clip-12'"),
        (twice, "i2v_subject: 'a' is there twice"),
        (not_a_number, "'a' is nan, expected 0 to 1"),
        (percent, "aesthetic_quality: overall is 60, expected 0 to 1"),
        (foreign, "'other' is not in the manifest"),
        (text, "i2v_subject: expected [overall, [{video_path, video_results}, ...]]"),
    ],
)
def test_what_is_not_of_these_videos_is_refused(
    exported: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    found = vbench(exported)
    spoil(found)
    words = ["import-vbench", write(found), "--manifest", "v/manifest.json", "--commit", "45e79ec"]
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_other_files_and_videos_that_changed_are_refused(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = write(vbench(exported))
    words = ["--manifest", "v/manifest.json", "--commit", "45e79ec"]
    for given, message in (
        (["import-vbench", "none.json", *words], "none.json: no such file"),
        (["import-vbench", "photos/a.png", *words], "photos/a.png: not JSON"),
        (
            ["import-vbench", results, "--manifest", results, "--commit", "45e79ec"],
            "not a manifest",
        ),
        (
            ["import-vbench", results, *words[:-1], "main"],
            "--commit main: expected VBench's commit",
        ),
        (["export-vbench", "mine", "--reference-images", "no", "--out", "w"], "no: no such folder"),
    ):
        assert main(given) == 2
        assert message in capsys.readouterr().err
    (exported / "videos" / "a-0.mp4").write_bytes(b"other")
    assert main(["import-vbench", results, *words]) == 2
    assert "a-0.mp4: changed after it was exported" in capsys.readouterr().err
    Path("photos/a.png").unlink()
    assert main(["export-vbench", "mine", "--reference-images", "photos", "--out", "w"]) == 2
    assert "no photo for 'a': expected a.png" in capsys.readouterr().err
    assert not Path("w").exists()
