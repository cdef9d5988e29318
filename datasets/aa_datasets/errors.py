"""What can go wrong in this room.

DatasetError                a sentence for the user: what was found, what was expected, what to do
├── VideoError              a video that cannot be read as what it claims to be
│   └── KilledDecodeError   the decoder was killed: the file, or a busy machine
├── ClipError               a clip's record that lacks a field, or has one of another type
├── PoseError               keypoints of another joint table, length or shape
├── ShardError              a shard that is missing, truncated, altered or not ours
├── LatentsError            latents next to a shard that are absent, altered or of other encoders
└── SplitError              clips that a benchmark's split does not allow, or that it lacks
"""


class DatasetError(ValueError):
    """Base of this package's errors; commands print its message as one line."""


class VideoError(DatasetError):
    """A video is empty, truncated, corrupt, or not as long as its record says."""


class KilledDecodeError(VideoError):
    """A decoder was killed, for its time or by the system. That may be the machine's fault."""


class ClipError(DatasetError):
    """A clip's record lacks a field, or has one that is unknown or of another type."""


class PoseError(DatasetError):
    """A pose has another joint table, length or shape than the project's."""


class ShardError(DatasetError):
    """A shard is missing, truncated, altered, or holds members that we do not know."""


class LatentsError(DatasetError):
    """Latents next to a shard are missing, altered, or of another shard, encoder or size."""


class SplitError(DatasetError):
    """Clips of a benchmark's test split where none may be, or a test video not there once."""
