"""Captions by a real command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aa_curation.cli.main import main
from aa_curation.corpus.captions import write_captions
from aa_curation.errors import CaptionError
from aa_curation.ledger.file import LedgerWriter, read_ledger
from aa_curation.ledger.records import CorpusHead, Decision, PlannedClip, Survey

CAPTIONER = """
import pathlib, sys, time
name = pathlib.Path(sys.argv[1]).stem
if name.startswith("slow"): time.sleep(30)
if name.startswith("bad"): sys.exit("no model")
print("" if name.startswith("silent") else f"a caption of {pathlib.Path(sys.argv[1]).read_text()}")
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    (tmp_path / "captioner.py").write_text(CAPTIONER)
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        for name in ("good", "bad", "silent", "slow", "rejected"):
            clip_id = f"{name}-0000"
            (tmp_path / f"clips/{clip_id}.mp4").write_text(f"the clip {name}")
            planned = PlannedClip(clip_id, name, 0, 2, 24, (256, 256), ())
            writer.add_survey(Survey(name, "f" * 64, "", 1, 2, (planned,), ()))
            status = "rejected" if name == "rejected" else "accepted"
            writer.add_decision(Decision(clip_id, name, status, "clip", "x"))
    return tmp_path


def test_each_accepted_clip_gets_what_the_command_prints(corpus: Path) -> None:
    command, texts = f"{sys.executable} {corpus / 'captioner.py'}", corpus / "texts"
    ledger = read_ledger(corpus)
    troubles = write_captions(ledger, corpus, texts, command, timeout_s=10)
    assert troubles == {
        "bad-0000": "exit code 1: no model",
        "silent-0000": "it printed nothing",
        "slow-0000": "took more than 10 s",
    }
    assert {f.name: f.read_text() for f in texts.iterdir()} == {
        "good-0000.txt": "a caption of the clip good\n"
    }
    # What is there stays; `{}` may stand anywhere, and is one word whatever the path.
    for name in ("bad", "silent", "slow"):
        (texts / f"{name}-0000.txt").write_text("by hand\n")
    (texts / "good-0000.txt").unlink()
    echo = f"{sys.executable} -c 'import sys; print(len(sys.argv), sys.argv[1][-13:])' {{}} more"
    assert write_captions(ledger, corpus, texts, echo) == {}
    assert (texts / "good-0000.txt").read_text() == "3 good-0000.mp4\n"
    assert (texts / "bad-0000.txt").read_text() == "by hand\n"


def test_a_command_that_cannot_be_run_is_one_line(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CaptionError, match="the command is empty"):
        write_captions(read_ledger(corpus), corpus, corpus / "texts", " ")
    arguments = ["captions", str(corpus / "texts"), "--out", str(corpus), "--command"]
    assert main([*arguments, "no-such-program {}"]) == 2
    assert "cannot run no-such-program: No such file" in capsys.readouterr().err
    (corpus / "empty").touch(mode=0o755)
    assert main([*arguments, str(corpus / "empty")]) == 2
    assert "empty: Exec format error" in capsys.readouterr().err
    assert main([*arguments, "false"]) == 1
    assert capsys.readouterr().err.count("exit code 1") == 4
