"""What can go wrong in this room.

EvalError                   a sentence for the user: what was found, what was expected, what to do
├── VideoError              a video or frame that cannot be read as what it claims to be
├── PairingError            predictions and references that do not belong together, frame for frame
├── ProtocolError           a protocol that does not exist, or whose file cannot be carried out
├── WeightsUnavailable      a weight that is missing or altered: its metrics are unavailable
├── MetricUnavailable       a metric that has no value on this input, with the reason
└── ResultError             a result file that is malformed or holds what no evaluation wrote
"""


class EvalError(ValueError):
    """Base of this package's errors; commands print its message as one line."""


class VideoError(EvalError):
    """A video is empty, truncated, corrupt, misnumbered, or of another kind than it claims."""


class PairingError(EvalError):
    """Predictions and references differ in videos, frames, size, rate, channels or bit depth."""


class ProtocolError(EvalError):
    """A protocol is unknown, or its file is malformed."""


class WeightsUnavailable(EvalError):  # noqa: N818 - a state to report, not a mistake
    """A weight is missing, or its content is not what its sha256 says."""


class MetricUnavailable(EvalError):  # noqa: N818 - as above
    """A metric has no value on this input; never zero, never a guess in its place."""


class ResultError(EvalError):
    """A result file is malformed, altered or not finite."""


def counted(number: int, noun: str) -> str:
    """A number and what it counts: "1 video", "2 videos"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
