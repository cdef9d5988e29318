"""Scripts outside of the packages import only what exists: no test runs those that need a GPU."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    script
    for folder in ("benchmarks", "demo", "examples")
    for script in (ROOT / folder).rglob("*.py")
)


def exists(module: str, name: str) -> bool:
    """Whether `from module import name` works."""
    found = importlib.import_module(module)
    if hasattr(found, name):
        return True
    return hasattr(found, "__path__") and importlib.util.find_spec(f"{module}.{name}") is not None


def names_of(script: Path) -> set[str]:
    """What a script defines, or imports, at its top."""
    found = set()
    for node in ast.parse(script.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            found |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=[str(s.relative_to(ROOT)) for s in SCRIPTS])
def test_every_import_of_a_script_exists(script: Path) -> None:
    absent = []
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            wanted = {alias.name: set[str]() for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "a script has no package to import relatively from"
            wanted = {node.module: {alias.name for alias in node.names}}
        else:
            continue
        for module, names in wanted.items():
            package, neighbour = module.partition(".")[0], script.with_name(f"{module}.py")
            if neighbour.is_file():
                absent += sorted(names - names_of(neighbour))
            elif package.startswith("aa_"):
                absent += sorted(n for n in names if not exists(module, n))
            elif importlib.util.find_spec(package) is None:
                absent.append(module)
    assert not absent
