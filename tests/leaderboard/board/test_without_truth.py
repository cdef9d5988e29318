"""What aa-eval writes without true videos goes on a board, its baselines too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_eval import evaluate
from aa_leaderboard.board.store import read_board
from aa_leaderboard.cli import main

pose = pytest.importorskip("aa_datasets.pose")
puppets = pytest.importorskip("aa_datasets.puppets.render")


def test_results_without_true_videos_and_their_baselines_become_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # no weights of CSIM and pICD
    for name in ("photos", "poses", "keypoints", "photo_keypoints"):
        Path(name).mkdir()
    for who in range(3):
        photo = puppets.render_puppet(who, who, num_frames=1, size_hw=(64, 64))
        Image.fromarray(photo.frames[0]).save(f"photos/{who}.png")
        pose.write_pose(Path(f"photo_keypoints/{who}.npz"), photo.pose)
        moved = puppets.render_puppet(who, who + 9, num_frames=2, fps=2, size_hw=(64, 64))
        for folder in ("poses", "keypoints"):
            pose.write_pose(Path(folder, f"{who}.npz"), moved.pose)
        Path("ours", str(who)).mkdir(parents=True)
        for number, frame in enumerate(np.asarray(moved.frames)):
            Image.fromarray(frame).save(f"ours/{who}/{number}.png")
    evaluate(
        "ours", reference_images="photos", driving_poses="poses", keypoints="keypoints",
        reference_keypoints="photo_keypoints", out="out", cache="off", workers=1,
    )  # fmt: skip
    assert main(["add", "out", "--board", "board"]) == 0
    rows = {row.method: row for row in read_board(Path("board"))}
    assert set(rows) == {"ours", "repeat-reference", "static of ours", "other-photo"}
    assert all(rows[name].is_baseline for name in rows if name != "ours")
    assert main(["render", "--board", "board", "--out", "site"]) == 0
    page = Path("site/index.html").read_text(encoding="utf-8")
    assert "a still picture is perfect there by definition" in page
    # columns that no row has a value for come last, so that none stands where there is little room
    order = [page.index(f'<th scope="col" data-key="{key}"') for key in ("pck", "csim", "picd")]
    assert order == sorted(order)
    capsys.readouterr()
