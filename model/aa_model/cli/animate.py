"""aa-animate: one photo and one pose, or every clip of some shards."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Never

from cyclopts import Parameter

from aa_datasets.command_line import counted, make_app
from aa_datasets.progress import progress
from aa_model.cli.command_line import run_command, say_loading
from aa_model.inference.options import AnimateOptions, UiOptions

if TYPE_CHECKING:
    from tqdm import tqdm

app = make_app(
    "aa-animate",
    "Animate a photo by a pose sequence or a driving video, or every clip of some shards from its "
    "first frame and its own poses.",
    example="aa-animate --checkpoint demo/learned --reference me.jpg --pose dance.mp4 "
    "--out me-dancing.mp4",
)


@app.default
def animate(options: Annotated[AnimateOptions, Parameter(name="*")]) -> None:
    options.check_files()
    say_loading("aa-animate")
    from aa_model.inference.animate_photo import animate_photo
    from aa_model.inference.animate_shards import animate_shards, foretell

    if options.dry_run:
        for line in foretell(options):
            print(line)
    elif options.shards:
        animate_shards(options)
    else:
        with Bars() as bars:
            done = animate_photo(options, progress=bars.show)
        height, width = done.size_hw
        print(f"{done.video}: {counted(done.num_frames, 'frame')} of {height}x{width}")
        if done.alignment:
            print(f"{done.alignment}: the skeleton before and after it was rescaled")


@app.command(
    name="ui",
    help_epilogue="Example: `aa-animate ui --checkpoint demo/learned`",
)
def ui(options: Annotated[UiOptions, Parameter(name="*")]) -> None:
    """Open a page on this machine that animates a photo."""
    from aa_model.cli.ui import serve

    serve(options)


class Bars:
    """One progress bar after another, a new one for each thing that is done."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *unused: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, what: str, done: int, total: int | None) -> None:
        if self._bar is None or self._bar.desc.removesuffix(": ") != what:
            self._close()
            unit = "step" if what == "denoising" else "frame"
            self._bar = progress(desc=what, unit=unit, total=total)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._close()  # its last line comes before what is said next


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(
        app,
        argv,
        when_stopped="with --shards, finished videos are kept and the same command resumes",
    )


if __name__ == "__main__":
    sys.exit(main())
