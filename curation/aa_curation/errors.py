"""What can go wrong in this room; that a clip is rejected is no error but a `Drop`.

CurationError               a sentence for the user: what was found, what was expected, what to do
├── SourceError             a list of sources that cannot be read, or a row that may not be used
├── PackageError            a package that should carry a file is missing, or of another version
├── WeightsError            a model file is missing or altered
├── RecipeError             a recipe file that defines no usable RECIPE
└── LedgerError             a ledger that is not ours, of another recipe, or does not add up
"""


class CurationError(ValueError):
    """Base of this package's errors; commands print its message as one line."""


class SourceError(CurationError):
    """A list of sources cannot be read, or one of its rows may not be used."""


class PackageError(CurationError):
    """An installed package is missing, of another version, or lacks a file."""


class WeightsError(CurationError):
    """A model file is missing, or its content is not the one that was checked."""


class RecipeError(CurationError):
    """A recipe cannot be loaded, or its bounds contradict each other."""


class LedgerError(CurationError):
    """A ledger is damaged, belongs to another recipe, or does not add up."""
