"""TOML and JSON into this package's dataclasses: every field's type is checked, none is ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def parse(raw: Any, kind: type[T]) -> T:
    """A dataclass from what a TOML or JSON reader returned.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it.
    """
    parsed = msgspec.convert(raw, kind)
    for name in _unknown(raw, parsed):
        raise ValueError(f"unknown field: {name}")
    return parsed


def _unknown(raw: Any, parsed: Any, where: str = "") -> Iterator[str]:
    """Names in `raw` that the dataclasses of `parsed` do not have; msgspec passes over them."""
    if is_dataclass(parsed):
        known = {field.name for field in fields(parsed) if field.compare}
        yield from (where + name for name in raw.keys() - known)
        parsed = {name: getattr(parsed, name) for name in raw.keys() & known}
    if isinstance(raw, dict):
        for name, value in raw.items():
            if name in parsed:
                yield from _unknown(value, parsed[name], f"{where}{name}.")
    elif isinstance(raw, list):
        for index, (value, of_parsed) in enumerate(zip(raw, parsed, strict=True)):
            yield from _unknown(value, of_parsed, f"{where}{index}.")
