"""A CSV file of one row per step that was looked at, such as probes or the held-out loss."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from aa_datasets.atomic_file import replace_file


def write_row(path: Path, step: int, values: Mapping[str, str]) -> None:
    """Add a row; rows of this step and later ones are of before the run went back, and go."""
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    rows = [row for row in rows if int(row["step"]) < step]
    rows.append({"step": str(step), **values})
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["step", *values])
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, table.getvalue().encode())
