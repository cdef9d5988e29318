"""aa-model: inspect, import and export checkpoints; a small keypoint network for puppets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import App, Parameter

from aa_datasets.command_line import PositiveInt, make_app
from aa_model.checkpoints.folder import refuse_other_folders
from aa_model.cli.command_line import run_command
from aa_model.errors import ModelError
from aa_model.presets import PRESETS, PresetName

Dtype: TypeAlias = Literal["fp16", "bf16", "fp32"]
_TORCH_DTYPE = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
# What can be imported -> the preset that says what the files do not.
_IMPORTS = {"moore": "moore", "musepose": "musepose", "animatediff": "moore"}

app = make_app(
    "aa-model",
    "Inspect, import and export checkpoints.",
    example="aa-model info demo/learned",
)
keypoints = App(
    name="puppet-keypoints",
    help="A small keypoint network, trained on puppets, whose pose is exact.",
    help_epilogue="Example: `aa-model puppet-keypoints train train.tar --out k.safetensors`",
)
app.command(keypoints)


@app.command(help_epilogue="Example: `aa-model info demo/learned`")
def info(checkpoint: Path) -> None:
    """Print what a checkpoint holds, after checking every hash.

    Args:
        checkpoint: folder that aa-train or aa-model wrote.
    """
    refuse_other_folders(checkpoint)
    from aa_model.checkpoints.store import load_part, read_checkpoint
    from aa_model.config import to_json
    from aa_model.networks.animate_anyone import AnimateAnyone
    from aa_model.networks.parts import parts_of

    found = read_checkpoint(checkpoint)
    model = AnimateAnyone(found.model, temporal="temporal_layers" in found.parts)
    for part in found.parts:
        load_part(model, checkpoint, part)
    absent = [part for part in parts_of(found.model) if part not in found.parts]
    height, width = found.model.size_hw
    print(f"{checkpoint}: preset {found.model.preset}, {height}x{width}, every hash is right")
    if absent:
        print(f"  absent: {', '.join(absent)}")
    for part, record in found.parts.items():
        print(
            f"  {part:16} {record.num_parameters / 1e6:8.3f} M {record.dtype:9} "
            f"sha256 {record.sha256[:16]}  {record.made_by}"
        )
    for name, value in to_json(found.model).items():
        print(f"  {name}: {value}")


@app.command(help_epilogue="Example: `aa-model export run-2 --out run-2-fp16 --dtype fp16`")
def export(
    checkpoint: Path,
    *,
    out: Path,
    to: Literal["moore", "diffusers"] | None = None,
    dtype: Dtype = "fp16",
) -> None:
    """Copy a checkpoint, with its weights in another precision or in a public format.

    Args:
        checkpoint: folder that aa-train or aa-model wrote.
        out: folder to write.
        to: write this format instead of our own: Moore-AnimateAnyone's four files, or a folder
            that diffusers' DiffusionPipeline loads.
        dtype: precision of the weights that are written.
    """
    refuse_other_folders(checkpoint)
    import torch

    from aa_model.checkpoints.moore import export_moore
    from aa_model.checkpoints.store import read_checkpoint, read_model, write_checkpoint

    torch_dtype: torch.dtype = getattr(torch, _TORCH_DTYPE[dtype])
    if to == "moore":
        export_moore(checkpoint, out, torch_dtype)
        print(f"{out}: the four files, base, VAE and image encoder as {dtype}")
        return
    found = read_checkpoint(checkpoint)
    made_by = {part: record.made_by for part, record in found.parts.items()}
    if to == "diffusers":
        from aa_model.inference.pipeline import AnimatePipeline

        AnimatePipeline.from_pretrained(checkpoint, dtype=torch_dtype).save_pretrained(out)
        print(
            f"{out}: DiffusionPipeline.from_pretrained({str(out)!r}, trust_remote_code=True) "
            f"loads it, as {dtype}"
        )
        return
    write_checkpoint(out, read_model(checkpoint), made_by, torch_dtype)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    print(f"{out}: {size / 1e6:.2f} MB of weights as {dtype}")


@app.command(help_epilogue="Example: `aa-model ema run-2 --width 0.1 --out run-2-ema`")
def ema(run: Path, *, out: Path, width: float, step: PositiveInt | None = None) -> None:
    """Write the average of a run's weights over as much of its time as you choose.

    Args:
        run: folder of aa-train --post-hoc-ema.
        out: folder to write, a checkpoint.
        width: standard deviation of the average, as a share of the steps: 0.05 to 0.15 is usual.
        step: where it ends; the last one that was saved unless given.
    """
    from aa_model.training.post_hoc_ema import write_average

    made = write_average(run, out, width, step)
    print(f"{out}: {', '.join(p for p, r in made.parts.items() if 'average' in r.made_by)}")


@app.command(
    help_epilogue="Example: `aa-model import-sd --sd stable-diffusion-v1-5 --image-encoder "
    "image_encoder --preset base-24gb --out start`"
)
def import_sd(
    *,
    sd: Path | None = None,
    unet: Path | None = None,
    vae: Path | None = None,
    image_encoder: Path,
    out: Path,
    preset: PresetName = "paper",
) -> None:
    """Make a checkpoint to start stage 1 from, of Stable Diffusion's weights.

    Args:
        sd: folder with unet/ and vae/, as diffusers saves a pipeline.
        unet: folder of the UNet, instead of that in --sd.
        vae: folder of the VAE, instead of that in --sd, such as sd-vae-ft-mse.
        image_encoder: folder of a CLIPVisionModelWithProjection.
        out: folder to write.
        preset: Pose Guider and temporal layers. Size and noise schedule are those of the training.
    """
    from aa_model.checkpoints.stable_diffusion import import_stable_diffusion

    import_stable_diffusion(
        PRESETS[preset].model, sd, image_encoder, out, unet_folder=unet, vae_folder=vae
    )
    print(f"{out}: start stage 1 with --init {out}")


@app.command(
    name="import",
    help_epilogue="Example: `aa-model import pretrained_weights --from moore --out moore`",
)
def import_(
    source: Path,
    *,
    kind: Annotated[Literal["moore", "musepose", "animatediff"], Parameter(name="--from")],
    out: Path,
    preset: PresetName | None = None,
    beta_schedule: Literal["linear", "scaled_linear"] | None = None,
    base: Path | None = None,
    vae: Path | None = None,
    image_encoder: Path | None = None,
) -> None:
    """Make a checkpoint of one in a public format.

    Args:
        source: folder or file; for animatediff also a folder of diffusers' MotionAdapter.
        kind: whose format it is.
        out: folder to write.
        preset: says what the files do not, such as the schedule; by default the format's own.
        beta_schedule: the preset's unless given; Moore trained with scaled_linear, and its
            published inference settings say linear.
        base: folder of the base's UNet, if it is elsewhere.
        vae: folder of the VAE, if it is elsewhere.
        image_encoder: folder of the image encoder, if it is elsewhere.
    """
    from aa_model.checkpoints.animatediff import import_animatediff
    from aa_model.checkpoints.moore import Companions, import_moore

    config = PRESETS[preset or _IMPORTS[kind]].model
    if beta_schedule:
        config = replace(config, noise=replace(config.noise, beta_schedule=beta_schedule))
    if kind == "animatediff":
        unused = {"--beta-schedule": beta_schedule, "--base": base, "--vae": vae,
                  "--image-encoder": image_encoder}  # fmt: skip
        for flag, value in unused.items():
            if value:
                raise ModelError(
                    f"{flag} is not for --from animatediff, which is temporal layers alone: "
                    "leave it out"
                )
        import_animatediff(config, source, out)
        print(f"{out}: start stage 2 with --init STAGE_1 {out}")
        return
    import_moore(config, source, out, Companions(base, vae, image_encoder))
    print(f"{out}: animate with --checkpoint {out}")


@keypoints.command(
    help_epilogue="Example: `aa-model puppet-keypoints train train.tar --out keypoints.safetensors`"
)
def train(
    shards: tuple[Path, ...],
    *,
    out: Path,
    steps: PositiveInt = 1500,
    batch_size: PositiveInt = 16,
    lr: float = 2e-3,
    seed: int = 0,
) -> None:
    """Train the network on shards of puppets.

    Args:
        shards: tar files.
        out: the .safetensors file to write.
        steps: how many the optimizer makes.
        batch_size: frames per step.
        lr: peak learning rate.
        seed: decides weights and batches.
    """
    from aa_model.toy.train_puppet_keypoints import train_keypoints

    train_keypoints(shards, out, steps=steps, batch_size=batch_size, lr=lr, seed=seed)


@keypoints.command(
    help_epilogue="Example: `aa-model puppet-keypoints detect predictions --weights "
    "demo/learned/puppet-keypoints.safetensors --out poses`"
)
def detect(videos: tuple[Path, ...], *, weights: Path, out: Path) -> None:
    """Find the keypoints of every video and write one .npz each.

    Args:
        videos: folders of VIDEO/FRAME.png, or tar shards.
        weights: file that `puppet-keypoints train` wrote.
        out: folder to write.
    """
    from aa_model.toy.train_puppet_keypoints import detect_in_videos

    count = detect_in_videos(videos, weights, out)
    print(f"{out}: keypoints of {count} {'video' if count == 1 else 'videos'}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(app, argv, when_stopped="files are written whole or not at all")


if __name__ == "__main__":
    sys.exit(main())
