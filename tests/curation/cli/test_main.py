from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from aa_curation.check import at_least, at_most
from aa_curation.cli.main import main
from aa_curation.errors import RecipeError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead, Decision, PlannedClip, Survey
from aa_curation.models.tflite_file import MODELS
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import read_sources
from aa_curation.steps.worker import Worker

RECIPES = Path(__file__).parents[3] / "curation/recipes"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    clip = PlannedClip("a-0000", "a", 0, 2, 24, (256, 256), ())
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(Survey("a", "f" * 64, "", 1, 2, (clip,), ()))
        writer.add_decision(
            Decision(
                "a-0000",
                "a",
                "rejected",
                "clip",
                "several_persons",
                0.9,
                0.2,
                checks=(at_least("sharp", 1.5, 1), at_most("several_persons", 0.9, 0.2)),
            )
        )
    return tmp_path


def test_status_report_and_why_tell_the_decision(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--out", str(corpus)]) == 0
    out = capsys.readouterr().out
    assert "1 planned" in out
    assert "1 several_persons" in out
    assert main(["status", str(corpus)]) == 0
    assert capsys.readouterr().out == out
    for wanted in ("a-0000", "a"):
        assert main(["why", wanted, "--out", str(corpus)]) == 0
        out = capsys.readouterr().out
        assert "a-0000: rejected, several_persons (measured 0.9, bound 0.2)" in out
        assert "sharp 1.5 (at least 1)" in out
    assert main(["report", "--out", str(corpus)]) == 0
    out = capsys.readouterr().out
    assert out.count("planned") == 1
    assert "a-0000" not in out
    assert main(["report", "--clips", "--out", str(corpus)]) == 0
    assert "a-0000: rejected" in capsys.readouterr().out
    table = corpus / "clips-and-checks.csv"
    assert main(["report", "--csv", str(table), "--out", str(corpus)]) == 0
    assert "check.several_persons" in table.read_text().splitlines()[0]


def test_plan_counts_sources_and_writes_nothing(
    sources_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "corpus"
    arguments = ["plan", str(RECIPES / "demo.py"), "--sources", str(sources_folder)]
    assert main([*arguments, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "12 sources, 0 of them surveyed" in text
    assert "NO LICENCE: rejected" in text
    assert not out.exists()


def test_plan_counts_what_a_changed_list_makes_anew(
    sources_folder: Path, demo_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sources_folder, tmp_path / "sources")
    table = tmp_path / "sources/sources.csv"
    arguments = ["plan", str(RECIPES / "demo.py"), "--sources", str(table)]
    arguments += ["--out", str(tmp_path / "corpus")]
    with LedgerWriter(tmp_path / "corpus", demo_recipe.head) as writer:
        for source in read_sources([table]):
            if source.source_id.startswith("puppet_"):
                writer.add_survey(Worker(demo_recipe, tmp_path).survey(source))
    assert main(arguments) == 0
    assert "12 sources, 5 of them surveyed" in capsys.readouterr().out
    rows = table.read_text().splitlines()
    changed = [row.replace("Apache-2.0", "MIT") if "puppet_1.mp4" in row else row for row in rows]
    table.write_text("\n".join(changed))
    assert main(arguments) == 0
    assert "12 sources, 4 of them surveyed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--out", "nowhere"], "no ledger in nowhere"),
        (["why", "b", "--out", "{corpus}"], "no clip or source 'b'"),
        (["run", "no.py", "--sources", "x.csv"], "no recipe no.py"),
        (["run", "{demo}", "--sources", "x.csv"], "cannot read the source list"),
        (["plan", "{sources}", "--sources", "x.csv"], "recipe"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    corpus: Path,
    sources_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    places = {
        "corpus": str(corpus),
        "demo": str(RECIPES / "demo.py"),
        "sources": str(sources_folder / "sources.csv"),
    }
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("aa-curate: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "demo", "--sources", "x"]
    assert main([*run, "--workers", "0"]) == 2
    assert "--workers" in capsys.readouterr().err
    assert main([*run, "--local", "--workers", "2"]) == 2
    assert "--local runs without Ray" in capsys.readouterr().err
    assert main(["run", "demo"]) == 2
    assert "give --sources" in capsys.readouterr().err


def test_why_takes_the_beginning_of_an_id_and_suggests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["clip_033-0010cb14d76a", "clip_033-77aa55cc33dd", "clip_034-0010cb14d76b"]
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        for name in names:
            row = Decision(f"{name}-0000", name, "rejected", "survey", "static", 1.0, 0.5)
            writer.add_survey(Survey(name, "f" * 64, "", 1, 2, (), (row,)))
    out = ["--out", str(tmp_path)]
    assert main(["why", "clip_033", *out]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{name}-0000" for name in names[:2]]
    assert main(["why", "klip_033", *out]) == 2
    assert f"did you mean {names[0]}" in capsys.readouterr().err
    assert main(["why", "0010cb14d76b", *out]) == 2
    assert "clip_034-0010cb14d76b" in capsys.readouterr().err


def test_verify_says_in_words_that_a_corpus_is_not_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = PlannedClip("a-0000", "a", 0, 2, 24, (256, 256), ())
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(Survey("a", "f" * 64, "", 1, 2, (clip,), ()))
    assert main(["verify", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "1 of 1 planned clips are not decided yet (a-0000)" in printed.err
    assert "Errno" not in printed.err
    assert printed.out == "0 clips, 1 problem\n"


def test_the_demo_asks_for_less_than_the_paper() -> None:
    default, demo = (load_recipe(RECIPES / f"{name}.py") for name in ("default", "demo"))
    assert (default.min_s, default.max_s) == (2, 10)  # Animate Anyone, Sec. 4.1
    assert default.canonical.short_side_px == 768
    assert demo.min_s < 100 / 60 < default.min_s
    assert demo.sha256 == load_recipe(RECIPES / "demo.py").sha256


def test_a_recipe_of_ours_goes_by_its_name_and_a_file_of_that_name_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("default")).sha256 == load_recipe(RECIPES / "default.py").sha256
    with pytest.raises(RecipeError, match=r"no recipe defualt: .* or one of default, demo, dwpose"):
        load_recipe(Path("defualt"))
    (tmp_path / "default").write_text("mine")
    with pytest.raises(RecipeError, match="is not a Python file"):
        load_recipe(Path("default"))


def test_help_names_every_recipe_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert {path.stem for path in RECIPES.glob("*.py")} <= words


@pytest.mark.weights
def test_weights_says_which_model_is_not_the_one_that_was_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", n] for n in (*MODELS, "text_detector")]
    inside, _ = MODELS["hand_recrop"]
    monkeypatch.setitem(MODELS, "hand_recrop", (inside, "0" * 64))
    assert main(["weights"]) == 1
    assert "unavailable  hand_recrop" in capsys.readouterr().out


def test_plan_names_the_columns_and_files_that_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text("url,license,caption,rights\na.mp4,MIT,x,y\n")
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("b.mp4", "notes.txt"):
        (videos / name).touch()
    sources = ["--sources", str(tmp_path / "list.csv"), "--sources", str(videos)]
    assert main(["plan", "default", *sources, "--licence", "unknown", "--out", "nowhere"]) == 0
    printed = capsys.readouterr().out
    assert "list.csv: ignored columns: caption, rights" in printed
    assert "videos: left out 1 file without a video's suffix (1 .txt)" in printed
