"""Templates and scripts of the pages, read from page/ in this package."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from aa_eval.errors import counted
from aa_leaderboard.published import package_text


def page_template(name: str) -> Template:
    """A template of page/, which escapes what is put into it."""
    environment = Environment(
        loader=PackageLoader("aa_leaderboard", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["counted"] = counted
    return environment.get_template(name)


def page_script(*names: str) -> str:
    """Scripts of page/ as one, in a scope of their own."""
    parts = "\n".join(package_text(f"page/{name}") for name in names)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def script_hash(script: str) -> str:
    """What the page's policy allows to run: the base64 of the script's sha256."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
