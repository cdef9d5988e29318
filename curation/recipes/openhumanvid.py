"""OpenHumanVid's filters, as far as they are published: `--weights DIR`.

From the paper (Li et al., arXiv 2412.00115) and its repository (fudan-generative-vision/
OpenHumanVid): footage of 720p and more, cut into shots, filtered by luminance, blur, aesthetics,
motion and technical quality, with skeletons by DWPose. The bounds are not published: those here are
ours. Its sets have several people in a clip; here the main one counts. Captions, and whether they
agree with the pictures, are left to other tools.

Aesthetics and technical quality need models of your choice. Copy this file, and add:

    from aa_curation.filters.frame_model import Aesthetics, FrameModel, TechnicalQuality
    from aa_curation.models.onnx_file import OnnxFile

    frame_filters=(
        Aesthetics(FrameModel(OnnxFile("aesthetic.onnx", SHA256)), score_at_least=4.5),
        TechnicalQuality(FrameModel(OnnxFile("technical.onnx", SHA256)), score_at_least=0.5),
    ),
"""

from dataclasses import replace
from pathlib import Path

from aa_curation.filters.completeness import Completeness
from aa_curation.filters.frame_rate import FrameRate
from aa_curation.filters.motion import SubjectMotion
from aa_curation.filters.resolution import Resolution
from aa_curation.filters.single_person import PersonSize, RealPerson, SomePerson
from aa_curation.filters.text import TextOnPerson
from aa_curation.recipe import load_recipe

RECIPE = replace(
    load_recipe(Path(__file__).with_name("dwpose.py")),
    name="openhumanvid",
    video_filters=(Resolution(short_side_px=720), FrameRate(fps=15)),
    people_filters=(
        SomePerson(share_at_least=0.8),
        RealPerson(wobble_at_most=0.03),
        PersonSize(area_at_least=0.02),
        Completeness(body="head"),
    ),
    clip_filters=(
        SubjectMotion(extents_per_s_at_least=0.05),  # below, people sit or pose
        TextOnPerson(share_at_most=0.1),
    ),
)
