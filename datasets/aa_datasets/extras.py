"""Which extra of the toolkit brings what an URL needs."""

from __future__ import annotations

_EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}


def how_to_install(url: str) -> str:
    """What to do where fsspec lacks the package that reads an URL, such as `pip install ...`."""
    extra = _EXTRAS.get(url.partition("://")[0].lower())
    if extra is None:
        return "install that package"
    return f"pip install 'animate-anyone-toolkit[{extra}]'"
