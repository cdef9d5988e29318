"""Commands that look at a corpus, and help, load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["status"], ["why"]]
)
def test_light_commands_load_no_model_and_arrays_for_the_ledger_alone(
    words: list[str], tmp_path: Path
) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")):
        pass
    commands = {
        "status": ["status", "--out", str(tmp_path)],
        "why": ["why", "x", "--out", str(tmp_path)],
    }
    heavy = {"torch", "cv2", "av", "ray", "pandas", "onnxruntime", "ai_edge_litert"}
    if words[0] not in commands:  # a ledger's checks are arrays
        heavy.add("numpy")
    script = f"""
import sys
from aa_curation.cli.main import main
main({commands.get(words[0], words)!r})
sys.exit(len({heavy} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
