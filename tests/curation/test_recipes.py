"""The recipes that come with the package: they load, differ, and hold what is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from aa_curation.measure.people import people_of_pose
from aa_curation.recipe import Canonical, load_recipe
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.foreign import VideoInfo

RECIPES = sorted(
    path.stem for path in (Path(__file__).parents[2] / "curation/recipes").glob("*.py")
)


def test_every_recipe_loads_by_name_and_has_a_hash_of_its_own() -> None:
    assert {
        "default",
        "demo",
        "dwpose",
        "humanvid",
        "openhumanvid",
        "whole_videos",
        "wyd",
        "yolox",
    } <= set(RECIPES)
    found = {name: load_recipe(Path(name)) for name in RECIPES}
    assert len({recipe.sha256 for recipe in found.values()}) == len(RECIPES)
    assert {name: recipe.name.replace("-", "_") for name, recipe in found.items()} == {
        name: name for name in RECIPES
    }


@pytest.mark.parametrize(
    ("name", "short_side_px"),
    # What is published of two pipelines, and what the README says of two recipes of ours.
    [("humanvid", 1080), ("openhumanvid", 720), ("default", 480), ("demo", 240)],
)
def test_least_resolutions(name: str, short_side_px: int) -> None:
    checks = load_recipe(Path(name)).video_filters
    for side, passes in ((short_side_px, True), (short_side_px - 2, False)):
        video = VideoInfo("h264", (side, 1920), 25.0, 100, 4.0)
        assert all(check(video).passed for check in checks) == passes


def test_published_lengths() -> None:
    recipe = load_recipe(Path("wyd"))
    assert (recipe.min_s, recipe.max_s) == (1.5, 15)
    paper = load_recipe(Path("default"))
    assert (paper.min_s, paper.max_s) == (2, 10)
    assert paper.canonical == Canonical(short_side_px=768, max_fps=30)


def test_the_readme_says_what_the_demo_keeps() -> None:
    demo = load_recipe(Path("demo"))
    assert (demo.min_s, demo.canonical.short_side_px) == (1, 256)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "whole_videos"])
def test_a_puppet_passes_what_is_asked_of_people(name: str) -> None:
    people = people_of_pose(render_puppet(1, 2, num_frames=24).pose, 10)
    checks = [check(people) for check in load_recipe(Path(name)).people_filters]
    assert checks
    assert all(check.passed for check in checks), checks
