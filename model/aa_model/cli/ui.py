"""aa-animate ui: a page on this machine that animates a photo."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from diffusers.utils import logging as diffusers_logging

from aa_datasets.arguments import positive
from aa_model.cli.command_line import add_device, add_half, dtype_of, run_command
from aa_model.errors import ModelError

if TYPE_CHECKING:
    from gradio import Blocks

_LARGEST_UPLOAD = "1gb"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aa-animate ui", description=__doc__.partition(": ")[2])
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR")
    parser.add_argument("--pose-detector", metavar="NAME_OR_FILE", help="as of aa-animate")
    parser.add_argument("--steps", type=positive, default=20, help="where its slider starts (20)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="default 127.0.0.1: this machine alone; no password")  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, help="default 7860; 0 takes a free one")
    add_half(parser)
    add_device(parser)
    return parser


def open_page(args: argparse.Namespace, folder: Path) -> tuple[Blocks, str]:
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
    page = Page(
        args.checkpoint,
        folder,
        device=args.device,
        dtype=dtype_of(args),
        detector=args.pose_detector,
    )
    blocks = build_page(page, steps=args.steps).queue(api_open=False)
    _, url, _ = blocks.launch(
        server_name=args.host,
        server_port=args.port or None,
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


def serve(args: argparse.Namespace) -> None:
    """Open the page and keep it open until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="aa-animate-ui-") as folder:
        blocks, url = open_page(args, Path(folder))
        print(f"aa-animate: {url} (Ctrl-C ends it)", flush=True)
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    return run_command("aa-animate", lambda: serve(args), when_stopped="the page is closed")
