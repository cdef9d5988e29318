"""Portrait and landscape, trained and animated from end to end; letterbox; sound; drawn poses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.clip import Clip
from aa_datasets.pose import write_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_model.checkpoints.store import read_checkpoint, write_checkpoint
from aa_model.cli import animate as animate_cli
from aa_model.config import ConfigError, parse_size, parse_sizes
from aa_model.inference.inputs import letterbox, letterbox_pose, read_drawn_poses, read_picture
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import PRESETS, TINY
from aa_model.training.options import TrainOptions
from aa_model.training.run import train_stage


@pytest.fixture
def checkpoint(make_tiny: Callable[..., AnimateAnyone], tmp_path: Path) -> Path:
    made_by = dict.fromkeys(parts_of(TINY.model), "a test")
    write_checkpoint(tmp_path / "checkpoint", make_tiny(temporal=True), made_by)
    return tmp_path / "checkpoint"


def animate(*arguments: object) -> int:
    return animate_cli.main([str(a) for a in arguments])


def write_photo(path: Path, size_hw: tuple[int, int]) -> None:
    Image.fromarray(render_puppet(1, 2, num_frames=1, size_hw=size_hw).frames[0]).save(path)


@pytest.mark.parametrize("size_hw", [(64, 40), (40, 72)])
def test_portrait_and_landscape_are_trained_and_animated_uncropped(
    tmp_path: Path, size_hw: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    samples = []
    for i in range(2):
        puppet = render_puppet(i, i, num_frames=6, size_hw=size_hw)
        clip = Clip(f"p{i}", f"p{i}", "puppets", "MIT", 0.0, 0.25, 24.0, size_hw, 6, True,
                    "renderer", "train")  # fmt: skip
        samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
    shard = tmp_path / "train-000000.tar"
    write_shard(shard, samples)
    size = f"{size_hw[0]}x{size_hw[1]}"
    init: tuple[Path, ...] = ()
    for stage in ("autoencoder", "image-encoder", "1", "2"):
        training = replace(PRESETS["tiny"].training[stage], steps=1, batch_size=2)
        options = TrainOptions((shard,), stage=stage, preset="tiny", out=tmp_path / stage,
                               init=init, size=(size,) if stage != "2" else (),
                               training=training)  # fmt: skip
        train_stage(options)
        init = (*init, options.out) if stage == "image-encoder" or not init else (options.out,)
    assert read_checkpoint(tmp_path / "2").model.size_hw == size_hw  # stage 2 keeps stage 1's
    write_photo(tmp_path / "photo.png", size_hw)
    write_pose(tmp_path / "pose.npz", samples[0].pose)
    out = tmp_path / "out.mp4"
    assert animate("--checkpoint", tmp_path / "2", "--reference", tmp_path / "photo.png", "--pose",
                   tmp_path / "pose.npz", "--out", out, "--steps", 1,
                   "--no-align") == 0  # fmt: skip
    assert read_canonical(out).shape == (6, *size_hw, 3)
    assert "cropped" not in capsys.readouterr().err
    assert animate("--checkpoint", tmp_path / "2", "--shards", shard, "--out", tmp_path / "all",
                   "--steps", 1, "--size", "48x48", "--max-videos", 1) == 0  # fmt: skip
    with Image.open(tmp_path / "all" / "p0" / "0000.png") as picture:
        assert picture.size == (48, 48)


def test_portrait_and_landscape_are_trained_together_uncropped_and_resumed_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = []
    for i, size_hw in enumerate([(64, 40), (40, 64), (64, 40), (40, 64)]):
        puppet = render_puppet(i, i, num_frames=6, size_hw=size_hw)
        clip = Clip(f"p{i}", f"p{i}", "puppets", "MIT", 0.0, 0.25, 24.0, size_hw, 6, True,
                    "renderer", "train")  # fmt: skip
        samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
    shard = tmp_path / "train-000000.tar"
    write_shard(shard, samples)

    def run(stage: str, out: Path, steps: int, *init: Path, resume: bool = False) -> None:
        training = replace(PRESETS["tiny"].training[stage], steps=steps, batch_size=2)
        train_stage(TrainOptions(
            (shard,), stage=stage, preset="tiny", out=out, init=init, resume=resume,
            size=("64x40", "40x64") if stage != "2" else (), training=training,
        ))  # fmt: skip

    run("autoencoder", tmp_path / "vae", 3)
    run("image-encoder", tmp_path / "encoder", 1)
    run("1", tmp_path / "1", 4, tmp_path / "vae", tmp_path / "encoder")
    assert "stage 1 at 64x40, 40x64" in capsys.readouterr().out
    for stop, resume in ((1, False), (3, True), (4, True)):
        run("1", tmp_path / "cut", stop, tmp_path / "vae", tmp_path / "encoder", resume=resume)
    for path in (tmp_path / "1").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "cut" / path.name).read_bytes()
    run("2", tmp_path / "2", 2, tmp_path / "1")
    model = read_checkpoint(tmp_path / "2").model  # stage 2 keeps stage 1's sizes
    assert (model.size_hw, model.more_sizes_hw) == ((64, 40), ((40, 64),))


def test_buckets_have_about_the_same_area_and_the_common_shapes() -> None:
    sizes = parse_sizes(("buckets",), (512, 512))
    assert sizes == ((512, 512), (704, 384), (576, 448), (448, 576), (384, 704))
    assert all(0.9 < h * w / 512**2 < 1.1 for h, w in sizes)
    assert parse_sizes(("buckets",), (768, 432))[0] == (768, 432)
    with pytest.raises(ConfigError, match="twice"):
        parse_sizes(("64x64", "64x64"), (64, 64))


@pytest.mark.parametrize("text", ["768", "768x", "768x430", "0x8", "axb", "8x8x8", "-8x8"])
def test_a_size_that_cannot_be_made_is_refused(text: str) -> None:
    assert parse_size("768x432") == (768, 432)
    with pytest.raises(ConfigError, match="expected HEIGHTxWIDTH"):
        parse_size(text)


def test_letterbox_pads_photo_and_pose_alike_and_the_padding_is_cut_off(
    checkpoint: Path, tmp_path: Path
) -> None:
    puppet = render_puppet(1, 2, num_frames=2, size_hw=(96, 54))
    padded, (rows, columns) = letterbox(puppet.frames[0], (32, 32))
    assert padded.shape == (96, 96, 3)
    assert np.array_equal(padded[:, 21:75], puppet.frames[0])
    assert (padded[:, :21] == padded[:, 21:22]).all()
    assert (rows, columns) == (slice(0, 32), slice(8, 26))
    pose = letterbox_pose(puppet.pose, (32, 32))
    assert pose.size_hw == (96, 96)
    moved = pose.keypoints_px - puppet.pose.keypoints_px
    assert np.nanmax(np.abs(moved - [21, 0])) < 1e-4
    Image.fromarray(puppet.frames[0]).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet.pose)
    out = tmp_path / "out.mp4"
    assert animate("--checkpoint", checkpoint, "--reference", tmp_path / "photo.png", "--pose",
                   tmp_path / "pose.npz", "--reference-pose", tmp_path / "pose.npz", "--out", out,
                   "--steps", 1, "--letterbox") == 0  # fmt: skip
    assert read_canonical(out).shape == (2, 32, 18, 3)


def add_tone(path: Path, seconds: float) -> None:
    silent = path.read_bytes()
    path.with_suffix(".silent.mp4").write_bytes(silent)
    with av.open(str(path.with_suffix(".silent.mp4"))) as video, av.open(str(path), "w") as made:
        picture = made.add_stream_from_template(video.streams.video[0])
        sound = made.add_stream("aac", rate=44100)
        for packet in video.demux(video.streams.video[0]):
            if packet.dts is not None:
                packet.stream = picture
                made.mux(packet)
        wave = np.sin(np.arange(int(44100 * seconds)) / 16)[None].astype(np.float32)
        for start in range(0, wave.shape[1] - 1023, 1024):
            part = np.ascontiguousarray(wave[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, start
            made.mux(sound.encode(frame))
        made.mux(sound.encode(None))


def test_the_sound_of_the_driving_video_is_kept_as_long_as_the_video(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    puppet = render_puppet(1, 2, num_frames=12, size_hw=(64, 64))
    drawn = draw_pose(puppet.pose, (64, 64))
    drive = tmp_path / "dancer_kps.mp4"
    drive.write_bytes(encode_canonical(drawn, 12.0))
    add_tone(drive, 2.0)
    write_photo(tmp_path / "photo.png", (64, 64))
    command = ["--checkpoint", checkpoint, "--reference", tmp_path / "photo.png", "--pose-video",
               drive, "--steps", 1, "--max-frames", 6]  # fmt: skip
    assert animate(*command, "--out", tmp_path / "kept.mp4") == 0
    assert "its sound is kept" in capsys.readouterr().err
    with av.open(str(tmp_path / "kept.mp4")) as made:
        assert made.streams.video[0].frames == 6
        track = made.streams.audio[0]
        length_s = sum(frame.samples for frame in made.decode(track)) / track.rate
    assert 0.45 < length_s < 0.6  # 6 frames of 12 a second
    assert animate(*command, "--out", tmp_path / "dropped.mp4", "--audio", "drop") == 0
    with av.open(str(tmp_path / "dropped.mp4")) as made:
        assert not made.streams.audio
    assert animate(*command, "--out", tmp_path / "fast.mp4", "--fps", 24) == 0
    assert "no sound, since --fps makes it 2 times as fast" in capsys.readouterr().err
    with av.open(str(tmp_path / "fast.mp4")) as made:
        assert not made.streams.audio
    with av.open(str(tmp_path / "kept.mp4")) as a, av.open(str(tmp_path / "dropped.mp4")) as b:
        one, other = ([f.to_ndarray() for f in c.decode(video=0)] for c in (a, b))
    assert all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))


def test_drawn_skeletons_animate_as_the_pose_that_they_show(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    puppet = render_puppet(1, 2, num_frames=3, size_hw=(32, 32))
    write_photo(tmp_path / "photo.png", (32, 32))
    write_pose(tmp_path / "pose.npz", puppet.pose)
    with av.open(str(tmp_path / "kps.mkv"), "w") as made:  # lossless
        stream = made.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for picture in draw_pose(puppet.pose, (32, 32)):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        made.mux(stream.encode(None))
    command = ["--checkpoint", checkpoint, "--reference", tmp_path / "photo.png", "--steps", 1]
    assert animate(*command, "--pose-video", tmp_path / "kps.mkv", "--out", tmp_path / "a.mp4") == 0
    assert animate(*command, "--pose", tmp_path / "pose.npz", "--no-align", "--out",
                   tmp_path / "b.mp4") == 0  # fmt: skip
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    capsys.readouterr()
    assert animate(*command, "--pose-video", tmp_path / "kps.mkv", "--out", tmp_path / "a.mp4",
                   "--dry-run") == 0  # fmt: skip
    assert "kps.mkv" in capsys.readouterr().out


def test_letterbox_pads_drawn_skeletons_too(tmp_path: Path) -> None:
    drawn = np.full((48, 24, 3), 255, np.uint8)  # to the very edge, which is not drawn further
    with av.open(str(tmp_path / "kps.mkv"), "w") as made:
        stream = made.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 24, 48, "bgr0"
        made.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        made.mux(stream.encode(None))
    notes: list[str] = []

    def read(*, pad: bool) -> NDArray[np.uint8]:
        found, _ = read_drawn_poses(
            tmp_path / "kps.mkv", (48, 48), notes.append, lambda *seen: None, pad=pad
        )
        return found[0]

    expected = np.zeros((48, 48, 3), np.uint8)
    expected[:, 12:36] = 255
    assert np.array_equal(read(pad=True), expected)
    assert not notes
    assert (read(pad=False) == 255).all()
    assert "cropped at its centre" in notes[0]


def test_a_photo_of_200_megapixels_is_reduced_while_it_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (16384, 12288), (200, 30, 40)).save(tmp_path / "phone.jpg", quality=50)
    usual, notes = Image.MAX_IMAGE_PIXELS, []
    found = read_picture(tmp_path / "phone.jpg", notes.append)
    assert found.shape == (6144, 8192, 3)
    assert "12288x16384 reduced to" in notes[0]
    assert np.abs(found[::512, ::512].astype(int) - [200, 30, 40]).max() < 4
    assert usual == Image.MAX_IMAGE_PIXELS
