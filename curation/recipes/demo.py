"""The demo's corpus: nine real clips that ship in packages, and puppets.

Read from top to bottom: a clip goes through these steps in this order, and the first check that
fails is the reason why it is out. `aa-curate why CLIP_ID` prints what each check measured.
"""

import math

from aa_curation.filters.blur import Blur
from aa_curation.filters.camera import CameraMotion
from aa_curation.filters.completeness import Completeness
from aa_curation.filters.corrected import Hdr, Interlaced, PixelAspect
from aa_curation.filters.exposure import Bright, Dark
from aa_curation.filters.frame_rate import FrameRate
from aa_curation.filters.motion import SubjectMotion
from aa_curation.filters.resolution import Resolution
from aa_curation.filters.single_person import PersonSize, RealPerson, SinglePerson, SomePerson
from aa_curation.filters.static import Frozen, Static
from aa_curation.filters.timing import FrameCount, VariableRate
from aa_curation.filters.tracking import FaceSeen, HandsSeen, IdentitySwitches, Jitter, PoseFound
from aa_curation.measure.shots import ShotCuts
from aa_curation.poses.blazepose import BlazePose
from aa_curation.recipe import Canonical, Recipe

RECIPE = Recipe(
    name="demo",
    # The paper takes clips of 2 to 10 s. Eight of the nine real clips last 1.67 s (100 frames at
    # 60 fps), so the demo asks for 1 s: 24 frames at 24 fps, twice what its stage 2 trains on.
    min_s=1.0,
    max_s=10.0,
    # On the header, before decoding.
    video_filters=(
        Resolution(short_side_px=240),
        FrameRate(fps=15),
        Hdr(at_most=1),  # tone-mapped; 0 rejects it
        Interlaced(at_most=1),  # deinterlaced; 0 rejects it
        PixelAspect(at_most=math.inf),  # shown with square pixels; 1 rejects others
    ),
    # One decode finds the shots and measures their pictures.
    cuts=ShotCuts(),
    picture_filters=(
        FrameCount(frames_at_least=1),  # counted; min_s decides
        Static(share_at_most=0.5),
        Frozen(seconds_at_most=1.0),
        Dark(brightness_at_least=16),
        Bright(brightness_at_most=250),
        Blur(sharpness_at_least=20),
        CameraMotion(sides_per_s_at_most=math.inf),  # measured only, as is the next
        VariableRate(share_at_most=math.inf),
    ),
    # Ten frames of each clip are searched for people, at full size and in tiles.
    estimator=BlazePose,
    people_frames=10,
    people_filters=(
        SomePerson(share_at_least=0.8),
        SinglePerson(second_area=1 / 3, share_at_most=0.15),
        PersonSize(area_at_least=0.02),
        Completeness(body="upper"),
        RealPerson(wobble_at_most=0.03),
    ),
    # Then the pose is found in every frame, in the same decode that feeds the encoder.
    pose_filters=(
        PoseFound(share_at_least=0.95),
        Jitter(jitter_at_most=0.04),
        IdentitySwitches(switches_at_most=0),
        HandsSeen(share_at_least=0),  # measured only, as are the next two
        FaceSeen(share_at_least=0),
    ),
    clip_filters=(SubjectMotion(extents_per_s_at_least=0),),
    canonical=Canonical(short_side_px=256, max_fps=30),
    clips_per_shard=64,
)
