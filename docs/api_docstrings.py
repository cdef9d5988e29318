"""For the API pages: what griffe reads from our docstrings and annotations, made fit for a page."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^([ ]*)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def to_markdown(text: str) -> str:
    """Fence doctests, and escape what looks like an HTML tag, such as <video>.mp4."""
    fenced = _DOCTEST.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
    parts = _CODE.split(fenced)
    parts[::2] = [re.sub(r"<(?=[a-z/])", "&lt;", part) for part in parts[::2]]
    return "".join(parts)


def without_annotated(annotation: Any) -> Any:
    """The type inside of `Annotated[type, ...]`: what follows it is for the command line."""
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated":
        inside = annotation.slice
        return inside.elements[0] if isinstance(inside, griffe.ExprTuple) else inside
    return annotation


class ApiDocstrings(griffe.Extension):
    """Called by griffe (mkdocs.yml) for everything that it reads."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
        if isinstance(obj, griffe.Attribute):
            obj.annotation = without_annotated(obj.annotation)
        if isinstance(obj, griffe.Function):
            for parameter in obj.parameters:
                parameter.annotation = without_annotated(parameter.annotation)
