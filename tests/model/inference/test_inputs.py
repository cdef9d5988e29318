"""Photos and poses as people have them: adapted and said, or refused in one line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aa_datasets.errors import DatasetError
from aa_datasets.pose import BODY, NUM_JOINTS, Pose, make_pose, write_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.pose_estimator import Person, PoseEstimator
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_model.checkpoints.store import read_checkpoint, write_checkpoint
from aa_model.cli import animate as animate_cli
from aa_model.errors import ModelError
from aa_model.inference import pose_detectors
from aa_model.inference.inputs import Driving, read_drawn_poses, read_driving, read_picture
from aa_model.inference.options import AnimateOptions
from aa_model.inference.pose_detectors import find_estimator, find_pose, follow_pose
from aa_model.inference.puppet_keypoints import (
    PuppetEstimator,
    PuppetTracker,
    read_keypoint_net,
)
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY

PUPPET_WEIGHTS = Path(__file__).parents[3] / "demo" / "learned" / "puppet-keypoints.safetensors"
GREY = np.add.outer(np.arange(0, 120, 10), np.arange(0, 128, 8)).astype(np.uint8)  # 12 x 16
ALPHA = np.linspace(0, 255, GREY.size).astype(np.uint8).reshape(GREY.shape)
ON_WHITE = np.rint(GREY / 255 * ALPHA + 255 - ALPHA)


def rotated() -> tuple[Image.Image, dict[str, object]]:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    return Image.fromarray(np.rot90(GREY)), {"exif": exif}


def palette() -> tuple[Image.Image, dict[str, object]]:
    return Image.fromarray(GREY).convert("P"), {}


PICTURES: dict[str, tuple[Callable[[], tuple[Image.Image, dict[str, object]]], str, object]] = {
    "grey.png": (lambda: (Image.fromarray(GREY), {}), "", GREY),
    "palette.png": (palette, "", GREY),
    "alpha.png": (lambda: (Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), {}),
                  "transparent becomes white", ON_WHITE),
    "16-bit.png": (lambda: (Image.fromarray(GREY.astype(np.uint16) * 257), {}),
                   "taken as 8-bit", GREY),
    "dark-16-bit.png": (lambda: (Image.fromarray(GREY.astype(np.uint16)), {}),
                        "taken as 8-bit", np.rint(GREY / 257)),
    "float.tiff": (lambda: (Image.fromarray((GREY / 255).astype(np.float32)), {}),
                   "taken as 8-bit", GREY),
    "exif.png": (rotated, "turned upright", GREY),
    "animated.gif": (lambda: (Image.fromarray(GREY),
                              {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}),
                     "", GREY),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_any_mode_becomes_rgb_and_what_was_changed_is_said(
    tmp_path: Path, name: str
) -> None:
    make, message, expected = PICTURES[name]
    image, options = make()
    image.save(tmp_path / name, **options)  # type: ignore[arg-type]  # options of several formats
    notes: list[str] = []
    found = read_picture(tmp_path / name, notes.append)
    assert found.dtype == np.uint8
    assert found.shape == (*GREY.shape, 3)
    assert np.abs(found - np.asarray(expected)[..., None]).max() <= (1 if "alpha" in name else 0)
    assert len(notes) == bool(message)
    assert not message or message in notes[0]


def test_a_cmyk_picture_is_read(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 12), (0, 255, 255, 0)).save(tmp_path / "red.tiff")
    found = read_picture(tmp_path / "red.tiff", lambda note: None)
    assert np.array_equal(found, np.broadcast_to([255, 0, 0], (12, 16, 3)))


def whole_png(path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path, "png")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: b"", "cannot be read as a picture"),
        (lambda path: b"GIF89a and no more", "cannot be read as a picture"),
        (lambda path: whole_png(path)[:2000], "cannot be read as a picture"),
        (lambda path: path.parent.mkdir(exist_ok=True) or None, "No such file"),
    ],
    ids=["empty", "text", "cut short", "missing"],
)
def test_what_is_no_picture_is_refused(
    tmp_path: Path, content: Callable[[Path], bytes | None], message: str
) -> None:
    path = tmp_path / "photo.png"
    if (written := content(path)) is not None:
        path.write_bytes(written)
    with pytest.raises(ModelError, match=message):
        read_picture(path, lambda note: None)


@pytest.mark.parametrize(("value", "found"), [(np.nan, "nan"), (-1.0, "from -1 to"), (300, "300")])
def test_numbers_that_are_no_brightness_are_refused(
    tmp_path: Path, value: float, found: str
) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[0, 0] = value
    Image.fromarray(values).save(tmp_path / "depth.tiff")
    with pytest.raises(ModelError, match=f"{found}.*expected brightness from 0 to"):
        read_picture(tmp_path / "depth.tiff", lambda note: None)


def puppet_pose(T: int = 3) -> Pose:
    return render_puppet(7, 7, num_frames=T, size_hw=(48, 64)).pose


def no_detector() -> PoseEstimator:
    raise AssertionError("an npz needs no detector")


def read(path: Path, notes: list[str]) -> Pose:
    return read_driving(path, no_detector, notes.append, lambda *done: None).pose


def write_arrays(path: Path, keypoints_px: NDArray[np.floating]) -> Path:
    scores = np.ones(keypoints_px.shape[:2], np.float32)
    np.savez(path, keypoints_px=keypoints_px, scores=scores, size_hw=np.array([48, 64]))
    return path


def test_the_18_body_joints_alone_are_a_pose_without_hands(tmp_path: Path) -> None:
    whole = puppet_pose()
    notes: list[str] = []
    found = read(write_arrays(tmp_path / "p.npz", whole.keypoints_px[:, BODY]), notes)
    assert np.array_equal(found.keypoints_px[:, BODY], whole.keypoints_px[:, BODY], equal_nan=True)
    assert not found.scores[:, BODY.stop :].any()
    assert notes == ["p.npz: 18 body joints alone, so no hands are drawn"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 17, 2), r"\(3, 17, 2\).*expected \[T, 128, 2\].*or the 18 body joints alone"),
        ((3, 128, 3), r"\(3, 128, 3\).*expected \[T, 128, 2\]"),
        ((0, 128, 2), "has no frames"),
        ((0, 18, 2), "has no frames"),
    ],
)
def test_other_joints_and_zero_frames_are_refused(
    tmp_path: Path, shape: tuple[int, ...], message: str
) -> None:
    path = write_arrays(tmp_path / "p.npz", np.ones(shape, np.float32))
    with pytest.raises((ModelError, DatasetError), match=message):
        read(path, [])


def test_frames_without_a_person_are_counted_and_a_pose_of_nobody_is_refused(
    tmp_path: Path,
) -> None:
    pose = puppet_pose(4)
    scores = pose.scores.copy()
    scores[1] = 0
    write_pose(tmp_path / "gap.npz", make_pose(pose.keypoints_px, scores, pose.size_hw))
    notes: list[str] = []
    assert read(tmp_path / "gap.npz", notes).num_frames == 4
    assert notes == ["gap.npz: 1 of 4 frames show no whole skeleton"]
    nobody = make_pose(np.full((2, NUM_JOINTS, 2), np.nan), np.zeros((2, NUM_JOINTS)), (48, 64))
    write_pose(tmp_path / "nobody.npz", nobody)
    with pytest.raises(ModelError, match="in none of its 2 frames"):
        read(tmp_path / "nobody.npz", [])


def test_a_driving_video_is_followed_with_its_own_rate(tmp_path: Path) -> None:
    puppet = render_puppet(3, 5, num_frames=4, size_hw=(128, 128))
    (tmp_path / "drive.mp4").write_bytes(encode_canonical(puppet.frames, 12.0))
    notes: list[str] = []
    done: list[tuple[str, int, int | None]] = []
    driving = read_driving(
        tmp_path / "drive.mp4",
        partial(find_estimator, str(PUPPET_WEIGHTS), tmp_path),
        notes.append,
        lambda *progress: done.append(progress),
        max_frames=3,
    )
    assert driving.fps == pytest.approx(12)
    assert driving.pose.num_frames == 3
    assert done == [("finding poses", n, 3) for n in (1, 2, 3)]
    assert "3 poses found by puppet-keypoints, which knows synthetic puppets alone" in notes[0]
    away = driving.pose.keypoints_px[:, BODY] - puppet.pose.keypoints_px[:3, BODY]
    assert np.nanmedian(np.linalg.norm(away, axis=-1)) < 4


def test_every_other_frame_of_a_pose_of_a_video_and_of_drawn_skeletons(tmp_path: Path) -> None:
    """Frames 0, 2 and 4 of five, at half the rate; two of them with `max_frames`."""
    puppet = render_puppet(3, 5, num_frames=5, size_hw=(128, 128))
    drawn = draw_pose(puppet.pose)
    (tmp_path / "drive.mp4").write_bytes(encode_canonical(puppet.frames, 12.0))
    (tmp_path / "drawn.mp4").write_bytes(encode_canonical(drawn, 12.0))
    write_pose(tmp_path / "pose.npz", puppet.pose)
    detector = partial(find_estimator, str(PUPPET_WEIGHTS), tmp_path)

    def read(name: str, stride: int, max_frames: int | None = None) -> Driving:
        return read_driving(
            tmp_path / name, detector, lambda _: None, lambda *_: None, max_frames, stride=stride
        )

    whole, half = read("drive.mp4", 1), read("drive.mp4", 2)
    assert (whole.fps, half.fps) == (pytest.approx(12), pytest.approx(6))
    np.testing.assert_allclose(half.pose.keypoints_px, whole.pose.keypoints_px[::2], atol=1)
    assert read("drive.mp4", 2, 2).pose.num_frames == 2
    of_file = read("pose.npz", 2)
    assert np.array_equal(of_file.pose.keypoints_px, puppet.pose.keypoints_px[::2], equal_nan=True)
    assert of_file.fps is None
    frames, fps = read_drawn_poses(
        tmp_path / "drawn.mp4", (128, 128), lambda _: None, lambda *_: None, stride=2
    )
    assert (len(frames), fps) == (3, pytest.approx(6))
    assert np.abs(np.stack(frames).astype(float) - drawn[::2]).mean() < 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    model = AnimateAnyone(TINY.model, temporal=True)
    write_checkpoint(folder, model, dict.fromkeys(parts_of(TINY.model), "a test"))
    return folder


def portrait(package_clip: Callable[[str, int], Path]) -> NDArray[np.uint8]:
    return np.asarray(pytest.importorskip("skimage.data").astronaut())


def full_body(package_clip: Callable[[str, int], Path]) -> NDArray[np.uint8]:
    with av.open(str(package_clip("SinglePerson", 1))) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def cartoon(package_clip: Callable[[str, int], Path]) -> NDArray[np.uint8]:
    """A large head with round eyes on a body without limbs."""
    picture = Image.new("RGB", (256, 256), (150, 210, 240))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((88, 120, 168, 240), (250, 200, 60), "black", 4)
    draw.ellipse((70, 20, 186, 136), (250, 220, 90), "black", 4)
    for x in (104, 152):
        draw.ellipse((x - 18, 50, x + 18, 90), "white", "black", 3)
        draw.ellipse((x - 6, 62, x + 6, 78), "black")
    draw.arc((100, 80, 156, 120), 20, 160, "black", 4)
    return np.asarray(picture)


@pytest.mark.weights
@pytest.mark.parametrize(("make", "is_aligned"), [
    (portrait, True), (full_body, True), (cartoon, False)])  # fmt: skip
def test_people_are_aligned_and_a_cartoon_is_animated_as_it_is(
    make: Callable[..., NDArray[np.uint8]],
    is_aligned: bool,
    checkpoint: Path,
    package_clip: Callable[[str, int], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ai_edge_litert")
    Image.fromarray(make(package_clip)).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet_pose())
    assert animate(checkpoint, tmp_path, "--pose-detector", "blazepose") == 0
    assert read_canonical(tmp_path / "out.mp4").shape == (3, 32, 32, 3)
    said = capsys.readouterr().err
    assert ("finds no skeleton; animated without alignment" in said) != is_aligned
    assert (tmp_path / "out-alignment.png").is_file() == is_aligned


def animate(checkpoint: Path, tmp_path: Path, *more: object) -> int:
    arguments = ["--checkpoint", checkpoint, "--out", tmp_path / "out.mp4", "--steps", 1,
                 "--reference", tmp_path / "photo.png", "--pose", tmp_path / "pose.npz",
                 *more]  # fmt: skip
    if "--pose-detector" not in more:
        arguments += ["--pose-detector", PUPPET_WEIGHTS]
    return animate_cli.main([str(a) for a in arguments])


def test_a_picture_without_a_skeleton_is_animated_without_alignment_and_said(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(100, 140, (33, 51, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet_pose())
    (tmp_path / "out-alignment.png").write_bytes(b"of an older run")
    assert animate(checkpoint, tmp_path) == 0
    assert read_canonical(tmp_path / "out.mp4").shape == (3, 32, 32, 3)
    error = capsys.readouterr().err
    assert "photo.png: puppet-keypoints finds no skeleton; animated without alignment" in error
    assert (
        "photo.png: 33x51 cropped at its centre to 33x33, the shape of 32x32 (height x width); "
        "--size HEIGHTxWIDTH makes another" in error
    )
    assert not (tmp_path / "out-alignment.png").exists()

    write_pose(tmp_path / "reference.npz", puppet_pose(1))
    assert animate(checkpoint, tmp_path, "--reference-pose", tmp_path / "reference.npz") == 0
    with Image.open(tmp_path / "out-alignment.png") as sheet:
        assert sheet.width == 3 * 256 + 2 * 4
    nobody = make_pose(np.full((1, NUM_JOINTS, 2), np.nan), np.zeros((1, NUM_JOINTS)), (48, 64))
    write_pose(tmp_path / "reference.npz", nobody)
    capsys.readouterr()
    assert animate(checkpoint, tmp_path, "--reference-pose", tmp_path / "reference.npz") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("aa-animate: error: the reference pose shows no neck")


def test_without_a_detector_a_picture_is_animated_without_alignment_and_said(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(GREY).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet_pose())
    assert animate(checkpoint, tmp_path, "--pose-detector", "absent") == 0
    assert read_canonical(tmp_path / "out.mp4").shape == (3, 32, 32, 3)
    said = capsys.readouterr().err
    assert "no pose detector 'absent'" in said
    assert "animated without alignment" in said


def test_alignment_is_on_by_default_and_off_by_its_flag(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = render_puppet(3, 5, num_frames=1, size_hw=(128, 128))
    Image.fromarray(photo.frames[0]).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet_pose())
    assert animate(checkpoint, tmp_path) == 0
    assert (tmp_path / "out-alignment.png").is_file()
    assert "before and after" in capsys.readouterr().out
    assert animate(checkpoint, tmp_path, "--no-align") == 0
    assert not (tmp_path / "out-alignment.png").exists()


def test_a_part_of_another_preset_is_refused_by_its_tensors(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unet = dataclasses.replace(TINY.model.unet, block_out_channels=(16, 48))
    other = dataclasses.replace(TINY.model, unet=unet)
    made_by = dict.fromkeys(parts_of(TINY.model), "a test")
    write_checkpoint(tmp_path / "other", AnimateAnyone(other, temporal=True), made_by)
    row = json.loads((tmp_path / "other" / "config.json").read_text())
    row["model"] = json.loads((checkpoint / "config.json").read_text())["model"]
    (tmp_path / "other" / "config.json").write_text(json.dumps(row))
    assert read_checkpoint(tmp_path / "other").model == TINY.model
    Image.fromarray(GREY).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet_pose())
    assert animate(tmp_path / "other", tmp_path) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("aa-animate: error: ")
    assert "is of another network: " in line
    assert "instead of" in line


@pytest.mark.parametrize(
    ("name", "message"),
    [("nobody", "installed are .*blazepose"), ("x.safetensors", "is not the weights of a puppet")],
)
def test_a_detector_that_does_not_exist_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_estimator(name, tmp_path)


@pytest.mark.weights
def test_each_picture_is_given_to_the_estimator_that_knows_its_kind() -> None:
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("ai_edge_litert")
    puppet = render_puppet(3, 5, num_frames=1, size_hw=(128, 128)).frames[0]
    learned = PUPPET_WEIGHTS.parent

    def chosen(picture: NDArray[np.uint8] | None) -> str:
        return find_estimator(None, learned, picture).name

    assert chosen(puppet) == chosen(None) == "puppet-keypoints"
    assert chosen(data.astronaut()).startswith("blazepose")
    assert chosen(np.zeros_like(puppet)).startswith("blazepose")  # people may come
    assert find_estimator("blazepose", learned, puppet).name.startswith("blazepose")


def test_without_an_installed_estimator_the_puppets_network_is_all_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pose_detectors, "ENTRY_POINTS", "of.nothing")
    pose_detectors._installed.cache_clear()
    noise = np.random.default_rng(0).integers(100, 140, (64, 64, 3), np.uint8)
    assert find_estimator(None, PUPPET_WEIGHTS.parent, noise).name == "puppet-keypoints"


@pytest.mark.weights
def test_the_installed_estimator_finds_a_portrait_and_no_cat() -> None:
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("ai_edge_litert")
    detector = find_estimator("blazepose", Path("nowhere"))
    assert find_pose(detector, data.chelsea()) is None
    pose = find_pose(detector, data.astronaut())
    assert pose is not None
    nose, neck = pose.keypoints_px[0, 0], pose.keypoints_px[0, 1]
    assert np.linalg.norm(nose - [224, 112]) < 30  # of 512 x 512; half a face is 45
    assert neck[1] > nose[1]


def test_several_people_in_the_driving_video_are_said(tmp_path: Path) -> None:
    followed: list[int] = []

    class TwoPeople(PuppetEstimator):
        def people(self, frame: NDArray[np.uint8]) -> list[Person]:
            (person,) = super().people(frame)
            return [replace(person, x=0.25), replace(person, x=0.8)]

        def track(self, person: int = 0) -> PuppetTracker:
            followed.append(person)
            return super().track()

    puppet = render_puppet(3, 5, num_frames=2, size_hw=(128, 128))
    (tmp_path / "drive.mp4").write_bytes(encode_canonical(puppet.frames, 12.0))
    notes: list[str] = []
    estimator = TwoPeople(read_keypoint_net(PUPPET_WEIGHTS))

    def read(person: int) -> None:
        read_driving(
            tmp_path / "drive.mp4", lambda _: estimator, notes.append, lambda *done: None,
            person=person,
        )  # fmt: skip

    read(2)
    assert (
        "drive.mp4: 2 people in the first frame (1 at 25 %, 2 at 80 % of the width); person 2 is "
        "followed" in notes[0]
    )
    assert followed == [0, 1]  # `people` tracks first
    with pytest.raises(ModelError, match="shows 2 persons in its first frame: --person 3"):
        read(3)


@pytest.mark.weights
def test_the_person_who_was_chosen_is_followed() -> None:
    """A portrait, and the same smaller to its right, each in turn by name."""
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("ai_edge_litert")
    portrait = data.astronaut()
    small = np.asarray(Image.fromarray(portrait).resize((384, 384)))
    both = np.concatenate([portrait, np.pad(small, ((0, 128), (0, 0), (0, 0)), "edge")], axis=1)
    detector = find_estimator("blazepose", Path("nowhere"))
    for person, expected in ((0, [224, 112]), (1, [512 + 168, 84])):
        nose = follow_pose(detector, [both, both], person).keypoints_px[1, 0]
        assert np.linalg.norm(nose - expected) < 30


def test_a_person_is_chosen_in_videos_only(tmp_path: Path) -> None:
    files = {"checkpoint": tmp_path, "out": tmp_path / "o.mp4", "reference": tmp_path / "r.png"}
    with pytest.raises(ModelError, match="--person chooses among people in a video"):
        AnimateOptions(**files, pose=tmp_path / "pose.npz", person=2)
    with pytest.raises(ModelError, match="--person is not for --shards"):
        AnimateOptions(checkpoint=tmp_path, out=tmp_path, shards=(tmp_path,), person=2)
