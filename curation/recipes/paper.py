"""A corpus as the paper describes it (Sec. 4.1): clips of 2 to 10 s of one character, body and
hand poses. The paper names no more thresholds than these; the others are ours, as in demo.py.
"""

import math

from aa_curation.filters.blur import Blur
from aa_curation.filters.camera import CameraMotion
from aa_curation.filters.completeness import Completeness
from aa_curation.filters.exposure import Bright, Dark
from aa_curation.filters.frame_rate import FrameRate
from aa_curation.filters.resolution import Resolution
from aa_curation.filters.single_person import PersonSize, RealPerson, SinglePerson, SomePerson
from aa_curation.filters.static import Static
from aa_curation.filters.text import TextArea
from aa_curation.filters.tracking import Jitter, PoseFound
from aa_curation.poses.blazepose import BlazePose
from aa_curation.recipe import Canonical, Recipe
from aa_curation.shots import ShotCuts
from aa_curation.text.overlay import TextSearch

RECIPE = Recipe(
    name="paper",
    min_s=2.0,  # Sec. 4.1
    max_s=10.0,  # Sec. 4.1
    video_filters=(
        Resolution(short_side_px=480),
        FrameRate(fps=15),
    ),
    cuts=ShotCuts(),
    picture_filters=(
        Static(share_at_most=0.5),
        Dark(brightness_at_least=16),
        Bright(brightness_at_most=250),
        Blur(sharpness_at_least=20),
        CameraMotion(sides_per_s_at_most=math.inf),  # measured, and no reason to drop a clip
    ),
    estimator=BlazePose,
    people_frames=10,
    people_filters=(
        SomePerson(share_at_least=0.8),
        SinglePerson(second_area=1 / 3, share_at_most=0.2),
        PersonSize(area_at_least=0.02),
        Completeness(body="upper"),
        RealPerson(wobble_at_most=0.03),
    ),
    # The same frames are searched for captions; their boxes go into the clip's record, of which
    # the loader's `text_mask` makes a mask for the loss.
    text=TextSearch(side_px=736, share_at_least=0.3),
    text_filters=(TextArea(share_at_most=0.2),),
    pose_filters=(
        PoseFound(share_at_least=0.95),
        Jitter(jitter_at_most=0.04),
    ),
    canonical=Canonical(short_side_px=768, max_fps=30),  # Sec. 4.1: 768x768 crops
    clips_per_shard=256,
)
