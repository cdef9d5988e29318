"""aa-animate ui: a page on this machine that animates a photo."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aa_datasets.command_line import NonNegativeInt, PositiveInt
from aa_model.errors import ModelError

if TYPE_CHECKING:
    from gradio import Blocks

_LARGEST_UPLOAD = "1gb"


@dataclass(frozen=True, kw_only=True)
class UiOptions:
    """What the page loads and where it is served."""

    checkpoint: Path
    """Folder that `aa-train` or `aa-model import` wrote."""
    pose_detector: str | None = None
    """As of aa-animate."""
    steps: PositiveInt = 20
    """Denoising steps where the slider starts."""
    host: str = "127.0.0.1"
    """Address to serve at; the default is this machine only. There is no password."""
    port: NonNegativeInt = 7860
    """0 takes a free one."""
    half: bool = False
    """Weights and activations in bfloat16."""
    device: str | None = None
    """By default cuda if torch sees a GPU, else cpu."""


def open_page(options: UiOptions, folder: Path) -> tuple[Blocks, str]:
    """The running page and its URL; uploads and videos lie in `folder`.

    Raises:
        ModelError: Gradio is not installed, or the checkpoint cannot be used.
        OSError: the port is taken.
    """
    # Read by Gradio when it is imported, and when it makes its components.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder / "gradio")}
    try:
        import gradio as gr

        from aa_model.cli.ui_page import CSS, FONTS, Page, build_page
    except ImportError as error:
        raise ModelError(
            f"the page needs Gradio ({error}): pip install 'animate-anyone-toolkit[ui]'"
        ) from error
    page = Page(options, folder)
    blocks = build_page(page, steps=options.steps).queue(api_open=False)
    _, url, _ = blocks.launch(
        server_name=options.host,
        server_port=options.port or None,
        share=False,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=_LARGEST_UPLOAD,
        allowed_paths=[str(folder)],
        theme=gr.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace")),
        css=CSS,
    )
    return blocks, url


def serve(options: UiOptions) -> None:
    """Open the page and keep it open until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="aa-animate-ui-") as folder:
        blocks, url = open_page(options, Path(folder))
        print(f"aa-animate: {url} (Ctrl-C ends it)", flush=True)
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)
