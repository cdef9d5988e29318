from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from aa_model.networks.pillow_bicubic import pillow_bicubic

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 2**32 - 1))
@example(768, 512, 224, 224, 0)  # what CLIP sees of a large picture
@example(64, 64, 64, 64, 0)
def test_pillow_s_bicubic_to_the_last_level(
    height: int, width: int, to_height: int, to_width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # black and white overshoot most; levels between them round
    picture = rng.choice([0, 255, int(rng.integers(256))], (height, width, 3)).astype(np.uint8)
    expected = Image.fromarray(picture).resize((to_width, to_height), Image.Resampling.BICUBIC)
    levels = torch.from_numpy(picture).permute(2, 0, 1)[None]
    found = pillow_bicubic(levels, (to_height, to_width))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, np.asarray(expected))
