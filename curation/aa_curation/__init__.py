"""From source videos to pose-annotated WebDataset shards, with a reason for every clip left out.

    from aa_curation import Local, run

    ledger = run("default", ["videos"], "corpus", Local(), licence="my own")
    print(ledger)  # the funnel; ledger.to_frame() is a pandas frame of all decisions

Names below are imported when they are first used: `import aa_curation` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aa_curation.check import Check as Check
    from aa_curation.check import Drop as Drop
    from aa_curation.check import at_least as at_least
    from aa_curation.check import at_most as at_most
    from aa_curation.crawl.policy import FetchPolicy as FetchPolicy
    from aa_curation.errors import CurationError as CurationError
    from aa_curation.executors.local import Local as Local
    from aa_curation.executors.ray_executor import Ray as Ray
    from aa_curation.executors.run import run as run
    from aa_curation.ledger.file import read_ledger as read_ledger
    from aa_curation.ledger.ledger import Ledger as Ledger
    from aa_curation.recipe import Canonical as Canonical
    from aa_curation.recipe import Recipe as Recipe
    from aa_curation.recipe import load_recipe as load_recipe
    from aa_curation.sources.source_list import Source as Source
    from aa_curation.sources.source_list import read_sources as read_sources

_MODULES = {
    "check": ("Check", "Drop", "at_least", "at_most"),
    "crawl.policy": ("FetchPolicy",),
    "errors": ("CurationError",),
    "executors.local": ("Local",),
    "executors.ray_executor": ("Ray",),
    "executors.run": ("run",),
    "ledger.file": ("read_ledger",),
    "ledger.ledger": ("Ledger",),
    "recipe": ("Canonical", "Recipe", "load_recipe"),
    "sources.source_list": ("Source", "read_sources"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
