"""Who is the same person, by an embedding that can be foretold: the mean colour of the face."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from aa_curation.cli.main import main
from aa_curation.corpus.identities import aligned_face, same_people
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead, Decision, PlannedClip, Survey
from aa_datasets.clip import Clip
from aa_datasets.pose import FACE, NUM_JOINTS, make_pose, write_pose
from aa_datasets.video.canonical import encode_canonical

# iBUG's 68 points of a face of 112 px as ArcFace wants it, of which only five places count.
_PLACES = {30: (56.0252, 71.7366), 48: (41.5493, 92.3655), 54: (70.7299, 92.2041), 8: (56, 110)}


def _face(centre_xy: tuple[float, float], scale: float) -> np.ndarray:
    points = np.full((68, 2), 56.0)
    points[36:42], points[42:48] = (38.2946, 51.6963), (73.5318, 51.5014)
    for number, place in _PLACES.items():
        points[number] = place
    return np.asarray((points - 56) * scale + centre_xy)


def _write_model(folder: Path) -> str:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image", "axes"], ["embedding"], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "means.onnx").write_bytes(model.SerializeToString())
    return hashlib.sha256((folder / "means.onnx").read_bytes()).hexdigest()


def _add_clip(
    writer: LedgerWriter, folder: Path, name: str, colour: tuple[int, int, int], *, faces: bool
) -> None:
    frames = np.full((6, 256, 256, 3), 128, np.uint8)
    points, scores = np.zeros((6, NUM_JOINTS, 2)), np.zeros((6, NUM_JOINTS))
    for t, frame in enumerate(frames):  # the head wanders, and so does the crop
        centre = (90 + 10 * t, 120.0)
        cv2.circle(frame, (int(centre[0]), int(centre[1])), 70, colour, -1)
        points[t, FACE], scores[t, FACE] = _face(centre, 0.6), float(faces)
    (folder / "clips").mkdir(exist_ok=True)
    mp4 = encode_canonical(frames, 24)
    (folder / f"clips/{name}-0000.mp4").write_bytes(mp4)
    write_pose(folder / f"clips/{name}-0000.pose.npz", make_pose(points, scores, (256, 256)))
    planned = PlannedClip(f"{name}-0000", name, 0, 0.25, 24, (256, 256), ())
    writer.add_survey(Survey(name, "f" * 64, "", 1, 2, (planned,), ()))
    clip = Clip(f"{name}-0000", name, name, "MIT", 0, 0.25, 24, (256, 256), 6, False, "x", "train")
    writer.add_decision(Decision(f"{name}-0000", name, "accepted", "clip", clip=clip))


def test_sources_with_one_face_get_one_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = _write_model(tmp_path)
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        _add_clip(writer, tmp_path, "anna_beach", (250, 130, 130), faces=True)
        _add_clip(writer, tmp_path, "anna_street", (245, 128, 126), faces=True)
        _add_clip(writer, tmp_path, "ben", (130, 250, 20), faces=True)
        _add_clip(writer, tmp_path, "from_behind", (250, 130, 130), faces=False)
    table = tmp_path / "people.csv"
    arguments = ["identities", str(table), "--model", "means.onnx", "--sha256", sha256]
    arguments += ["--weights", str(tmp_path), "--similarity", "0.9", "--out", str(tmp_path)]
    assert main(arguments) == 0
    found = pandas.read_csv(table)
    assert dict(zip(found["source_id"], found["person"], strict=True)) == {
        "anna_beach": "anna_beach", "anna_street": "anna_beach", "ben": "ben"
    }  # fmt: skip
    assert "3 sources with a face, 2 people" in capsys.readouterr().out
    assert main([*arguments[:6], "--weights", "nowhere", "--out", str(tmp_path)]) == 2


def test_a_face_is_turned_and_scaled_to_its_template() -> None:
    frame = np.zeros((300, 300, 3), np.uint8)
    points = _face((0, 0), 1.2)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    points = (points @ turn.T + 150).astype(np.float32)
    for place, colour in ((points[36:42].mean(0), (255, 0, 0)), (points[30], (0, 255, 0))):
        cv2.circle(frame, (round(float(place[0])), round(float(place[1]))), 5, colour, -1)
    crop = aligned_face(frame, points).astype(int)
    assert crop[52, 38, 0] > 200, "the eye on the left of the picture"
    assert crop[72, 56, 1] > 200, "the nose"
    assert crop[52, 73].sum() < 50


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_people_are_the_groups_of_what_is_alike(kinds: list[int]) -> None:
    owners = [f"s{number:02d}" for number in range(len(kinds))]
    found = same_people(owners, np.eye(4, dtype=np.float32)[kinds], 0.5)
    for owner, kind in zip(owners, kinds, strict=True):
        assert found[owner] == owners[kinds.index(kind)]


def test_two_that_are_like_a_third_are_one_person() -> None:
    angles = np.deg2rad([0, 50, 100])
    chain = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert set(same_people(["c", "a", "b"], chain, 0.6).values()) == {"a"}
    assert set(same_people(["c", "a", "b"], chain[:3], 0.7).values()) == {"a", "b", "c"}
    assert same_people(["x", "x"], chain[[0, 2]], 0.6) == {"x": "x"}


def test_two_exactly_as_alike_as_is_asked_for_are_one_person() -> None:
    half = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]], np.float32)
    assert same_people(["a", "b"], half, 0.5) == {"a": "a", "b": "a"}
    assert same_people(["a", "b"], half, 0.501) == {"a": "a", "b": "b"}
