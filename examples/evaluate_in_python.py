"""Score two methods on puppets, look at the numbers as pandas frames, and compare the two."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image

from aa_datasets import render_puppets
from aa_eval import compare, evaluate, read_video

with tempfile.TemporaryDirectory() as folder:
    references = Path(folder, "references")
    render_puppets(references, count=3, num_frames=6, size_hw=(64, 64))
    methods = {"dark": lambda frames: frames // 2, "coarse": lambda frames: frames // 32 * 32}
    for name, predict in methods.items():
        for video in references.glob("*.mp4"):
            frames = Path(folder, name, video.stem)
            frames.mkdir(parents=True)
            for number, frame in enumerate(predict(read_video(video).frames)):
                Image.fromarray(frame).save(frames / f"{number:04}.png")
    # Further arguments are the fields of aa_eval.EvaluateOptions; `aa-eval --help` explains them.
    dark, coarse = (
        evaluate(Path(folder, name), references, protocols=("ubc-bdmm",), cache="off")[0]
        for name in methods
    )
    table = pd.concat([dark.to_frame(), coarse.to_frame()])
    print(table.pivot(index="method", columns="metric", values="value").round(3), end="\n\n")
    print(coarse.per_video_frame().round(3), end="\n\n")
    for difference in compare(dark, coarse):
        print(f"{difference.key}: dark - coarse = {difference.difference:+.3f}")
