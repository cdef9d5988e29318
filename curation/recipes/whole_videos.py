"""A benchmark's videos as they are: whole, at their own size and rate, none left out.

For the source lists that `aa-datasets fetch ubc|tiktok` writes where no poses are given:

    aa-curate run curation/recipes/whole_videos.py --sources data/ubc/sources-train.csv \\
        --sources data/ubc/sources-test.csv --out data/ubc/corpus

Nothing is judged here but what cannot be read, and a video that is given twice: the lists say which
videos count. A side of an odd number of pixels is scaled to the next even one, which H.264 needs.
"""

import math

from aa_curation.measure.shots import ShotCuts
from aa_curation.poses.blazepose import BlazePose
from aa_curation.recipe import Canonical, Recipe

RECIPE = Recipe(
    name="whole-videos",
    min_s=1e-6,
    max_s=24 * 3600.0,  # above the length of any video: none is cut into parts
    video_filters=(),
    cuts=ShotCuts(change_at_least=math.inf, dark_below=0, gap_s=math.inf),  # nothing is a cut
    bars=None,
    picture_filters=(),
    estimator=BlazePose,
    people_frames=1,
    people_filters=(),
    pose_filters=(),
    # Above any size and rate: nothing is scaled down or thinned out.
    canonical=Canonical(short_side_px=65536, max_fps=1000, read_side_px=65536),
    near_duplicates=None,  # a benchmark's videos may look alike
    clips_per_shard=16,
)
