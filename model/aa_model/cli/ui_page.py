"""The page of `aa-animate ui`: photo and driving pose in, video out, every error in one line.

Made with Gradio, told to stay at home: no analytics, no fonts or scripts from elsewhere, no public
address. One video at a time is made; others wait in the queue.
"""

from __future__ import annotations

import html
import itertools
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from aa_datasets.errors import DatasetError
from aa_model.config import GenerateConfig, Merge
from aa_model.errors import ModelError
from aa_model.inference.animate_photo import Animated, animate_photo
from aa_model.inference.options import AnimateOptions, UiOptions
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.precision import choose_device

CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#status p { margin: 0 0 .35em; overflow-wrap: anywhere; }
#status .error { color: #b42318; font-weight: 600; }
.dark #status .error { color: #ff9b8f; }
#status .done { font-weight: 600; }
#video video { object-fit: contain; image-rendering: auto; }
footer { display: none !important; }
"""
FONTS = ("system-ui", "sans-serif")  # the machine's own: no request leaves it
VIDEO_TYPES = [".npz", ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif"]
_Shown = tuple[str | None, str, Any]  # video, status, the alignment picture or its hiding


class Page:
    """What the page's button does, with the network loaded once.

    Args:
        options: of `aa-animate ui`.
        folder: where videos are written, one folder a run.
    """

    def __init__(self, options: UiOptions, folder: Path) -> None:
        self.pipeline = AnimatePipeline.from_pretrained(
            options.checkpoint,
            choose_device(options.device),
            torch.bfloat16 if options.half else None,
        )
        self._options = options
        self._folder = folder
        self._runs = itertools.count(1)

    def animate(
        self,
        reference: str | None,
        pose: str | None,
        reference_pose: str | None,
        align: bool,
        person: float,
        steps: float,
        guidance: float,
        max_frames: float | None,
        merge: Merge,
        seed: float,
        bar: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio looks for this very default)
    ) -> _Shown:
        """Video, status and alignment picture; what goes wrong is a status of one line."""
        if not reference or not pose:
            absent = "a driving pose" if reference else "a photo"
            return None, _say([], error=f"{absent} is missing: put one in first"), _hidden()
        notes: list[str] = []
        out = self._folder / f"run-{next(self._runs)}" / "animated.mp4"
        try:
            options = AnimateOptions(
                checkpoint=self._options.checkpoint,
                out=out,
                reference=Path(reference),
                pose=Path(pose),
                reference_pose=Path(reference_pose) if reference_pose else None,
                align=align or bool(reference_pose),
                # In a pose file there is but one.
                person=1 if Path(pose).suffix.lower() == ".npz" else int(person or 1),
                pose_detector=self._options.pose_detector,
                max_frames=int(max_frames) if max_frames else None,
                generate=GenerateConfig(
                    steps=int(steps), guidance=guidance, merge=merge, seed=int(seed or 0)
                ),
            )
            done = animate_photo(
                options,
                pipeline=self.pipeline,
                note=notes.append,
                progress=lambda what, now, total: bar((now, total), desc=what, unit=_unit(what)),
            )
        except (ModelError, DatasetError, OSError) as error:
            print(f"aa-animate: error: {error}", file=sys.stderr)
            line = " ".join(str(error).split())
            # Uploads lie in folders of Gradio's, which say nothing to who gave them.
            for upload in filter(None, (reference, pose, reference_pose)):
                line = line.replace(upload, Path(upload).name)
            return None, _say(notes, error=line), _hidden()
        return str(done.video), _say(notes, done=done), _alignment(done)


def build_page(page: Page, *, steps: int = 20) -> gr.Blocks:
    """Lay the page out."""
    config = page.pipeline.model.config
    height, width = page.pipeline.size_hw
    with gr.Blocks(
        title="Animate a photo",
        analytics_enabled=False,
        delete_cache=(600, 3600),  # seconds: looked for that often, gone when that old
    ) as blocks:
        gr.Markdown(
            "# Animate a photo\n"
            f"The person in the photo does what the driving pose does. This checkpoint (preset "
            f"`{config.preset}`) makes {height}x{width}; photo and pose are cropped at the centre."
        )
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320):
                # As it was uploaded: mode, depth and EXIF are read by us.
                reference = gr.Image(
                    label="Photo", type="filepath", image_mode=None, sources=["upload"],
                    height=280, elem_id="reference", buttons=[],
                )  # fmt: skip
                pose = gr.File(
                    label="Driving pose: a video of a person, or a pose file (.npz)",
                    file_types=VIDEO_TYPES, elem_id="pose", height=110,
                )  # fmt: skip
                with gr.Accordion("Options", open=False, elem_id="options"):
                    steps_box = gr.Slider(1, 100, steps, step=1, label="Denoising steps")
                    guidance = gr.Slider(
                        1, 10, 2, step=0.1, label="Guidance (1 is off, and faster)"
                    )
                    person = gr.Number(
                        1, precision=0, minimum=1, elem_id="person",
                        label="Whom to follow in a video of several people (1 is the largest)",
                    )  # fmt: skip
                    max_frames = gr.Number(
                        # Not empty: opening the options makes 0 of that.
                        0,
                        precision=0,
                        minimum=0,
                        label="At most so many frames (0 is all)",
                    )
                    merge = gr.Radio(["edge", "mean"], value="edge", label="Joining of windows")
                    seed = gr.Number(0, precision=0, label="Seed")
                    align = gr.Checkbox(
                        True, label="Rescale the skeleton to the person's proportions"
                    )
                    reference_pose = gr.File(
                        label="Pose in the photo (.npz), if it is not found", file_types=[".npz"],
                        height=90, elem_id="reference-pose",
                    )  # fmt: skip
                button = gr.Button("Animate", variant="primary", elem_id="animate")
            with gr.Column(min_width=320):
                video = gr.Video(
                    label="Result", interactive=False, autoplay=True, loop=True, height=400,
                    elem_id="video", buttons=["download"],
                )  # fmt: skip
                status = gr.HTML(_say([]), elem_id="status")
                alignment = gr.Image(  # its columns have headings, which a label would hide
                    label="The skeleton before and after it was rescaled", type="filepath",
                    show_label=False, interactive=False, visible=False, elem_id="alignment",
                    buttons=["fullscreen"],
                )  # fmt: skip
        button.click(
            page.animate,
            [
                *(reference, pose, reference_pose, align, person),
                *(steps_box, guidance, max_frames, merge, seed),
            ],
            [video, status, alignment],
            show_progress_on=video,
            concurrency_limit=1,
            api_visibility="private",
        )
    return blocks


def _unit(what: str) -> str:
    return "steps" if what == "denoising" else "frames"


def _say(notes: list[str], *, error: str | None = None, done: Animated | None = None) -> str:
    """The status as HTML; file names and messages are text, whatever they hold."""
    lines = []
    if error is not None:
        lines.append(f'<p class="error" role="alert">{html.escape(error)}</p>')
    elif done is not None:
        height, width = done.size_hw
        lines.append(f'<p class="done">{done.num_frames} frames of {height}x{width}</p>')
    lines += [f"<p>{html.escape(note)}</p>" for note in notes]
    return "\n".join(lines)


def _alignment(done: Animated) -> Any:
    if done.alignment is None:
        return _hidden()
    return gr.update(value=str(done.alignment), visible=True)


def _hidden() -> Any:
    return gr.update(value=None, visible=False)
