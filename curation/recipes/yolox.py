"""As default.py, but people are found by YOLOX: `aa-curate run … --weights DIR`.

DIR holds `yolox_nano.onnx` (Apache-2.0, YOLOX by Megvii; model/ of Kazuhito00's
YOLOX-ONNX-TFLite-Sample at commit 3d4f111). Another YOLOX export serves as well: put its name and
sha256 below. Joints are still BlazePose's.
"""

from dataclasses import replace
from pathlib import Path

from aa_curation.filters.completeness import Completeness
from aa_curation.filters.real_face import HumanEyes, SteadyOrFace
from aa_curation.filters.single_person import PersonSize, SinglePerson, SomePerson
from aa_curation.models.onnx_file import OnnxFile
from aa_curation.poses.yolox_blazepose import YoloxThenBlazePose
from aa_curation.recipe import load_recipe

RECIPE = replace(
    load_recipe(Path(__file__).with_name("default.py")),
    name="yolox",
    estimator=YoloxThenBlazePose(
        OnnxFile(
            "yolox_nano.onnx", "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14"
        )
    ),
    people_filters=(
        SomePerson(share_at_least=0.8),
        HumanEyes(width_at_most=0.2, face_at_least=0.5),
        SinglePerson(second_area=1 / 3, share_at_most=0.15),  # what YOLOX counts are people
        SteadyOrFace(wobble_at_most=0.03, face_at_least=0.5),
        PersonSize(area_at_least=0.02),
        Completeness(body="head"),
    ),
)
