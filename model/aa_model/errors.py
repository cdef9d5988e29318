"""What can go wrong in this room.

ModelError                  a sentence for the user: what was found, what was expected, what to do
├── ConfigError             a preset or a stored configuration that contradicts itself
├── CheckpointError         a checkpoint that is missing, incomplete, altered or of another network
├── ReferenceLost           a spatial attention layer did not read the reference image's features
└── TrainingDiverged        the loss is not a number any more
"""


class ModelError(ValueError):
    """Base of this package's errors; commands print its message as one line."""


class ConfigError(ModelError):
    """A preset, or a configuration read from a checkpoint, that cannot be built."""


class CheckpointError(ModelError):
    """A checkpoint is missing, incomplete, altered, or belongs to another network."""


class ReferenceLost(ModelError):  # noqa: N818  (it names what happened, as in StopIteration)
    """A layer ran without the reference: something replaced its attention processor."""


class TrainingDiverged(ModelError):  # noqa: N818  (it names what happened)
    """The loss became NaN or infinite; the state of the last good step is kept."""
