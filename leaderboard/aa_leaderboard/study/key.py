"""The key of a study: which blind clip shows which method; stays with the person who runs it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aa_leaderboard.errors import StudyError

KEY_FILE = "key.json"
SCHEMA = 1


class BlindClip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What hides behind a clip's name on the page."""

    method: str
    video: str
    spoilt: bool


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of key.json.

    Attributes:
        study: names the study in its page and in every vote.
        clips: blind name -> clip.
        trials: name of the trial -> the blind names of its two clips.
    """

    schema: int
    study: str
    question: str
    methods: list[str]
    clips: dict[str, BlindClip]
    trials: dict[str, tuple[str, str]]


def write_key(path: Path, key: Key) -> None:
    """Write key.json."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(key), indent=1) + b"\n")


def read_key(path: Path) -> Key:
    """Read key.json.

    Raises:
        StudyError: it is absent, or was not written by `study make` of this version.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such file: give --key, the key.json of `study make`")
    try:
        key = msgspec.json.decode(path.read_bytes(), type=Key)
    except msgspec.DecodeError as error:
        raise StudyError(f"{path}: not the key of a study ({error})") from error
    if key.schema != SCHEMA:
        raise StudyError(f"{path}: schema is {key.schema}, this aa-leaderboard reads {SCHEMA}")
    return key
