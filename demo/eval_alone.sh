#!/usr/bin/env bash
# aa-eval in an environment that has only the [eval] extra: no ray, no diffusers, no webdataset.
set -euo pipefail

if [ -e .venv/.installed ]; then
    echo "eval-alone: the other rooms are installed: run it on a fresh clone, before make install" >&2
    exit 1
fi
for package in ray diffusers webdataset; do
    if python -c "import $package" 2>/dev/null; then
        echo "eval-alone: $package is installed, but [eval] must not need it" >&2
        exit 1
    fi
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python - "$folder" <<'PY'
"""Two moving squares as references, and the same with noise as predictions."""
import sys
from pathlib import Path

import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
for video in ("a", "b"):
    for t in range(16):
        frame = np.full((64, 64, 3), 90, np.uint8)
        frame[20:40, 2 * t : 2 * t + 20] = rng.integers(0, 255, 3) if t == 0 else (200, 60, 40)
        noisy = np.clip(frame + rng.normal(0, 8, frame.shape), 0, 255).astype(np.uint8)
        for kind, picture in (("references", frame), ("predictions", noisy)):
            path = Path(sys.argv[1], kind, video, f"{t:04d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
PY
aa-eval weights
aa-eval "$folder/predictions" --references "$folder/references" --out "$folder/result"
test -s "$folder/result/result.json"
echo "eval-alone: aa-eval works without the other rooms"
