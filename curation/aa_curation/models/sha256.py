"""Weights are what the recipe or the code names: their content's sha256 says so."""

from __future__ import annotations

import hashlib

from aa_curation.errors import WeightsError


def verified(content: bytes, name: str, sha256: str, remedy: str) -> bytes:
    """The content, if it is the one that is named.

    Args:
        name, remedy: for the message: whose content it is, and what to do about another.

    Raises:
        WeightsError: it is another.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{name} is unavailable: its sha256 is {found[:16]}..., expected {sha256[:16]}...: "
            f"{remedy}"
        )
    return content
