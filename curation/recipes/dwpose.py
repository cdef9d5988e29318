"""As default.py, but people are found by YOLOX and their joints by DWPose, which also has faces of
68 points: `aa-curate run … --weights DIR`.

DIR holds the two ONNX files of huggingface.co/yzd-v/DWPose (Apache-2.0; 216,746,733 and 134,399,116
bytes); nine public repositories name these sha256. The recipe is tested on small files of the same
interface, not on these two. Faces are not searched for here:
heads that wobble are dropped, and animated people pass as real ones.
"""

from dataclasses import replace
from pathlib import Path

from aa_curation.filters.completeness import Completeness
from aa_curation.filters.single_person import PersonSize, RealPerson, SinglePerson, SomePerson
from aa_curation.models.onnx_file import OnnxFile
from aa_curation.poses.dwpose import DWPoseFiles
from aa_curation.recipe import load_recipe

RECIPE = replace(
    load_recipe(Path(__file__).with_name("default.py")),
    name="dwpose",
    estimator=DWPoseFiles(
        detector=OnnxFile(
            "yolox_l.onnx", "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411"
        ),
        pose=OnnxFile(
            "dw-ll_ucoco_384.onnx",
            "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
        ),
    ),
    people_filters=(
        SomePerson(share_at_least=0.8),
        SinglePerson(second_area=1 / 3, share_at_most=0.15),
        RealPerson(wobble_at_most=0.03),  # chosen for BlazePose
        PersonSize(area_at_least=0.02),
        Completeness(body="upper"),
    ),
)
