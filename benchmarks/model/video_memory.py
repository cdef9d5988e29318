"""Peak memory of animating a long video and a short one, by the command, in fresh processes.

    python benchmarks/model/video_memory.py [--checkpoint DIR] [--frames 96 480] [--steps 2]

A puppet moves; the peak is the largest resident size of the process. The goal: 480 frames take at
most 1.1 times the memory of 96.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("demo/learned"))
    parser.add_argument("--frames", type=int, nargs="+", default=(96, 480))
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    first: float | None = None
    for frames in options.frames:
        peak_mib = animate(options.checkpoint, frames, options.steps)
        first = first or peak_mib
        print(f"{frames:5} frames {peak_mib:7.0f} MiB   {peak_mib / first:.3f}", flush=True)


def animate(checkpoint: Path, frames: int, steps: int) -> float:
    """Peak resident size in MiB of `aa-animate` on `frames` frames."""
    puppet = render_puppet(1, 1, num_frames=frames)
    with tempfile.TemporaryDirectory() as folder:
        reference, pose = Path(folder) / "reference.png", Path(folder) / "pose.npz"
        Image.fromarray(puppet.frames[0]).save(reference)
        write_pose(pose, puppet.pose)
        command = [sys.executable, "-m", "aa_model.cli.animate", "--checkpoint", str(checkpoint)]
        command += ["--reference", str(reference), "--pose", str(pose), "--steps", str(steps)]
        command += ["--out", str(Path(folder) / "out.mp4"), "--device", "cpu"]
        child = os.posix_spawn(sys.executable, command, os.environ)
        _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"aa-animate failed on {frames} frames")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
