"""What can go wrong in this room; a clip that is rejected is a `Drop`, not an error.

CurationError               a sentence for the user: what was found, what was expected, what to do
├── SourceError             a list of sources that cannot be read, or a row that may not be used
├── PackageError            a package that should carry a file is missing, or of another version
├── WeightsError            a model file is missing or altered
├── RecipeError             a recipe file that defines no usable RECIPE
├── FetchRefusedError       an URL that may not be read or gives no video; carries its Drop
├── FetchOutageError        a host or network in trouble that may pass; the next run tries again
├── SharedPathError         a path of a cluster's run that not all of its nodes have
├── WorkerDiedError         a task killed its worker as often as it was tried: becomes a failed row
├── WorkerStartError        no worker of a cluster could be started
├── CaptionError            a command for captions that cannot be run
└── LedgerError             a ledger that is not ours, of another recipe, or does not add up
"""

from aa_curation.check import Drop


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


class SharedPathError(CurationError):
    """A path that a run on a cluster needs is relative, or not there on every node."""


class CaptionError(CurationError):
    """A command for captions is empty, or cannot be run."""


class LedgerError(CurationError):
    """A ledger is damaged, belongs to another recipe, or does not add up."""


class WorkerDiedError(CurationError):
    """A task killed its worker as often as it was tried."""


class WorkerStartError(CurationError):
    """No worker could be started, as often as it was tried."""


class FetchRefusedError(CurationError):
    """An URL that may not be read, or that gives no video: rejected, for the reason in `drop`."""

    def __init__(self, drop: Drop) -> None:
        super().__init__(drop)
        self.drop = drop

    def __str__(self) -> str:
        return f"{self.drop.reason}: {self.drop.detail}"


class FetchOutageError(CurationError):
    """A host or the network is in trouble that may pass.

    Attributes:
        retry_after_s: how long the host asks to be left alone; 0 if it does not say, infinity where
            only a later run can succeed.
        of_host: whether the host's other files will meet it as well.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0, *, of_host: bool = True) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.of_host = of_host
