"""What this room's commands share: device, precision, and errors in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch

from aa_datasets.errors import DatasetError
from aa_model.errors import ModelError


def _device(text: str) -> str:
    """An argument that names a device which torch has here."""
    try:
        kind = torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no device: expected cpu or cuda") from None
    if kind.type == "cuda" and (kind.index or 0) >= (there := torch.cuda.device_count()):
        raise argparse.ArgumentTypeError(f"{text}: torch sees {there} CUDA devices")
    return text


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device; without it, a GPU where there is one."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=_device, default=default, help=f"default here: {default}")


def add_half(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--half", action="store_true", help="weights and activations in bfloat16: "
                        "half the memory, faster on GPUs; the videos differ a little")  # fmt: skip


def dtype_of(args: argparse.Namespace) -> torch.dtype:
    """What `add_half`'s flag says."""
    return torch.bfloat16 if args.half else torch.float32


def run_command(program: str, command: Callable[[], None], *, when_stopped: str) -> int:
    """Run a command, give its exit code; what the user can mend or did is one line.

    Args:
        when_stopped: what Ctrl-C leaves, and how it goes on.
    """
    try:
        command()
    except (ModelError, DatasetError, OSError, torch.OutOfMemoryError) as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: stopped: {when_stopped}", file=sys.stderr)
        return 130
    return 0
