"""`aa-eval` as it is used: folders in, files and a table out; errors in one line."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aa_eval.cli.main import main
from aa_eval.options import FolderOptions
from aa_eval.protocol import list_protocols, parse_protocol, protocol_text, read_protocol
from aa_eval.result import RESULT_FILE, read_result
from aa_eval.videos.benchmark import list_benchmarks, read_benchmark
from aa_eval.videos.pairing import PROBLEMS


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """gt, and two predictions of it: `good` has less noise than `bad` on each of 5 videos."""
    draw = np.random.default_rng(0)
    for video in range(5):
        frames = draw.integers(0, 256, (3, 40, 40, 3))
        noise = draw.normal(0, 1, frames.shape)
        for name, sigma in (("gt", 0), ("good", 4), ("bad", 16)):
            folder = tmp_path / name / f"video_{video}"
            folder.mkdir(parents=True)
            noisy = np.clip(frames + sigma * noise, 0, 255).astype(np.uint8)
            for number, frame in enumerate(noisy):
                Image.fromarray(frame).save(folder / f"{number}.png")
    return tmp_path


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_end_to_end_with_baselines_and_compare(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        words = [trees / name, "--references", trees / "gt", "--label", "demo"]
        words += ["--baselines", "white,previous-frame", "--out", trees / "out" / name]
        assert run(*words) == 0
    printed = capsys.readouterr().out
    heads = [line.split()[0] for line in printed.splitlines() if "↑" in line or "↓" in line]
    assert heads[:3] == ["SSIM", "PSNR", "PSNR*"]
    assert "unavailable: 0 windows" in printed
    good = read_result(trees / "out" / "good")
    assert (good.method, good.label, good.num_frames) == ("good", "demo", 15)
    found = {
        path.parent.name: read_result(path.parent)
        for path in (trees / "out" / "good").rglob(RESULT_FILE)
    }
    assert {n: r.label for n, r in found.items()} == {
        "good": "demo",
        "white": "baseline",
        "previous-frame": "baseline",
    }
    frames = pd.read_csv(trees / "out" / "good" / "per_frame.csv")
    assert len(frames) == 15
    assert frames["psnr"].mean() == pytest.approx(good.metrics["psnr"].value)
    videos = pd.read_csv(trees / "out" / "good" / "per_video.csv")
    assert videos["lpips_alex"].mean() == pytest.approx(good.metrics["lpips_alex"].value)

    assert run("compare", trees / "out" / "good", trees / "out" / "bad") == 0
    printed = capsys.readouterr().out
    line = next(x for x in printed.splitlines() if x.split()[0] == "psnr")
    _, a, b, difference, low, high, p_value, p_holm, count = line.split()
    assert float(a) - float(b) == pytest.approx(float(difference), abs=1e-3)
    assert 0 < float(low) <= float(difference) <= float(high)
    assert float(p_value) == 2 / 2**5
    assert float(p_holm) == min(1, 5 * 2 / 2**5)  # ssim, two psnrs, two lpips
    assert "no difference between 'good' and 'bad' may be claimed" in printed
    assert "5 videos can give no p below 0.062" in printed
    assert count == "5"


def test_a_benchmark_knows_its_videos_folders_and_protocols(
    trees: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trees)
    assert run("--benchmark", "tiktok") == 2
    error = capsys.readouterr().err
    assert "put the references into data/tiktok/references/ (" in error
    assert "`aa-datasets fetch tiktok --copy YOUR_FOLDER --licence WORDS` makes that" in error
    assert ", ".join(read_benchmark("tiktok").video_ids) in error
    assert "and the predictions into data/tiktok/predictions/" in error
    (trees / "data" / "tiktok").mkdir(parents=True)
    (trees / "gt").rename(trees / "data" / "tiktok" / "references")
    (trees / "good").rename(trees / "data" / "tiktok" / "predictions")
    words = ["--benchmark", "tiktok", "--baselines", "off", "--out", "out"]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert "0 of 10 test videos; missing: 00337, 00338, 201_002_1x1, ...; not of" in error
    assert run(*words, "--allow", "test-split") == 0
    printed = capsys.readouterr().out
    for name in ("tiktok-disco-2023", "aa-clean-v2"):
        result = read_result(trees / "out" / name)
        assert (result.protocol, result.benchmark) == (name, "tiktok")
        assert result.overrides[0].startswith("allow test-split: benchmark tiktok: 0 of 10")
        lines = printed.split(f"\n{name} ")[1].splitlines()[2:5]
        assert [line.split()[0] for line in lines] == ["SSIM", "PSNR", "PSNR*"]
    assert run("compare", "out/tiktok-disco-2023", "out/aa-clean-v2") == 2
    assert "other protocol: tiktok-disco-2023 (hash " in capsys.readouterr().err


def test_a_split_of_other_frames_is_refused_and_said(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = trees / "gt" / "video_0" / "0.png"
    for name in ("split", "split_gt"):
        for video_id in read_benchmark("tiktok").video_ids:
            (trees / name / video_id).mkdir(parents=True)
            shutil.copy(frame, trees / name / video_id / "1.png")
    words = ["check", trees / "split", "--references", trees / "split_gt"]
    assert run(*words, "--benchmark", "tiktok") == 2
    error = capsys.readouterr().err
    assert "'00337' has frames 1..1, 1 of them; the benchmark's are 1..305, 305 of them" in error
    assert "--allow test-frames" in error
    assert run(*words, "--benchmark", "tiktok", "--allow", "test-frames") == 0
    assert "10 pairs, 10 frames" in capsys.readouterr().out
    assert len(set(read_benchmark("ubc").video_ids)) == 100


def test_verify_holds_references_to_the_result(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [trees / "good", "--references", trees / "gt", "--baselines", "off"]
    words += ["--protocol", "tiktok-disco-2023", "--out", trees / "out"]
    assert run(*words) == 0
    assert run("verify", trees / "out", "--references", trees / "gt") == 0
    for file in (trees / "gt").rglob("*.png"):  # other bytes, the same pixels
        Image.open(file).convert("RGB").save(file, compress_level=0)
    assert run("verify", trees / "out", "--references", trees / "gt") == 0
    assert "5 references: the frames" in capsys.readouterr().out
    assert run("verify", trees / "out", "--references", trees / "bad") == 2
    assert "'video_0' has other frames" in capsys.readouterr().err
    row = json.loads((trees / "out" / "result.json").read_text())
    row["protocol_hash"] = "0" * 64
    (trees / "out" / "result.json").write_text(json.dumps(row))
    assert run("verify", trees / "out", "--references", trees / "gt") == 2
    assert "which is not a protocol of this version: its hash here is" in capsys.readouterr().err


def test_verify_holds_the_frames_that_were_compared_of_a_trimmed_video(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trees / "good" / "video_0" / "1.png").unlink()  # a hole
    shutil.rmtree(trees / "good" / "video_1")  # left out whole
    (trees / "gt" / "video_2" / "2.png").unlink()  # the prediction is the longer one
    words = ["--protocol", "tiktok-disco-2023", "--baselines", "off", "--out", trees / "out"]
    for problem in ("frame-count", "missing-videos", "numbering-gap"):
        words += ["--allow", problem]
    assert run(trees / "good", "--references", trees / "gt", *words) == 0
    row = json.loads((trees / "out" / "result.json").read_text())
    assert row["trimmed"] == {"video_0": [[0, 1], [2, 3]]}
    assert run("verify", trees / "out", "--references", trees / "gt") == 0
    said = capsys.readouterr().out
    assert "'video_0': 2 of 3 frames compared" in said
    assert "not in the result: 1 reference (video_1" in said
    assert "4 references: the frames" in said
    # one pixel of a frame that was compared, not of the one that was left out
    left_out, compared = (trees / "gt" / "video_0" / f"{n}.png" for n in (1, 2))
    for path, status in ((left_out, 0), (compared, 2)):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[0, 0, 0] ^= 1
        Image.fromarray(pixels).save(path)
        assert run("verify", trees / "out", "--references", trees / "gt") == status
    for change, words_of_error in (
        ({"overrides": []}, "no override 'allow frame-count'"),
        ({"trimmed": {"video_0": [[0, 10**15]]}}, "3 frames, the result was scored against frame"),
        ({"trimmed": {"video_0": [[0, 2], [1, 3]]}}, "expected [[first, end], ...], ascending"),
        ({"trimmed": {"video_9": [[0, 2]]}}, "no reference of that name was scored"),
    ):
        altered = json.dumps(row | change)
        (trees / "out" / "result.json").write_text(altered)
        assert run("verify", trees / "out", "--references", trees / "gt") == 2
        assert words_of_error in capsys.readouterr().err


def test_keypoints_give_pck(trees: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = np.tile([[0.0, 0.0], [0.0, 30.0], [20.0, 0.0], [20.0, 30.0]], (3, 1, 1))
    for name in ("kp", "kp_gt"):
        (trees / name).mkdir()
        for video in range(5):
            points = reference.copy()
            if name == "kp":
                points[:, 0] += 25  # one of four joints is out of tolerance
            np.savez(trees / name / f"video_{video}.npz", keypoints_px=points,
                     scores=np.ones((3, 4)), size_hw=[40, 40])  # fmt: skip
    words = [trees / "good", "--references", trees / "gt", "--baselines", "off"]
    words += ["--keypoints", trees / "kp", "--reference-keypoints", trees / "kp_gt"]
    words += ["--protocol", "fvd-tf", "--out", trees / "out"]
    words += ["--label", "baseline"]  # a folder that `--write-baselines` made has its pose, too
    assert run(*words) == 0
    result = read_result(trees / "out")
    assert result.label == "baseline"
    assert result.metrics["pck"].value == 0.75
    assert result.per_video["video_0"]["pck"] == 0.75
    assert result.metrics["akd"].value == pytest.approx(25 * 2**0.5 / 4)
    assert result.metrics["missing_rate"].value == 0
    row = np.load(trees / "kp" / "video_3.npz")
    twice = {"keypoints_px": row["keypoints_px"] * 2 + 0.5, "scores": row["scores"]}
    np.savez(trees / "kp" / "video_3.npz", size_hw=[80, 80], **twice)  # pixels of the reference
    assert run(*words) == 0
    assert read_result(trees / "out").metrics["akd"].value == result.metrics["akd"].value
    np.savez(trees / "kp" / "video_3.npz", size_hw=[80, 40], **twice)
    assert run(*words) == 2
    assert "keypoints of frames of 40x80, the reference is 40x40" in capsys.readouterr().err
    (trees / "kp" / "video_3.npz").write_bytes(b"no npz")
    capsys.readouterr()
    assert run(*words) == 2
    assert "video_3.npz: not a keypoints file" in capsys.readouterr().err


def test_check_decodes_nothing_and_names_what_is_wrong(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", trees / "good", "--references", trees / "gt") == 0
    assert "5 pairs, 15 frames" in capsys.readouterr().out
    (trees / "good" / "video_2" / "2.png").unlink()
    assert run("check", trees / "good", "--references", trees / "gt") == 2
    assert "video_2" in capsys.readouterr().err
    words = ["check", trees / "good", "--references", trees / "gt", "--allow", "frame-count"]
    assert run(*words) == 0
    capsys.readouterr()
    assert run("check", trees / "bad") == 0
    assert "5 videos (no references given: not paired), 15 frames" in capsys.readouterr().out
    (trees / "bad" / "video_3" / "1.png").unlink()
    assert run("check", trees / "bad") == 2
    assert "'video_3' has frames 0 and 2 but none between" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--references", "nowhere"], "no such folder"),
        (["nowhere"], "--references"),
        (["nowhere", "--references", "x", "--protocol", "tiktok"], "'tiktok' is unknown"),
        (["nowhere", "--references", "x", "--baselines", "black"], "'black' is unknown"),
        (["nowhere", "--references", "x", "--keypoints", "x"], "belong together"),
        (["nowhere", "--references", "x", "--frobnicate"], "--frobnicate"),
        (["nowhere", "--references", "x", "--workers", "0"], "--workers. Must be >= 1"),
        (["nowhere", "--references", "x", "--workers", "two"], 'unable to convert "two" into int'),
        (["nowhere", "--references", "x", "--device", "tpu"], "expected cpu, cuda or cuda:0"),
        (["nowhere", "--references", "x", "--feature-cache-gib", "nan"], "expected 0 or more GiB"),
        (["--benchmark", "youtube"], "choose from"),
        (["protocols", "show"], "NAME requires an argument"),
        (["compare", "nowhere", "nowhere"], "no such file"),
    ],
)
def test_errors_are_one_line_and_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("aa-eval: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_protocols_and_weights_tell_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("protocols") == 0
    assert capsys.readouterr().out.count("\n") == len(list_protocols())
    for name in list_protocols():
        assert run("protocols", "show", name) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"# hash: {read_protocol(name).hash}\n")
        assert parse_protocol(printed, name) == read_protocol(name)
    assert run("benchmarks") == 0
    assert capsys.readouterr().out.count("\n") == len(list_benchmarks())
    assert run("benchmarks", "show", "tiktok") == 0
    printed = capsys.readouterr().out
    for word in (*read_benchmark("tiktok").video_ids, "aa-datasets fetch", "tiktok-disco-2023"):
        assert word in printed
    run("weights")
    assert "i3d-k400" in capsys.readouterr().out


def test_what_cannot_be_written_is_refused_before_the_work(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [trees / "good", "--references", trees / "gt", "--protocol", "fvd-tf"]
    (trees / "file").write_text("")
    for option in ("--out", "--cache"):
        assert run(*words, option, trees / "file") == 2
        assert f"{option} {trees / 'file'}: nothing can be written" in capsys.readouterr().err
    words += ["--baselines", "off", "--out", trees / "out"]
    assert run(*words) == 0
    assert run(*words) == 0  # its own result may be written again
    before = (trees / "out" / "result.json").read_bytes()
    capsys.readouterr()
    assert run(trees / "bad", *words[1:]) == 2
    assert "holds the result of 'good', this run is 'bad'" in capsys.readouterr().err
    assert (trees / "out" / "result.json").read_bytes() == before


def test_references_are_no_predictions_of_themselves(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trees / "link").mkdir()
    for video in (trees / "gt").iterdir():
        (trees / "link" / video.name).symlink_to(video)
    for folder in ("gt", "link"):
        assert run("check", trees / folder, "--references", trees / "gt") == 2
        assert "predictions that are the references' own files: 5" in capsys.readouterr().err
    # frames may be links, too; the first one is given to methods
    frames = [tree / "v" / f"{n}.png" for tree in (trees / "true", trees / "few") for n in range(3)]
    for number, frame in enumerate(frames):
        frame.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(frame)
    for number, verdict in ((0, 0), (2, 2)):
        frames[3 + number].unlink()
        frames[3 + number].hardlink_to(frames[number])
        assert run("check", trees / "few", "--references", trees / "true") == verdict
    words = ["check", trees / "link", "--references", trees / "gt", "--allow", "same-files"]
    assert run(*words) == 0
    assert "warning: allow same-files: predictions that are" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 2, 4, 6, 8])
def test_predictions_may_stand_anywhere(trees: Path, place: int) -> None:
    words = ["--references", trees / "gt", "--baselines", "off", "--out", trees / "out"]
    words += ["--protocol", "fvd-tf"]
    words.insert(place, trees / "good")
    assert run(*words) == 0
    assert read_result(trees / "out").method == "good"


def test_result_json_is_plain_json(trees: Path) -> None:
    assert run(trees / "good", "--references", trees / "gt", "--out", trees / "out",
               "--baselines", "off") == 0  # fmt: skip
    row = json.loads((trees / "out" / "result.json").read_text())
    assert row["protocol"] == "aa-clean-v2"
    assert set(row["weights"]) == {"i3d-k400", "lpips-alex", "lpips-vgg"}


@pytest.mark.parametrize(
    "words", [(), ("check",), ("compare",), ("verify",), ("protocols",), ("benchmarks",)]
)
def test_help_loads_nothing_heavy_and_has_an_example(words: tuple[str, ...]) -> None:
    code = (
        f"import sys; from aa_eval.cli.main import main; main([*{words!r}, '--help'])\n"
        "print('heavy:', {'torch', 'scipy', 'pandas', 'av'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: set()" in done.stdout
    assert "Example: aa-eval" in done.stdout


def test_help_names_every_problem_that_may_be_allowed() -> None:
    (allow,) = (f for f in fields(FolderOptions) if f.name == "allow")
    lines = inspect.getsource(FolderOptions).split(f"    {allow.name}: ")[1]
    assert set(re.findall(r"[a-z]+(?:-[a-z]+)+|fps|size|channels", lines)) >= PROBLEMS.keys()


MODULE = """
import numpy as np
from aa_eval import FrameMetric

def brightness(prediction, reference):
    return np.abs(prediction.mean((1, 2, 3)) - reference.mean((1, 2, 3)))

METRICS = {"brightness_of_a_test": FrameMetric(brightness, better="lower")}
"""


def test_a_protocol_a_benchmark_and_a_metric_of_ones_own(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trees / "mine.py").write_text(MODULE)
    (trees / "mine.toml").write_text(
        protocol_text("tiktok-disco-2023")
        .split("[[metrics]]")[0]
        .replace('name = "tiktok-disco-2023"', 'name = "mine"\nmetric_module = "mine.py"')
        + '[[metrics]]\nkey = "light"\nkind = "brightness_of_a_test"\n'
    )
    (trees / "five.toml").write_text(
        'name = "five"\ntitle = "Five"\nprotocols = ["aa-clean-v2"]\nsource = "here"\n'
        'layout = "l"\nmade_by = "m"\nvideo_ids = ["video_0", "video_1", "video_2", "video_3", '
        '"video_4"]\n'
    )
    words = [trees / "good", "--references", trees / "gt", "--baselines", "off"]
    words += ["--benchmark", trees / "five.toml", "--protocol", trees / "mine.toml"]
    assert run(*words, "--out", trees / "out", "--workers", "2") == 0
    result = read_result(trees / "out")
    assert (result.protocol, result.benchmark) == ("mine", "five")
    differences = []
    for video in range(5):
        sides = [
            np.stack(
                [
                    np.asarray(Image.open(trees / s / f"video_{video}" / f"{n}.png"))
                    for n in range(3)
                ]
            )
            for s in ("good", "gt")
        ]
        differences.append(np.abs(sides[0].mean((1, 2, 3)) - sides[1].mean((1, 2, 3))))
    assert result.metrics["light"].value == pytest.approx(np.concatenate(differences).mean())
    assert "light ↓" in capsys.readouterr().out
    hash_before = result.protocol_hash
    (trees / "mine.py").write_text(MODULE + "# another content is another protocol\n")
    (trees / "mine.toml").write_text(
        (trees / "mine.toml").read_text().replace("brightness_of_a_test", "brightness_2")
    )
    (trees / "mine.py").write_text(MODULE.replace("brightness_of_a_test", "brightness_2"))
    assert run(*words, "--out", trees / "out2") == 0
    assert read_result(trees / "out2").protocol_hash != hash_before
    plain = [trees / "good", "--references", trees / "gt", "--baselines", "off", "--protocol"]
    plain += ["fvd-tf", "--metric-module", trees / "mine.py", "--out", trees / "out3"]
    assert run(*plain) == 0
    assert {path.parent.name for path in (trees / "out3").rglob(RESULT_FILE)} == {"fvd-tf", "mine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("METRICS = {}", "METRICS is dict, expected a dictionary of name -> aa_eval.FrameMetric"),
        ("1 / 0", "fails when it is run: ZeroDivisionError"),
        (MODULE.replace("brightness_of_a_test", "psnr"), "there is another metric 'psnr'"),
    ],
)
def test_a_metric_module_that_is_none_is_refused(
    trees: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (trees / "bad.py").write_text(text)
    words = [trees / "good", "--references", trees / "gt", "--metric-module"]
    assert run(*words, trees / "bad.py") == 2
    assert message in capsys.readouterr().err
    assert run(*words, trees / "nowhere.py") == 2
    assert "no such file" in capsys.readouterr().err
