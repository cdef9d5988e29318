"""The bug-compatible columns as whole processes: aa-eval and the scripts' way, in turns.

The scripts' way is DisCo's, rebuilt from public packages: one process for SSIM, L1, both PSNRs and
LPIPS, one for FVD, start and imports included. aa-eval is `aa-eval --protocol tiktok-disco-2023`
without baselines and cache. One thread each; prints CPU seconds, the ratio of medians, peak memory
and both sides' values.

    python benchmarks/eval/whole_process.py --predictions DIR --references DIR [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

KEYS = ("ssim", "l1", "psnr_overflow", "psnr", "lpips", "fvd")


class Run(NamedTuple):
    """One process that ended."""

    cpu_s: float
    peak_mib: float
    printed: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--references", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--part", choices=("images", "fvd"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    folders = [str(options.predictions), str(options.references)]
    if options.part is not None:
        print(json.dumps(script_images(*folders) if options.part == "images" else fvd(*folders)))
        return
    there: dict[str, list[Run]] = {"images": [], "fvd": []}
    here = []
    script = [sys.executable, __file__, "--predictions", folders[0], "--references", folders[1]]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "aa_eval.cli.main", folders[0], "--references", folders[1]]
        command += ["--protocol", "tiktok-disco-2023", "--baselines", "off", "--cache", "off"]
        command += ["--workers", "1", "--out", out]
        for _ in range(options.rounds):
            for part, runs in there.items():
                runs.append(run([*script, "--part", part]))
            here.append(run(command))
        found = json.loads((Path(out) / "result.json").read_text())["metrics"]
    expected = {}
    for part, runs in there.items():
        expected |= json.loads(runs[-1].printed.splitlines()[-1])
        print(f"the scripts' way, {part:6} {describe(runs)}")
    print(f"aa-eval                  {describe(here)}")
    ratio = median(here) / sum(median(runs) for runs in there.values())
    print(f"aa-eval / the scripts' way {ratio:.2f}   (target: at most 0.60)")
    for key in KEYS:
        print(f"  {key:14} {expected[key]:.10g}, aa-eval {found[key]['value']:.10g}")


def run(command: list[str]) -> Run:
    # what one process used, by the system's own account
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


def median(runs: list[Run]) -> float:
    return statistics.median(of.cpu_s for of in runs)


def describe(runs: list[Run]) -> str:
    return f"{median(runs):8.1f} CPU s, {max(of.peak_mib for of in runs):6.0f} MiB"


def script_images(predictions: str, references: str) -> dict[str, float]:
    """DisCo's pass for each metric, LPIPS by its package with batch 1."""
    import lpips
    import numpy as np
    import torch
    from image_metrics import scripts
    from lpips_speed import convolutions
    from PIL import Image

    from aa_eval.metrics.lpips import make_lpips

    files = list(zip(files_of(predictions), files_of(references), strict=True))
    model = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    ours = convolutions(make_lpips("vgg").net)  # the weights that the package would download
    for to, of in zip(convolutions(model.net), ours, strict=True):
        to.load_state_dict(of.state_dict())
    distances = []
    with torch.no_grad():
        for pair in files:
            levels = (np.asarray(Image.open(file).convert("RGB")) for file in pair)
            sides = [torch.from_numpy(of / np.float32(255)).movedim(-1, 0)[None] for of in levels]
            distances.append(model(*sides).item())
    return scripts(files) | {"lpips": float(np.mean(distances))}


def fvd(predictions: str, references: str) -> dict[str, float]:
    """Window by window: 16 files read, resized, and sent through I3D alone."""
    import numpy as np
    import torch
    from frechet import scripts
    from fvd_windows import script_window, with_torchs_pools
    from PIL import Image

    from aa_eval.features.i3d import I3DNetwork, make_i3d

    network = I3DNetwork(with_torchs_pools(make_i3d(1e-3, "cpu", 1)))
    sides = []
    for folder in (predictions, references):
        rows = []
        for video in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
            files = sorted(video.iterdir())
            for start in range(len(files) - 15):
                frames = [np.asarray(Image.open(f).convert("RGB")) for f in files[start:][:16]]
                rows.append(network(script_window(np.stack(frames))))
        sides.append(torch.cat(rows).numpy())
    return {"fvd": scripts(*sides)}


def files_of(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
