"""HumanVid's rules for footage from the Internet, as far as they are published: `--weights DIR`.

From the paper (Wang et al., arXiv 2407.17438) and its repository (zhenzhiwang/HumanVid): videos of
1080p, whole-body poses by DWPose, and a number of people that does not change (tools/
extract_pexels_meta_info.py keeps a video if the mean count is within 0.025 of a whole number). Its
other rules and their bounds are not published: those here are of dwpose.py. Its camera trajectories
(SLAM) are not made; `camera_motion` is measured.
"""

from dataclasses import replace
from pathlib import Path

from aa_curation.filters.completeness import Completeness
from aa_curation.filters.frame_rate import FrameRate
from aa_curation.filters.resolution import Resolution
from aa_curation.filters.single_person import PersonSize, RealPerson, SomePerson, SteadyCount
from aa_curation.recipe import load_recipe

RECIPE = replace(
    load_recipe(Path(__file__).with_name("dwpose.py")),
    name="humanvid",
    video_filters=(Resolution(short_side_px=1080), FrameRate(fps=15)),
    people_filters=(
        SomePerson(share_at_least=0.8),
        SteadyCount(off_at_most=0.025),
        RealPerson(wobble_at_most=0.03),
        PersonSize(area_at_least=0.02),
        Completeness(body="upper"),
    ),
)
