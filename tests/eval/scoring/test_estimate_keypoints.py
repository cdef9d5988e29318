"""--keypoints-command: a program of the user's finds the keypoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_eval import evaluate, read_result
from aa_eval.cli.main import main
from aa_eval.errors import EvalError

FRAMES, SIZE_HW = 3, (48, 32)
# 18 joints about the brightest pixel of each frame, and a line for each time that it was called.
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
frames, out = Path(sys.argv[1]), sys.argv[2]
with open("calls.txt", "a") as log:
    log.write(out + "\\n")
levels = np.stack([np.asarray(Image.open(f).convert("L")) for f in sorted(frames.glob("*.png"))])
y, x = np.unravel_index(levels.reshape(len(levels), -1).argmax(axis=1), levels.shape[1:])
shape = np.random.default_rng(0).uniform(-9, 9, (18, 2))
np.savez(out, keypoints_px=np.stack([x, y], axis=-1)[:, None] + shape,
         scores=np.ones((len(levels), 18)), size_hw=levels.shape[1:])
"""
PROTOCOL = """
name = "quick"
version = "1"
description = ""
source = ""
score_reference_frame = true
aggregation = "videos"
identical_psnr_db = 100.0
size_mismatch_resize = "bilinear-uint8"
pck_alpha = 0.1
[[metrics]]
key = "l1"
kind = "l1"
[[metrics]]
key = "pape"
kind = "pape"
"""
CROSS = PROTOCOL.replace("pck_alpha", 'resizes = true\npairing = "photo"\npck_alpha').replace(
    'kind = "pape"', 'kind = "l1"\ncrop = "picture"'
).replace('"l1"\n[[', '"l1"\ncrop = "limbs"\n[[')  # fmt: skip
COMMAND = f"{sys.executable} find.py {{frames}} {{keypoints}}"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(1)
    for folder in ("gen", "gt", "driving"):
        for video in "ab":
            Path(folder, video).mkdir(parents=True)
            for number in range(5, 5 + FRAMES):
                levels = draw.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
                Image.fromarray(levels).save(Path(folder, video, f"{number}.png"))
    Path("photos").mkdir()
    for video in "ab":
        Image.open(f"gt/{video}/5.png").save(f"photos/{video}.png")
    Path("find.py").write_text(SCRIPT)
    Path("quick.toml").write_text(PROTOCOL)
    Path("cross.toml").write_text(CROSS)
    return tmp_path


def found_by_hand(folder: str) -> Path:
    """What the script finds in a folder of videos or photos, as a user would call it."""
    made = Path(f"by_hand_{folder}")
    made.mkdir()
    for video in Path(folder).iterdir():
        frames = video if video.is_dir() else Path(f"frames_{video.stem}")
        if video.is_file():
            frames.mkdir()
            Image.open(video).save(frames / "0.png")
        subprocess.run(
            [sys.executable, "find.py", str(frames), str(made / f"{video.stem}.npz")], check=True
        )
    return made


def calls() -> list[str]:
    path = Path("calls.txt")
    told = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return told


@pytest.mark.usefixtures("folders")
def test_a_command_gives_what_its_keypoints_as_folders_give() -> None:
    by_folders = evaluate(
        "gen", "gt", protocols=("quick.toml",), baselines="off",
        keypoints=found_by_hand("gen"), reference_keypoints=found_by_hand("gt"),
    )[0]  # fmt: skip
    calls()
    words = ["gen", "--references", "gt", "--protocol", "quick.toml", "--baselines", "off"]
    words += ["--keypoints-command", COMMAND]
    assert main([*words, "--out", "out"]) == 0
    assert len(calls()) == 4
    result = read_result("out")
    for key in ("pck", "akd", "missing_rate", "pape"):
        assert result.metrics[key].value == by_folders.metrics[key].value
        assert f"keypoints by '{COMMAND}'" in (result.metrics[key].note or "")
    # kept next to the result, in the form that --keypoints takes
    kept = evaluate(
        "gen", "gt", protocols=("quick.toml",), baselines="off",
        keypoints="out/keypoints/predictions", reference_keypoints="out/keypoints/references",
    )[0]  # fmt: skip
    assert kept.metrics["akd"].value == result.metrics["akd"].value
    # asked again only for what changed: a video, or the program
    assert main(words) == 0
    assert calls() == []
    Image.new("RGB", SIZE_HW[::-1], (255, 0, 0)).save("gen/a/6.png")
    assert main(words) == 0
    assert len(calls()) == 1
    Path("find.py").write_text(SCRIPT + "# another one\n")
    assert main(words) == 0
    assert len(calls()) == 4


@pytest.mark.usefixtures("folders")
def test_one_side_may_be_given_and_boxes_follow_the_command() -> None:
    theirs = found_by_hand("gt")
    calls()
    result = evaluate(
        "gen", "gt", protocols=("quick.toml",), baselines="off", region_boxes="person",
        keypoints_command=COMMAND, reference_keypoints=theirs,
    )[0]  # fmt: skip
    assert len(calls()) == 2
    assert result.metrics["l1@person"].value is not None
    boxed = evaluate(
        "gen", "gt", protocols=("quick.toml",), baselines="off", region_boxes="person",
        keypoints_command=COMMAND,
    )[0]  # fmt: skip
    assert boxed.metrics["l1@person"] == result.metrics["l1@person"]


@pytest.mark.usefixtures("folders")
def test_without_true_videos_photos_and_driving_videos_are_given_to_it_too() -> None:
    def score(**more: object) -> dict[str, float | None]:
        result = evaluate(
            "gen", reference_images="photos", protocols=("cross.toml",), baselines="off", **more
        )[0]  # fmt: skip
        return {key: metric.value for key, metric in result.metrics.items()}

    by_folders = score(
        driving_poses=found_by_hand("driving"), keypoints=found_by_hand("gen"),
        reference_keypoints=found_by_hand("photos"),
    )  # fmt: skip
    calls()
    assert None not in by_folders.values()
    assert score(driving_poses="driving", keypoints_command=COMMAND) == by_folders
    assert len(calls()) == 6
    assert score(driving_poses="by_hand_driving", keypoints_command=COMMAND) == by_folders
    assert calls() == []


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("find.py {frames}", "lacks {keypoints}: expected a program"),
        ("find.py", "lacks {frames} and {keypoints}"),
        ("find.py '{frames} {keypoints}", "No closing quotation"),
        ("nowhere.exe {frames} {keypoints}", "nowhere.exe: No such file or directory"),
        (f"{sys.executable} -c pass {{frames}} {{keypoints}}", "it wrote no "),
        (
            f"{sys.executable} -c 'import sys; print(5); sys.exit(\"no model\")' "
            "{frames} {keypoints}",
            "status 1 for video 'a', the last that it said: no model",
        ),
        (
            f"{sys.executable} -c 'import sys, numpy as n; n.savez(sys.argv[2], "
            "keypoints_px=n.ones((1, 18, 2)), scores=n.ones((1, 18)), size_hw=(48, 32))' "
            "{frames} {keypoints}",
            "keypoints of 1 frame for video 'a', which has 3",
        ),
    ],
)
def test_a_command_that_cannot_be_used_is_refused(command: str, message: str) -> None:
    with pytest.raises(EvalError) as caught:
        evaluate("gen", "gt", protocols=("quick.toml",), keypoints_command=command)
    assert message in str(caught.value)


@pytest.mark.usefixtures("folders")
def test_keypoints_and_a_command_exclude_each_other() -> None:
    with pytest.raises(EvalError, match="exclude each other"):
        evaluate("gen", "gt", keypoints="gt", keypoints_command=COMMAND)
