"""What can go wrong in this room.

LeaderboardError            a sentence for the user: what was found, what was expected, what to do
├── SubmissionError         a result folder that is malformed, implausible or hostile
├── BoardError              a board folder that is missing, or holds a row that is not one
└── NotComparableError      rows that were measured differently were asked to be ranked together
"""


class LeaderboardError(ValueError):
    """Base of this package's errors; commands print its message as one line."""


class SubmissionError(LeaderboardError):
    """A result folder is malformed, implausible or hostile; nothing of it was taken."""


class BoardError(LeaderboardError):
    """A board folder is missing, or holds a file that is not a measured row."""


class NotComparableError(LeaderboardError):
    """Rows that were measured differently were asked to be ranked together."""
