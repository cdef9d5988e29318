"""Without true videos: puppets with the motion of another puppet, whose poses are known exactly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_eval import compare, evaluate, read_result
from aa_eval.cli.main import main
from aa_eval.errors import PairingError
from aa_eval.metrics.crops import crop_frames
from aa_eval.metrics.retarget import limb_angle_deg, retarget
from aa_eval.metrics.skeleton import BODY_JOINTS, Person, body_joints
from aa_eval.protocol import protocol_text
from aa_eval.videos.benchmark import read_benchmark

pose = pytest.importorskip("aa_datasets.pose")
puppets = pytest.importorskip("aa_datasets.puppets.render")

T, SIZE_HW = 3, (96, 64)
FOLDERS = ("--reference-images", "photos", "--driving-poses", "poses")
ALL = (*FOLDERS, "--keypoints", "keypoints", "--reference-keypoints", "photo_keypoints")


def put(folder: Path, frames: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:04}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people with a photo each; `right` and `stranger` make them (or others) move as driven.

    `quick.toml` is aa-cross-v1 without what needs optical flow.
    """
    root = tmp_path_factory.mktemp("cross")
    for name in ("photos", "poses", "keypoints", "photo_keypoints", "stranger_keypoints"):
        (root / name).mkdir()
    for i in range(3):
        video = f"v{i}"
        photo = puppets.render_puppet(i, i, num_frames=1, size_hw=SIZE_HW)
        Image.fromarray(photo.frames[0]).save(root / "photos" / f"{video}.png")
        pose.write_pose(root / "photo_keypoints" / f"{video}.npz", photo.pose)
        driver = puppets.render_puppet(i + 50, i + 90, num_frames=T, fps=2, size_hw=(80, 80))
        pose.write_pose(root / "poses" / f"{video}.npz", driver.pose)
        for method, who in (("right", i), ("stranger", i + 20)):
            of = puppets.render_puppet(who, i + 90, num_frames=T, fps=2, size_hw=SIZE_HW)
            put(root / method / video, of.frames)
            folder = "keypoints" if method == "right" else "stranger_keypoints"
            pose.write_pose(root / folder / f"{video}.npz", of.pose)
    first, *rest = protocol_text("aa-cross-v1").split("[[metrics]]")
    kept = [part for part in rest if "_ilk" not in part]
    text = "[[metrics]]".join([first, *kept]).replace('name = "aa-cross-v1"', 'name = "quick"')
    (root / "quick.toml").write_text(text)
    return root


@pytest.fixture
def cross(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "cross")
    monkeypatch.chdir(tmp_path / "cross")
    return tmp_path / "cross"


def test_motion_and_identity_are_told_from_a_still_picture_and_from_a_stranger(
    cross: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["right", *ALL, "--out", "out/right", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "aa-cross-v1" in printed
    assert "limb_angle ↓" in printed
    right = read_result("out/right")
    still, static, other = (
        read_result(Path("out/right/baselines", name))
        for name in ("repeat-reference", "static of right", "other-photo")
    )
    value = {
        result.method: {key: metric.value for key, metric in result.metrics.items()}
        for result in (right, still, static, other)
    }
    ours = value["right"]
    value["static"] = value["static of right"]
    # motion: the poses are those of the driver; the photo and the first frame do not move
    assert ours["limb_angle"] < 2 < value["static"]["limb_angle"]
    assert ours["limb_angle"] < 2 < value["repeat-reference"]["limb_angle"]
    assert ours["pck"] > value["static"]["pck"]
    assert ours["akd"] < value["static"]["akd"] / 2
    assert "pck" not in value["other-photo"]
    # identity: nearer to the photo than somebody else's photo is; the photo itself is there
    for key in ("identity_limbs", "identity_lpips", "photo_lpips", "photo_colour"):
        assert value["repeat-reference"][key] == 0
        assert 0 < ours[key] < value["other-photo"][key]
    # stability: what does not move does not flicker
    assert value["static"]["flicker_own"] == value["static"]["warp_error_own"] == 0
    assert right.metrics["warp_error_own"].n == 3 * (T - 1)
    assert right.overrides == ()

    of_stranger = evaluate(
        "stranger", reference_images="photos", driving_poses="poses", protocols=("quick.toml",),
        keypoints="stranger_keypoints", reference_keypoints="photo_keypoints", baselines="off",
    )[0]  # fmt: skip
    assert of_stranger.metrics["identity_limbs"].value > 2 * ours["identity_limbs"]
    assert of_stranger.metrics["identity_lpips"].value > ours["identity_lpips"]
    assert of_stranger.metrics["limb_angle"].value < 2


def test_results_held_to_another_pose_or_photo_are_not_compared(cross: Path) -> None:
    def score(method: str) -> object:
        return evaluate(
            method, reference_images="photos", driving_poses="poses", protocols=("quick.toml",),
            baselines="off", method="m",
        )[0]  # fmt: skip

    before = score("right")
    compare(before, score("right"))
    shutil.copyfile("poses/v0.npz", "poses/v1.npz")
    with pytest.raises(ValueError, match="other reference frames of 'v1'"):
        compare(before, score("right"))
    # without keypoints identity is measured on the whole picture alone, and the reason is said
    reason = before.metrics["identity_limbs"].unavailable
    assert "it is not known where the person is" in reason
    assert before.metrics["photo_colour"].value > 0
    assert "needs --keypoints" in before.metrics["limb_angle"].unavailable


def test_values_do_not_depend_on_the_cache_and_the_static_baseline_is_the_methods_own(
    cross: Path,
) -> None:
    def score(method: str, **more: object) -> list[dict[str, float | None]]:
        results = evaluate(
            method, reference_images="photos", driving_poses="poses", protocols=("quick.toml",),
            keypoints=f"{'stranger_' if method == 'stranger' else ''}keypoints",
            reference_keypoints="photo_keypoints", **more,
        )  # fmt: skip
        return [{k: m.value for k, m in result.metrics.items()} for result in results]

    right = score("right")
    assert score("right") == score("right", cache="off") == right
    _, still, static, other = score("stranger")
    assert static != right[2]
    assert (still, other) == (right[1], right[3])


def test_one_photo_may_have_many_motions(cross: Path) -> None:
    Path("right/v0").rename("right/v0__m0")
    Path("keypoints/v0.npz").rename("keypoints/v0__m0.npz")
    Path("poses/v0.npz").rename("poses/m0.pose.npz")
    for video in ("v1", "v2"):
        Path(f"right/{video}").rename(f"right/v0__{video}")
        Path(f"keypoints/{video}.npz").rename(f"keypoints/v0__{video}.npz")
    results = evaluate(
        "right", reference_images="photos", driving_poses="poses", protocols=("quick.toml",),
        keypoints="keypoints", reference_keypoints="photo_keypoints",
    )  # fmt: skip
    assert [result.method for result in results] == ["right", "repeat-reference", "static of right"]
    assert results[0].metrics["limb_angle"].value < 2
    assert sorted(results[0].per_video) == ["v0__m0", "v0__v1", "v0__v2"]


def change_npz(path: str, **arrays: object) -> None:
    with np.load(path) as there:
        content = dict(there)
    np.savez(path, **(content | arrays))


def taller(path: str) -> None:
    Image.open(path).resize((64, 120)).save(path)


@pytest.mark.parametrize(
    ("break_it", "words", "message"),
    [
        (None, ("--reference-images", "photos"), "needs --driving-poses DIR"),
        (None, ("--driving-poses", "poses"), "needs --reference-images DIR"),
        (None, (*FOLDERS, "--references", "right"), "exclude each other"),
        (None, (*FOLDERS, "--protocol", "aa-clean-v2"), "aa-clean-v2: needs true videos"),
        (None, ("--references", "stranger", "--protocol", "aa-cross-v1"), "aa-cross-v1: needs"),
        (None, (*FOLDERS, "--benchmark", "tiktok"), "--benchmark tiktok has true videos"),
        (None, (*FOLDERS, "--region-boxes", "face"), "--region-boxes needs true videos"),
        (None, (*FOLDERS, "--baselines", "white"), "'white' is unknown without true videos"),
        (None, (*FOLDERS, "--method", "static"), "--method static: the name of a trivial baseline"),
        (None, (*FOLDERS, "--method", "static of you"), "you: the name of a trivial baseline"),
        (None, (*FOLDERS, "--write-baselines", "b"), "--write-baselines needs true videos"),
        (None, (*FOLDERS, "--reference-keypoints", "photo_keypoints"), "needs --keypoints"),
        (None, ("--reference-images", "nowhere", *FOLDERS[2:]), "nowhere: no such folder"),
        (lambda: Path("photos/v1.png").unlink(), FOLDERS, "no photo for 'v1': expected v1.png"),
        (lambda: shutil.copy("photos/v1.png", "photos/v1.jpg"), FOLDERS, "two photos of one name"),
        (lambda: Path("photos/v1.png").write_bytes(b""), FOLDERS, "empty file"),
        (lambda: taller("photos/v1.png"), FOLDERS, "'v1' is 64x96, its photo 64x120"),
        (lambda: Path("poses/v2.npz").unlink(), FOLDERS, "poses: no keypoints for 'v2'"),
        (lambda: Path("poses/v2.npz").write_bytes(b"no"), FOLDERS, "v2.npz: not a keypoints file"),
        (lambda: Path("right/v0/0002.png").unlink(), FOLDERS, "'v0': 2 predicted frames, 3"),
        (
            lambda: change_npz(
                "poses/v0.npz", keypoints_px=np.ones((3, 9, 2)), scores=np.ones((3, 9))
            ),
            FOLDERS,
            "v0.npz: keypoints of 9 joints: expected 17, 18, 128 or 133",
        ),
        (
            lambda: change_npz("photo_keypoints/v0.npz", scores=np.zeros((1, 128))),
            ALL,
            "'v0': the photo's pose and the driving pose have no neck",
        ),
        (lambda: change_npz("photo_keypoints/v0.npz", size_hw=[64, 64]), ALL, "a picture of 64x64"),
        (
            lambda: shutil.copy("photo_keypoints/v0.npz", "keypoints/v0.npz"),
            ALL,
            "keypoints/v0.npz: keypoints of 1 frame, the prediction has 3",
        ),
        (None, (*FOLDERS, "--keypoints", "keypoints"), "give --reference-keypoints, so that"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(
    cross: Path, capsys: pytest.CaptureFixture[str], break_it, words: tuple[str, ...], message: str
) -> None:
    if break_it is not None:
        break_it()
    if message.startswith("give --ref"):  # poses of another shape, which nothing retargets
        change_npz("poses/v0.npz", size_hw=[80, 80])
    assert main(["right", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_poses_that_cannot_be_retargeted_are_taken_as_given_and_that_is_said(cross: Path) -> None:
    for video in ("v0", "v1", "v2"):
        shutil.copyfile(f"keypoints/{video}.npz", f"poses/{video}.npz")  # as a method was driven
    result = evaluate(
        "right", reference_images="photos", driving_poses="poses", protocols=("quick.toml",),
        keypoints="keypoints", baselines="off",
    )[0]  # fmt: skip
    assert result.metrics["akd"].value == pytest.approx(0, abs=1e-9)
    assert result.metrics["limb_angle"].value == pytest.approx(0, abs=1e-4)
    assert "driving poses as they were given" in result.overrides[0]


def test_fewer_frames_are_scored_where_that_is_allowed(
    cross: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("right/v0/0002.png").unlink()
    change_npz("keypoints/v0.npz", **{
        name: np.load("keypoints/v0.npz")[name][:2] for name in ("keypoints_px", "scores")
    })  # fmt: skip
    words = ["right", *ALL, "--protocol", "quick.toml", "--baselines", "off", "--out", "out"]
    assert main([*words, "--allow", "frame-count"]) == 0
    result = read_result("out")
    assert result.num_frames == 3 * T - 1
    assert result.overrides[0].startswith("allow frame-count: 'v0': 2 predicted frames")
    assert main(["check", "right", *FOLDERS]) == 2
    assert "2 predicted frames" in capsys.readouterr().err


def test_a_benchmark_without_true_videos_says_what_goes_where(
    cross: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["right", "--benchmark", "x-dance"]) == 2
    error = capsys.readouterr().err
    assert "the reference images into data/x-dance/reference-images/" in error
    data = Path("data/x-dance")
    data.mkdir(parents=True)
    Path("photos").rename(data / "reference-images")
    Path("poses").rename(data / "driving-poses")
    assert main(["check", "right", "--benchmark", "x-dance"]) == 0
    assert read_benchmark("x-dance").protocols == ("aa-cross-v1",)


def test_retargeting_is_that_of_aa_animate() -> None:
    align_pose = pytest.importorskip("aa_model.inference.align_pose").align_pose
    draw = np.random.default_rng(0)
    for seed in range(4):
        driving = puppets.render_puppet(seed, seed + 50, num_frames=6, size_hw=(96, 96)).pose
        photo = puppets.render_puppet(seed + 9, seed, num_frames=1, size_hw=(96, 96)).pose
        points, scores = driving.keypoints_px.copy(), driving.scores.copy()
        scores[draw.random(scores.shape) < 0.15 * (seed % 2)] = 0
        driving = pose.make_pose(points, scores, driving.size_hw)
        theirs = align_pose(driving, photo).keypoints_px[:, : len(BODY_JOINTS)]
        body, person = (body_joints(p.keypoints_px, p.scores, 0.3) for p in (driving, photo))
        np.testing.assert_allclose(retarget(body, person), theirs, atol=1e-4)


def test_retargeting_undoes_another_scale_and_place_and_keeps_the_angles() -> None:
    body = body_joints(*_standing(), 0)
    bigger = 2.5 * body + np.array([30, -7])
    np.testing.assert_allclose(retarget(bigger, body[:1]), body, atol=1e-9)
    np.testing.assert_allclose(limb_angle_deg(bigger, body), 0, atol=1e-5)
    turned = body @ np.array([[0, 1], [-1, 0]])
    np.testing.assert_allclose(limb_angle_deg(turned, body), 90)
    with pytest.raises(PairingError, match="no neck"):
        retarget(np.full_like(body, np.nan), body[:1])


def _standing() -> tuple[np.ndarray, np.ndarray]:
    points = np.array(
        [(20, 5), (20, 12), (14, 12), (12, 22), (11, 31), (26, 12), (28, 22), (29, 31), (17, 32),
         (16, 45), (16, 58), (23, 32), (24, 45), (24, 58), (19, 4), (21, 4), (17, 5), (23, 5)],
        dtype=float,
    )  # fmt: skip
    moved = points.copy()
    moved[[3, 4]] += [0, -6]
    return np.stack([points, moved]), np.ones((2, 18))


def test_skeletons_of_17_and_133_joints_have_the_same_body_and_a_neck_between_the_shoulders() -> (
    None
):
    coco = np.arange(2 * 133 * 2, dtype=float).reshape(2, 133, 2)
    scores = np.ones((2, 133))
    scores[0, 5] = 0.1
    whole = body_joints(coco, scores, 0.3)
    np.testing.assert_array_equal(body_joints(coco[:, :17], scores[:, :17], 0.3), whole)
    assert np.isnan(whole[0, BODY_JOINTS.index("neck")]).all()
    neck, right, left = (
        whole[1, BODY_JOINTS.index(n)] for n in ("neck", "right_shoulder", "left_shoulder")
    )
    np.testing.assert_array_equal(neck, (right + left) / 2)
    np.testing.assert_array_equal(right, coco[1, 6])


@pytest.mark.parametrize("crop", ["person", "limbs"])
def test_a_crop_follows_the_person(crop: str) -> None:
    points, scores = _standing()
    body = body_joints(points, scores, 0)[:1] + 60
    frame = np.random.default_rng(0).integers(0, 256, (1, 200, 160, 3), dtype=np.uint8)
    crops, shown = crop_frames(frame, Person(body), crop)
    moved = np.roll(frame, (9, 6), axis=(1, 2))
    again, shown_again = crop_frames(moved, Person(body + np.array([6, 9])), crop)
    np.testing.assert_allclose(crops.astype(int), again, atol=1)  # a place may round otherwise
    np.testing.assert_array_equal(shown, shown_again)
    assert shown.all()
    # where the person is not seen, or lies outside of the frame, nothing is compared
    nobody = np.full_like(body, np.nan)
    assert not crop_frames(frame, Person(nobody), crop)[1].any()
    if crop == "limbs":
        assert not crop_frames(frame, Person(body + 500), crop)[1].any()
