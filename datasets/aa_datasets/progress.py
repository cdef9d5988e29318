"""Progress of long work: a bar on a terminal; in a log one line at a time, every 30 seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from tqdm import tqdm

T = TypeVar("T")

LOG_INTERVAL_S = 30.0


class _LogLines(tqdm):  # type: ignore[type-arg]
    """Prints each state as a line of its own instead of redrawing one line."""

    _shown: float | None = None

    @property
    def format_dict(self) -> dict[str, Any]:
        """What `bar_format` may name: tqdm's fields, and `s`, the ending of the unit's plural."""
        counted = self.n if self.total is None else self.total
        return {**super().format_dict, "s": "" if counted == 1 else "s"}

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.n != self._shown:
            print(msg or str(self), file=self.fp, flush=True)
            self._shown = self.n

    def close(self) -> None:
        if not self.disable:
            self.display()
            self.disable = True


def progress(
    items: Iterable[T] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    **options: Any,
) -> tqdm[T]:
    """Iterate over `items` and show how far it is, on stderr.

    Without `items`, call `update(n)` of the object that is returned, and close it or use `with`.

    Args:
        desc: what is done, such as "survey".
        unit: of what is counted, in the singular, such as "clip".
        total: how many there are, if `items` has no length.
        options: further arguments of tqdm.
    """
    shown: dict[str, Any] = {"desc": desc, "unit": unit, "total": total, "file": sys.stderr}
    if sys.stderr.isatty():
        return cast("tqdm[T]", tqdm(items, **shown, **options))
    every_s: dict[str, Any] = {
        "mininterval": LOG_INTERVAL_S,
        "maxinterval": LOG_INTERVAL_S,
        "miniters": 1,
    }
    line = "{desc}: {n_fmt}/{total_fmt} {unit}{s}, {elapsed} elapsed, {remaining} left"
    return cast("tqdm[T]", _LogLines(items, bar_format=line, **shown, **every_s, **options))
