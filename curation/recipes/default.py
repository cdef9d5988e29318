"""The default: the paper's corpus (Sec. 4.1) by what packages carry, no weights to be given.

The paper names clips of 2 to 10 s of one character, with body and hand poses; the other bounds are
ours. Read from top to bottom: a clip goes through these steps in this order, and the first check
that fails is the reason why it is out. `aa-curate why CLIP_ID` prints what each check measured.
yolox.py and dwpose.py say only what differs; copy this file to begin your own.
"""

import math

from aa_curation.filters.blur import Blur
from aa_curation.filters.camera import CameraMotion
from aa_curation.filters.completeness import Completeness
from aa_curation.filters.corrected import Combs, Hdr, Interlaced, PixelAspect
from aa_curation.filters.drawing import Drawing
from aa_curation.filters.exposure import Bright, Dark
from aa_curation.filters.frame_rate import FrameRate
from aa_curation.filters.motion import SubjectMotion
from aa_curation.filters.real_face import HumanEyes, SteadyOrFace
from aa_curation.filters.resolution import Resolution
from aa_curation.filters.single_person import PersonSize, SinglePerson, SomePerson
from aa_curation.filters.static import Frozen, Static
from aa_curation.filters.text import TextArea, TextOnPerson
from aa_curation.filters.timing import FrameCount, VariableRate
from aa_curation.filters.tracking import FaceSeen, HandsSeen, IdentitySwitches, Jitter, PoseFound
from aa_curation.measure.shots import ShotCuts
from aa_curation.poses.blazepose import BlazePose
from aa_curation.recipe import Canonical, Recipe
from aa_curation.text.overlay import TextSearch

RECIPE = Recipe(
    name="default",
    min_s=2.0,  # Sec. 4.1
    max_s=10.0,  # Sec. 4.1
    # On the header, before decoding.
    video_filters=(
        Resolution(short_side_px=480),
        FrameRate(fps=15),
        Hdr(at_most=1),  # tone-mapped; 0 rejects it
        Interlaced(at_most=1),  # deinterlaced; 0 rejects it
        PixelAspect(at_most=math.inf),  # shown with square pixels; 1 rejects others
    ),
    # One decode finds the shots and measures their pictures.
    cuts=ShotCuts(),
    picture_filters=(
        FrameCount(frames_at_least=24),  # a window of stage 2, Sec. 4.1
        Combs(share_at_most=0.2),  # interlaced, and not marked as such
        Drawing(brightness_below=16, levels_at_most=15),
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
        # Is it a person? BlazePose takes a cat's limbs for several: ask before counting.
        SteadyOrFace(wobble_at_most=0.03, face_at_least=0.5),
        HumanEyes(width_at_most=0.2, face_at_least=0.5),
        SinglePerson(second_area=1 / 3, share_at_most=0.15),
        PersonSize(area_at_least=0.02),
        Completeness(body="head"),  # "upper" for elbows, "full" for feet
    ),
    # The same frames are searched for captions; their boxes go into the clip's record, of which
    # the loader's `text_mask` makes a mask for the loss.
    text=TextSearch(side_px=736, share_at_least=0.3),
    text_filters=(TextArea(share_at_most=0.2),),
    # Then the pose is found in every frame, in the same decode that feeds the encoder.
    pose_filters=(
        PoseFound(share_at_least=0.95),
        Jitter(jitter_at_most=0.04),
        IdentitySwitches(switches_at_most=0),
        HandsSeen(share_at_least=0),  # measured only, as are the next two
        FaceSeen(share_at_least=0),
    ),
    clip_filters=(
        SubjectMotion(extents_per_s_at_least=0),
        TextOnPerson(share_at_most=0.1),
    ),
    canonical=Canonical(short_side_px=768, max_fps=30),  # Sec. 4.1: 768x768 crops
    clips_per_shard=256,
)
