"""aa-animate ui: a page on this machine that animates a photo."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aa_model.errors import ModelError
from aa_model.inference.options import UiOptions

if TYPE_CHECKING:
    from gradio import Blocks

_LARGEST_UPLOAD = "1gb"


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
