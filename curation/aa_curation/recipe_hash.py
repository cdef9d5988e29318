"""The canonical form of a recipe, which its hash is made from: the same in every process.

It holds class names, field names and values, never a memory address or the path of a module, so
that a corpus can be resumed by another process and after our modules have moved.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import math
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import msgspec

from aa_curation.errors import RecipeError

Form = None | bool | int | float | str | list["Form"] | dict[str, "Form"]


def canonical_form(value: object, where: str, leave_out: frozenset[str] = frozenset()) -> Form:
    """Describe a value by what JSON has.

    A dataclass is its class name and fields; a class its name; a function its name, its source,
    what it captures (defaults and closure), and what it reads of its module: constants, and other
    functions with theirs.

    Args:
        where: names the value in errors, such as "pose_filters[1]".
        leave_out: fields of the outermost dataclass that are not described.

    Raises:
        RecipeError: something in it cannot be described; the message says where.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, Enum):
        return {"enum": f"{type(value).__qualname__}.{value.name}"}
    if isinstance(value, tuple | list):
        return [canonical_form(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            str(key): canonical_form(item, f"{where}[{key!r}]")
            for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))
        }
    if isinstance(value, type):
        return {"class": value.__qualname__}
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if f.name not in leave_out]
        form = {name: canonical_form(getattr(value, name), f"{where}.{name}") for name in names}
        return {"class": type(value).__qualname__, **form}
    return _form_of_callable(value, where)


def _form_of_callable(value: object, where: str) -> Form:
    if isinstance(value, functools.partial):
        return {
            "partial": canonical_form(value.func, where),
            "arguments": canonical_form([value.args, value.keywords], f"{where} (partial)"),
        }
    if isinstance(value, MethodType):
        method = canonical_form(value.__func__, where)
        return {"method": method, "of": canonical_form(value.__self__, f"{where} (self)")}
    if isinstance(value, BuiltinFunctionType):
        return {"function": value.__qualname__}
    if isinstance(value, FunctionType):
        functions, constants = _read_of_module(value)
        form, *others = (_form_of_function(function, where) for function in functions)
        if others:
            form["functions"] = list(others)
        if constants:
            form["constants"] = canonical_form(constants, f"{where} ({value.__qualname__})")
        return form
    raise RecipeError(
        f"{where} is a {type(value).__qualname__}, which has no canonical form, so that no later "
        "run could tell whether it has changed: use a frozen dataclass or a plain function"
    )


def _form_of_function(function: FunctionType, where: str) -> dict[str, Form]:
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise RecipeError(
            f"{where} is the function {function.__qualname__}, whose source cannot be read "
            f"({error}): define it in a file"
        ) from error
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    captured = [function.__defaults__, function.__kwdefaults__, cells]
    return {
        "function": function.__qualname__,
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "captured": canonical_form(captured, f"{where} (captured by {function.__qualname__})"),
    }


def _read_of_module(function: FunctionType) -> tuple[list[FunctionType], dict[str, object]]:
    """The function and those of its module that it calls; the constants that all of them read."""
    functions, constants = [function], dict[str, object]()
    for reader in functions:  # which grows
        for name in _names(reader.__code__):
            value = reader.__globals__.get(name)
            if isinstance(value, FunctionType):
                if value.__module__ == function.__module__ and value not in functions:
                    functions.append(value)
            elif isinstance(value, bool | int | float | str | Path | tuple | list | Mapping):
                constants[name] = value
    return functions, constants


def _names(code: CodeType) -> Iterator[str]:
    yield from (name for name in code.co_names if not name.startswith("__"))  # `__file__` moves
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def sha256_of_form(form: Form) -> str:
    """The hash of a canonical form, in hex."""
    return hashlib.sha256(msgspec.json.encode(form, order="sorted")).hexdigest()


def iter_differences(old: Form, new: Form, where: str = "") -> Iterator[str]:
    """Name what differs between two forms, such as "picture_filters[3].sides 20 -> 25".

    A value that another one of the same class replaces is compared field by field.
    """
    if isinstance(old, dict) and isinstance(new, dict) and old.get("class") == new.get("class"):
        for key in [*old, *(key for key in new if key not in old)]:
            name = f"{where}.{key}" if where else key
            yield from iter_differences(old.get(key), new.get(key), name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from iter_differences(one, other, f"{where}[{number}]")
    elif old != new:
        yield f"{where} {_in_short(old)} -> {_in_short(new)}"


def _in_short(form: Form) -> str:
    if isinstance(form, list):
        return f"[{', '.join(map(_in_short, form))}]"
    if isinstance(form, dict):
        names: list[Any] = [form[key] for key in ("class", "function", "path") if key in form]
        return str(names[0]) if names else "{...}"
    return str(form)
