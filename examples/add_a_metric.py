"""Score a metric of your own with baselines, intervals and a hash, as ours are scored.

On the command line: `aa-eval PREDICTIONS --references DIR --metric-module add_a_metric.py`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from aa_eval import FrameMetric, evaluate


def edge_error(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean difference of horizontal gradients in levels; uint8 [T, H, W, 3] twice -> [T]."""
    ours, theirs = (np.diff(side.astype(float), axis=2) for side in (prediction, reference))
    return np.abs(ours - theirs).mean(axis=(1, 2, 3))


METRICS = {"edge_error": FrameMetric(edge_error, better="lower")}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        draw = np.random.default_rng(0)
        for video in ("a", "b", "c"):
            for number in range(4):
                frame = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                for side, least in (("references", 0), ("predictions", 40)):
                    path = Path(folder, side, video, f"{number}.png")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(np.maximum(frame, least)).save(path)
        folders = (Path(folder, side) for side in ("predictions", "references"))
        results = evaluate(*folders, protocols=("fvd-tf",), metric_module=__file__, cache="off")
        for result in results[-4:]:  # the module's own protocol comes last
            of = result.metrics["edge_error"]
            print(f"{result.method:17} {of.value:7.2f} [{of.ci_low:.2f}, {of.ci_high:.2f}]")
