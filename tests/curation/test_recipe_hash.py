"""A recipe's hash is the same in every process, and moves with what decides, not with modules."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from aa_curation.errors import LedgerError, RecipeError
from aa_curation.filters.blur import Blur
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.lines import LINES_NAME
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.recipe_hash import canonical_form, iter_differences, sha256_of_form

RECIPES = Path(__file__).parents[2] / "curation/recipes"
WITH_FUNCTIONS = f"""
import dataclasses, functools
from pathlib import Path
from aa_curation.check import at_least
from aa_curation.recipe import load_recipe

def bound(least):
    def tall(info):
        return at_least("tall", info.size_hw[0], least)
    return tall

def wide(info, least=WIDE):
    return at_least("wide", info.size_hw[1], least)

SLOWEST_FPS = SLOW

def slowest_fps():
    return SLOWEST_FPS

def slow(info):
    least = min(slowest_fps() for _ in __file__)
    return at_least("slow", info.fps, least)

RECIPE = dataclasses.replace(
    load_recipe(Path({str(RECIPES / "demo.py")!r})),
    video_filters=(
        bound(TALL), wide, functools.partial(wide, least=3), lambda info: wide(info), slow
    ),
)
"""


def _write(path: Path, tall: int = 100, wide: int = 200, slow: int = 15) -> Path:
    text = WITH_FUNCTIONS.replace("TALL", str(tall)).replace("WIDE", str(wide))
    path.write_text(text.replace("= SLOW\n", f"= {slow}\n"))
    return path


def _in_fresh_process(recipe: Path) -> str:
    code = "import sys; from pathlib import Path; from aa_curation.recipe import load_recipe; "
    code += "print(load_recipe(Path(sys.argv[1])).sha256)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_three_processes_give_a_recipe_with_plain_functions_one_hash(tmp_path: Path) -> None:
    recipe = _write(tmp_path / "recipe.py")
    hashes = {_in_fresh_process(recipe) for _ in range(3)}
    assert hashes == {load_recipe(recipe).sha256}


@pytest.mark.parametrize("change", [{"tall": 101}, {"wide": 201}, {"slow": 12}])
def test_what_a_function_captures_or_reads_is_part_of_the_hash(
    tmp_path: Path, change: dict[str, int]
) -> None:
    one, other = _write(tmp_path / "one.py"), _write(tmp_path / "other.py", **change)
    assert load_recipe(one).sha256 != load_recipe(other).sha256
    assert load_recipe(_write(tmp_path / "copy.py")).sha256 == load_recipe(one).sha256


def test_a_filter_whose_module_moves_keeps_the_hash(tmp_path: Path) -> None:
    """The class of one file, imported under two names of modules."""
    code = (
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Mine:\n    least: int = 3"
    )
    forms = []
    for name in ("before", "after"):
        (tmp_path / f"moved_{name}.py").write_text(code)
        sys.path.insert(0, str(tmp_path))
        try:
            module = __import__(f"moved_{name}")
        finally:
            sys.path.remove(str(tmp_path))
        assert module.Mine.__module__ == f"moved_{name}"
        forms.append(canonical_form((module.Mine(), module.Mine), "filters"))
    assert forms[0] == forms[1] == [{"class": "Mine", "least": 3}, {"class": "Mine"}]


def test_a_form_holds_neither_address_nor_module(demo_recipe: Recipe) -> None:
    for path in RECIPES.glob("*.py"):
        text = str(load_recipe(path).form)
        assert "0x" not in text
        assert "aa_curation" not in text
        assert str(RECIPES) not in text
    moved = dataclasses.replace(demo_recipe, weights=Path("/somewhere"), thresholds={"blurred": 3})
    assert moved.sha256 == demo_recipe.sha256
    assert sha256_of_form(demo_recipe.form) == demo_recipe.sha256


def test_numbers_that_differ_differ_and_infinity_is_one() -> None:
    assert canonical_form(math.inf, "x") == "inf"
    assert canonical_form(Blur(20), "x") != canonical_form(Blur(20.5), "x")
    assert sha256_of_form(canonical_form(True, "x")) != sha256_of_form(canonical_form(1, "x"))


def test_what_cannot_be_described_is_refused_by_its_place(demo_recipe: Recipe) -> None:
    class Stateful:
        def __call__(self, pose: object) -> None: ...

    recipe = dataclasses.replace(
        demo_recipe, pose_filters=(*demo_recipe.pose_filters[:1], Stateful())
    )
    place = re.escape("RECIPE.pose_filters[1]")
    with pytest.raises(RecipeError, match=rf"{place} is a .*Stateful, .* use a frozen dataclass"):
        _ = recipe.sha256
    made: dict[str, object] = {}
    exec("def mine(pose): pass", made)  # a function without a file
    recipe = dataclasses.replace(demo_recipe, pose_filters=(made["mine"],))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="the function mine, whose source cannot be read"):
        _ = recipe.sha256


def test_another_recipe_is_refused_and_the_difference_is_named(
    tmp_path: Path, demo_recipe: Recipe
) -> None:
    LedgerWriter(tmp_path, demo_recipe.head).__exit__(None, None, None)
    bars = dataclasses.replace(demo_recipe, max_s=9.0, bars=None)
    with pytest.raises(LedgerError) as caught:
        LedgerWriter(tmp_path, bars.head)
    assert "recipe.bars BlackBars -> None; recipe.max_s 10.0 -> 9.0" in str(caught.value)
    assert "Choose another --out" in str(caught.value)


def test_a_corpus_of_version_0_1_says_what_to_do(tmp_path: Path, demo_recipe: Recipe) -> None:
    head = {
        "recipe_name": demo_recipe.name,
        "recipe_sha256": "a" * 64,
        "clips_per_shard": 64,
        "near_duplicates": None,
    }
    (tmp_path / LINES_NAME).write_text(json.dumps({"run": head}) + "\n")
    with pytest.raises(LedgerError, match=r"version 0\.1 made it.* Choose another --out, or"):
        LedgerWriter(tmp_path, demo_recipe.head)
    with LedgerWriter.reopen(tmp_path) as writer:  # redecide, takedown and verify work as before
        assert writer.ledger.head.recipe is None


class _Kind(Enum):
    FIRST = 1
    SECOND = 2


@dataclasses.dataclass(frozen=True)
class _Bound:
    least: int = 3
    note: str = ""

    def passes(self, value: int) -> bool:
        return value >= self.least


def test_every_kind_of_value_has_its_form() -> None:
    form = canonical_form(
        [None, True, 3, 0.5, math.inf, "a", Path("x/y"), _Kind.SECOND, {2: "b", 1: _Bound}, min], ""
    )
    assert form == [
        None, True, 3, 0.5, "inf", "a", {"path": "x/y"}, {"enum": "_Kind.SECOND"},
        {"1": {"class": "_Bound"}, "2": "b"}, {"function": "min"},
    ]  # fmt: skip
    assert canonical_form(_Bound(4, "x"), "", frozenset({"note"})) == {
        "class": "_Bound",
        "least": 4,
    }
    bound = canonical_form(_Bound(4).passes, "filters[0]")
    assert isinstance(bound, dict)
    assert bound["of"] == {"class": "_Bound", "least": 4, "note": ""}
    assert bound["method"] == canonical_form(_Bound.passes, "filters[0]")
    assert bound != canonical_form(_Bound(5).passes, "filters[0]"), "what it is bound to decides"


def test_what_has_no_form_is_named_by_its_place() -> None:
    for value, where in (
        ([1, object()], r"filters\[1\] is a object"),
        ({"a": object()}, r"filters\['a'\] is a object"),
        (_Bound(least=object()), r"filters\.least is a object"),  # type: ignore[arg-type]
        (functools.partial(min, object()), r"filters \(partial\)\[0\]\[0\] is a object"),
        (eval("lambda x: x"), r"filters is the function <lambda>, whose source cannot be read"),
    ):
        with pytest.raises(RecipeError, match=where):
            canonical_form(value, "filters")


def test_differences_are_named_by_where_and_from_what_to_what() -> None:
    old = {"class": "Recipe", "checks": [{"class": "Blur", "least": 20}, {"class": "Dark"}], "a": 1}
    new = {
        "class": "Recipe",
        "checks": [{"class": "Blur", "least": 25}, {"class": "Hdr"}],
        "b": [2],
    }
    assert list(iter_differences(old, new)) == [
        "checks[0].least 20 -> 25", "checks[1] Dark -> Hdr", "a 1 -> None", "b None -> [2]"
    ]  # fmt: skip
    assert list(iter_differences([1], [1, {"x": 1}], "checks")) == ["checks [1] -> [1, {...}]"]
    path, function = {"path": "a/b"}, {"function": "f", "source_sha256": "0"}
    assert list(iter_differences(path, None, "weights")) == ["weights a/b -> None"]
    assert list(iter_differences(None, function, "weights")) == ["weights None -> f"]
    assert list(iter_differences(old, dict(old))) == []
