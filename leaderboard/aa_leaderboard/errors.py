"""What can go wrong in this room.

LeaderboardError            a sentence for the user: what was found, what was expected, what to do
├── SubmissionError         a result folder that is malformed, implausible or hostile
├── BoardError              a board folder that is missing, or holds a malformed row
├── NotComparableError      rows that were measured differently were asked to be ranked together
└── StudyError              folders that give no study, or votes that do not belong to one
"""


class LeaderboardError(ValueError):
    """Base of this package's errors; commands print its message as one line."""


class SubmissionError(LeaderboardError):
    """A result folder is malformed, implausible or hostile; nothing of it was taken."""


class BoardError(LeaderboardError):
    """A board folder is missing, or holds a malformed row."""


class NotComparableError(LeaderboardError):
    """Rows that were measured differently were asked to be ranked together."""


class StudyError(LeaderboardError):
    """Folders from which no study can be made, or votes that do not belong to their study."""
