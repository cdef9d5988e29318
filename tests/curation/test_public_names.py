"""What `from aa_curation import ...` offers, and that it stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aa_curation
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead

PUBLIC = {
    "Canonical", "Check", "CurationError", "Drop", "FetchPolicy", "Ledger", "Local", "Ray",
    "Recipe", "Source", "at_least", "at_most", "load_recipe", "read_ledger", "read_sources", "run",
}  # fmt: skip


def test_the_public_names_are_these_and_each_is_documented() -> None:
    assert set(aa_curation.__all__) == set(dir(aa_curation)) == PUBLIC
    for name in PUBLIC:
        exported = getattr(aa_curation, name)
        assert exported.__name__ == name
        assert exported.__doc__
        assert not exported.__doc__.startswith(f"{name}(")  # what a dataclass writes of itself


def test_type_checkers_see_the_same_names() -> None:
    source = Path(aa_curation.__file__).read_text()
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {
        (node.module, alias.name, alias.asname)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(getattr(aa_curation, n).__module__, n, n) for n in PUBLIC}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        aa_curation.rum  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "av", "ray", "numpy", "pandas", "onnxruntime", "ai_edge_litert"}
    script = f"import sys, aa_curation; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


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
