"""Files that lie inside installed packages: found by metadata, so that nothing is imported."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from aa_curation.errors import PackageError


def installed_file(distribution: str, version: str, path: str) -> Path:
    """The file `path` (as in the wheel, with /) of an installed distribution.

    Raises:
        PackageError: not installed, another version, or no such file in it.
    """
    remedy = f"pip install --no-deps {distribution}=={version}"
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        raise PackageError(
            f"the package {distribution} is not installed ({path} is in it): {remedy}"
        ) from None
    if found.version != version:
        raise PackageError(
            f"{distribution} is installed in version {found.version}, expected {version}: {remedy}"
        )
    located = Path(str(found.locate_file(path)))
    if not located.is_file():
        raise PackageError(f"{distribution}=={version} holds no file {path}: {remedy}")
    return located
