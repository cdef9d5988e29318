"""AnimatePipeline: pictures of any kind in, frames out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from aa_datasets.pose import NUM_JOINTS, make_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.puppets.render import render_puppet
from aa_model.config import GenerateConfig
from aa_model.errors import ModelError
from aa_model.inference.pipeline import AnimatePipeline, fit_picture
from aa_model.inference.visualize import draw_strip
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.windows import make_windows, stitch

GREY = np.full((6, 8, 3), 128, np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        GREY,
        GREY[..., 0],
        np.dstack([GREY, np.full((6, 8), 255, np.uint8)]),
        Image.fromarray(GREY),
        Image.fromarray(GREY[..., 0], "L"),
        Image.fromarray(GREY).convert("RGBA"),
        Image.fromarray(GREY).quantize(4),
        Image.fromarray(GREY).convert("CMYK"),
        Image.fromarray(np.full((6, 8), 128 * 257, np.uint16)),
    ],
    ids=["rgb", "grey", "rgba", "pil", "L", "RGBA", "P", "CMYK", "16-bit"],
)
def test_a_grey_picture_of_any_mode_stays_grey(picture: object) -> None:
    found = fit_picture(picture, (12, 16))
    assert found.shape == (12, 16, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - 128).max() <= 1


def test_a_wide_picture_is_cropped_at_its_centre_as_training_frames_are() -> None:
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = 200
    assert (fit_picture(wide, (8, 8)) == 200).all()


def test_transparent_becomes_white_and_exif_is_obeyed() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (fit_picture(clear, (4, 4)) == 255).all()
    half_red = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn clockwise to view
    half_red.info["exif"] = exif.tobytes()
    half_red.getexif()[0x0112] = 6
    assert np.array_equal(fit_picture(half_red, (2, 1))[:, 0, 0], [255, 0])


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8)])
def test_an_array_that_is_no_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ModelError, match="expected uint8"):
        fit_picture(wrong, (4, 4))


def test_animate_gives_frames_that_depend_on_reference_and_pose(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    a, b = (render_puppet(i, i, num_frames=4, size_hw=(64, 48)) for i in (1, 2))
    config = GenerateConfig(steps=2)
    plain = pipeline(a.frames[0], a.pose, config).frames
    assert plain.shape == (4, 32, 32, 3)
    assert plain.dtype == np.uint8
    assert np.array_equal(plain, pipeline(a.frames[0], a.pose, config).frames)
    assert not np.array_equal(plain, pipeline(b.frames[0], a.pose, config).frames)
    assert not np.array_equal(plain, pipeline(a.frames[0], b.pose, config).frames)
    aligned = pipeline(a.frames[0], a.pose, config, reference_pose=b.pose).frames
    assert not np.array_equal(plain, aligned)


def test_a_stream_holds_a_few_pictures_and_gives_the_same_video(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    """The next pictures are decoded meanwhile, no more; the guider takes a part at a time."""
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    puppet = render_puppet(1, 1, num_frames=37, size_hw=(64, 48))
    config = GenerateConfig(steps=1, guidance=1, decode_batch=5)
    decoded, guided = [], []
    pipeline.model.vae.decoder.register_forward_hook(lambda m, i, o: decoded.append(len(o)))
    pipeline.model.pose_guider.register_forward_hook(lambda m, i, o: guided.append(len(o)))
    frames = pipeline.stream(puppet.frames[0], puppet.pose, config)
    assert decoded == guided == []
    streamed = [next(frames)]
    deadline = time.monotonic() + 60
    while decoded == [5] and time.monotonic() < deadline:  # nothing more is asked for
        time.sleep(0.01)
    assert decoded == [5, 5]
    assert guided == [16, 16, 5]
    for count, frame in enumerate(frames, start=2):
        streamed.append(frame)
        assert sum(decoded) < count + 10
    latents: list[torch.Tensor] = []
    whole = pipeline(
        puppet.frames[0], puppet.pose, config,
        callback_on_step_end=lambda p, i, t, tensors: latents.append(tensors["latents"]) or {},
    )  # fmt: skip
    assert np.array_equal(np.stack(streamed), whole.frames)
    merged = stitch(latents[-1], make_windows(37, pipeline.model.config.temporal.max_frames))
    with torch.no_grad():
        at_once = ((pipeline.model.decode(merged) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(at_once - whole.frames).max() <= 0.51  # decoded in one piece, not yet rounded


def test_a_picture_that_cannot_be_decoded_ends_the_stream_and_its_thread(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    puppet = render_puppet(1, 1, num_frames=4, size_hw=(64, 48))
    config = GenerateConfig(steps=1, guidance=1, decode_batch=2)
    seen: list[int] = []

    def fail_second(*unused: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise MemoryError("no room")

    pipeline.model.vae.decoder.register_forward_hook(fail_second)
    before = threading.active_count()
    frames = pipeline.stream(puppet.frames[0], puppet.pose, config)
    assert len([next(frames), next(frames)]) == 2
    with pytest.raises(MemoryError, match="no room"):
        next(frames)
    frames = pipeline.stream(puppet.frames[0], puppet.pose, config)
    next(frames)
    frames.close()
    assert threading.active_count() == before


def test_what_is_saved_animates_as_before_and_keeps_its_scheduler(
    make_tiny: Callable[..., AnimateAnyone], tmp_path: Path
) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    assert isinstance(pipeline, DiffusionPipeline)
    assert set(pipeline.components) == {
        "vae", "image_encoder", "reference_net", "controlnet", "denoising_unet", "pose_guider",
        "clean_attention", "scheduler",
    }  # fmt: skip
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    puppet = render_puppet(1, 1, num_frames=3, size_hw=(64, 48))
    arguments = (Image.fromarray(puppet.frames[0]), puppet.pose, GenerateConfig(steps=2))
    expected = pipeline(*arguments, output_type="pil").frames
    pipeline.save_pretrained(tmp_path / "saved")
    loaded = AnimatePipeline.from_pretrained(tmp_path / "saved")
    assert isinstance(loaded.scheduler, EulerDiscreteScheduler)
    for one, other in zip(expected, loaded(*arguments).frames, strict=True):
        assert np.abs(np.asarray(one).astype(int) - other).max() <= 1
    ddim = AnimatePipeline.from_model(pipeline.model)(*arguments).frames
    assert not np.array_equal(ddim, np.stack(expected))


@pytest.mark.parametrize(
    "kind",
    [DDPMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, LCMScheduler,
     UniPCMultistepScheduler],
)  # fmt: skip
def test_diffusers_schedulers_animate_reproducibly_over_windows(
    make_tiny: Callable[..., AnimateAnyone], kind: type
) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    puppet = render_puppet(1, 1, num_frames=6, size_hw=(32, 32))
    arguments = (puppet.frames[0], puppet.pose, GenerateConfig(steps=3, window=4))
    frames = pipeline(*arguments).frames
    assert frames.shape == (6, 32, 32, 3)
    assert frames.std() > 1
    assert np.array_equal(frames, pipeline(*arguments).frames)


def test_a_scheduler_of_another_schedule_is_refused_by_what_differs(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    puppet = render_puppet(1, 1, num_frames=1, size_hw=(32, 32))
    for scheduler, message in (
        (DDIMScheduler(), "prediction_type epsilon instead of v_prediction"),
        (PNDMScheduler.from_config(AnimatePipeline.from_model(make_tiny()).scheduler.config),
         "a last noise level of 0.00466 instead of 0"),
        (DDIMScheduler.from_config(AnimatePipeline.from_model(make_tiny()).scheduler.config,
                                   timestep_spacing="leading"),
         "timestep_spacing leading, which never starts from noise alone"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=message):
            AnimatePipeline.from_model(make_tiny(), scheduler)(puppet.frames[0], puppet.pose)


def test_the_callback_sees_every_step_and_may_change_the_latents(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    puppet = render_puppet(1, 1, num_frames=3, size_hw=(32, 32))
    config = GenerateConfig(steps=3, merge="mean")
    seen = []

    def callback(
        given: AnimatePipeline, index: int, timestep: float, kwargs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        assert given is pipeline
        seen.append((index, timestep))
        return {"latents": torch.zeros_like(kwargs["latents"])} if index == 2 else {}

    changed = pipeline(puppet.frames[0], puppet.pose, config, callback_on_step_end=callback)
    assert seen == list(enumerate(pipeline.scheduler.timesteps.tolist()))
    empty = pipeline.model.decode(torch.zeros(1, 4, 8, 8))[0].permute(1, 2, 0)
    expected = ((empty + 1) * 127.5).detach().numpy()
    assert np.abs(changed.frames - expected).max() <= 1


def test_drawn_skeletons_of_any_size_take_the_place_of_a_pose(
    make_tiny: Callable[..., AnimateAnyone],
) -> None:
    pipeline = AnimatePipeline.from_model(make_tiny(temporal=True))
    puppet = render_puppet(1, 1, num_frames=3, size_hw=(32, 32))
    drawn, config = draw_pose(puppet.pose), GenerateConfig(steps=1)
    expected = pipeline(puppet.frames[0], puppet.pose, config).frames
    pictures = [Image.fromarray(frame) for frame in drawn]
    assert np.array_equal(pipeline(puppet.frames[0], pictures, config).frames, expected)
    with pytest.raises(ModelError, match="cannot be rescaled"):
        pipeline(puppet.frames[0], drawn, config, reference_pose=puppet.pose)


def test_a_pose_without_frames_is_refused(make_tiny: Callable[..., AnimateAnyone]) -> None:
    empty = make_pose(np.zeros((0, NUM_JOINTS, 2)), np.zeros((0, NUM_JOINTS)), (8, 8))
    with pytest.raises(ModelError, match="no frames"):
        AnimatePipeline.from_model(make_tiny())(GREY, empty)


def test_paths_are_refused_with_what_reads_them(make_tiny: Callable[..., AnimateAnyone]) -> None:
    pipeline, pose = AnimatePipeline.from_model(make_tiny()), render_puppet(1, 1, num_frames=1).pose
    for reference, driving in (("photo.png", pose), (GREY, "dance.mp4")):
        with pytest.raises(ModelError, match=r"is a path: expected a picture .* and a Pose"):
            pipeline(reference, driving)  # type: ignore[arg-type]


def test_strip_shows_first_and_last_moment_of_every_column() -> None:
    reference = np.full((64, 96, 3), 9, np.uint8)
    video = np.stack([np.full((64, 96, 3), 10 * t, np.uint8) for t in range(11)])
    sheet = draw_strip(reference, [video, video[::-1]], rows=3)
    # Pictures of 64 x 96 are shown twice as large, 4 pixels apart.
    assert sheet.shape == (3 * 128 + 2 * 4, 3 * 192 + 2 * 4, 3)
    assert [sheet[row, 0, 0] for row in (0, 132, 264)] == [9, 9, 9]
    assert [sheet[row, 196, 0] for row in (0, 132, 264)] == [0, 50, 100]
    assert [sheet[row, 392, 0] for row in (0, 132, 264)] == [100, 50, 0]


@pytest.fixture
def pipeline(make_tiny: Callable[..., AnimateAnyone]) -> AnimatePipeline:
    return AnimatePipeline.from_model(make_tiny(temporal=True))


def test_output_types_are_diffusers_and_others_are_refused(pipeline: AnimatePipeline) -> None:
    puppet = render_puppet(1, 1, num_frames=3, size_hw=(32, 32))
    arguments = (puppet.frames[0], puppet.pose, GenerateConfig(steps=2))
    frames = pipeline(*arguments).frames
    pt = pipeline(*arguments, output_type="pt").frames
    assert (pt.shape, pt.dtype) == ((3, 3, 32, 32), torch.float32)
    assert np.array_equal((pt * 255).round().byte().permute(0, 2, 3, 1).numpy(), frames)
    latents = pipeline(*arguments, output_type="latent").frames
    assert latents.shape == (3, 4, 8, 8)
    with torch.no_grad():
        decoded = ((pipeline.model.decode(latents) + 1) * 127.5).round().byte()
    assert np.array_equal(decoded.permute(0, 2, 3, 1).numpy(), frames)
    (only,) = pipeline(*arguments, return_dict=False)
    assert np.array_equal(only, frames)
    with pytest.raises(ModelError, match="output_type 'jpeg': expected one of"):
        pipeline(*arguments, output_type="jpeg")  # type: ignore[arg-type]


def test_diffusers_argument_names_are_taken(pipeline: AnimatePipeline) -> None:
    puppet = render_puppet(1, 1, num_frames=3, size_hw=(32, 32))
    expected = pipeline(puppet.frames[0], puppet.pose, GenerateConfig(steps=3, guidance=1.5)).frames
    generator = torch.Generator().manual_seed(0)
    named = {"num_inference_steps": 3, "guidance_scale": 1.5}
    found = pipeline(puppet.frames[0], puppet.pose, **named, generator=generator).frames
    assert np.array_equal(found, expected)
    noise = torch.randn((3, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    found = pipeline(puppet.frames[0], puppet.pose, **named, latents=noise).frames
    assert np.array_equal(found, expected)
    other = pipeline(puppet.frames[0], puppet.pose, **named, generator=generator).frames
    assert not np.array_equal(other, expected)  # it went on
    with pytest.raises(ModelError, match=r"latents are \(2, 4, 8, 8\): expected \(3, 4, 8, 8\)"):
        pipeline(puppet.frames[0], puppet.pose, latents=noise[:2])
    wide = pipeline(puppet.frames[0], puppet.pose, **named, height=40, width=64).frames
    assert wide.shape == (3, 40, 64, 3)
    with pytest.raises(ModelError, match="must be multiples of 4"):
        pipeline(puppet.frames[0], puppet.pose, height=30)


def test_an_interrupt_ends_the_denoising_after_the_step(pipeline: AnimatePipeline) -> None:
    puppet = render_puppet(1, 1, num_frames=2, size_hw=(32, 32))
    seen: list[int] = []

    def stop(p: AnimatePipeline, i: int, t: float, tensors: dict[str, object]) -> dict[str, object]:
        seen.append(i)
        p._interrupt = i == 1
        return {}

    config = GenerateConfig(steps=5)
    assert len(pipeline(puppet.frames[0], puppet.pose, config, callback_on_step_end=stop).frames)
    assert seen == [0, 1]
    assert pipeline.interrupt
    pipeline(puppet.frames[0], puppet.pose, replace(config, steps=1))
    assert not pipeline.interrupt
