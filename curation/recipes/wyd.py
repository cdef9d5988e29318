"""The steps by which the benchmark "What Are You Doing?" was collected, as far as a machine can.

From the paper (Bugliarello et al., arXiv 2503.04666) and its repository (google-deepmind/
wyd-benchmark): no videos without people, no scene cuts, visible poses, 1.5 to 15 s, a bound on the
resolution (not published, here the short side of default.py), one to several actors. The steps by a
vision-language model and by hand are not made. The benchmark's own 1,544 clips are not collected
again by this: wyd.json of the repository names them.
"""

import math
from dataclasses import replace
from pathlib import Path

from aa_curation.filters.completeness import Completeness
from aa_curation.filters.real_face import HumanEyes, SteadyOrFace
from aa_curation.filters.single_person import SinglePerson, SomePerson
from aa_curation.recipe import load_recipe

RECIPE = replace(
    load_recipe(Path(__file__).with_name("default.py")),
    name="wyd",
    min_s=1.5,
    max_s=15.0,
    people_filters=(
        SomePerson(share_at_least=0.8),
        SteadyOrFace(wobble_at_most=0.03, face_at_least=0.5),
        HumanEyes(width_at_most=0.2, face_at_least=0.5),
        SinglePerson(second_area=1 / 3, share_at_most=math.inf),  # measured only
        Completeness(body="head"),
    ),
)
