"""The loss curves of a training, thinned for the repository: one CSV per run, and one picture.

usage: python demo/loss_curves.py TRAINING OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

RUNS = ("autoencoder", "image-encoder", "1", "2")
_PANEL_HW, _MARGIN_PX, _POINTS = (220, 360), 34, 200


def main(training: Path, out: Path) -> None:
    panels = []
    for run in (run for run in RUNS if (training / run / "loss.csv").is_file()):
        curve = pd.read_csv(training / run / "loss.csv")
        # A mean over each of 200 equal stretches: single batches are too noisy to read.
        thinned = curve.groupby(np.arange(len(curve)) * _POINTS // len(curve)).mean()
        thinned["step"] = thinned["step"].round().astype(int)
        thinned.to_csv(out / f"loss-{run}.csv", index=False, float_format="%.5g")
        steps = curve["step"].iloc[-1]
        title = f"stage {run}, {steps} steps; loss, logarithmic"
        panels.append(draw_panel(title, thinned["step"], thinned["loss"]))
    if len(panels) % 2:
        panels.append(np.full_like(panels[0], 255))
    half = len(panels) // 2
    rows = [np.concatenate(row, axis=1) for row in (panels[:half], panels[half:])]
    cv2.imwrite(str(out / "loss.png"), np.concatenate(rows))


def draw_panel(title: str, steps: pd.Series, losses: pd.Series) -> NDArray[np.uint8]:
    """One curve, loss on a logarithmic axis, uint8 [H, W, 3]."""
    height, width = _PANEL_HW
    panel = np.full((height, width, 3), 255, np.uint8)
    logs = np.log10(losses.to_numpy())
    low, high = logs.min(), logs.max()
    x = _MARGIN_PX + steps / steps.iloc[-1] * (width - 2 * _MARGIN_PX)
    y = _MARGIN_PX + (high - logs) / max(high - low, 1e-9) * (height - 2 * _MARGIN_PX)
    line = np.round(np.stack([x, y], 1)).astype(np.int32)
    cv2.polylines(panel, [line], False, (180, 90, 20), 1, cv2.LINE_AA)
    texts = (
        (title, (_MARGIN_PX, 20)),
        (f"{10**high:.3g}", (2, _MARGIN_PX + 4)),
        (f"{10**low:.3g}", (2, height - _MARGIN_PX)),
    )
    for text, place in texts:
        cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return panel


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
