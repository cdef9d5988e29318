"""For the API pages: doctests inside of docstrings are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^([ ]*)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


def fence_doctests(text: str) -> str:
    """Put a fence around every run of lines that starts with `>>>` and ends at an empty one."""
    return _DOCTEST.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


class FenceDoctests(griffe.Extension):
    """Called by griffe (mkdocs.yml) for everything that it reads."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = fence_doctests(obj.docstring.value)
