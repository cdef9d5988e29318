"""WebDataset shards: the videos inside tar files, found and read in place."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aa_eval.errors import VideoError

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class TarMember:
    """One file inside an uncompressed tar.

    Attributes:
        name: as the tar has it.
        key: what pairs it: the last part of the name, up to its first dot.
        offset_bytes, size_bytes: where its content lies in the tar.
    """

    name: str
    key: str
    offset_bytes: int
    size_bytes: int


def is_shard(path: Path) -> bool:
    """Whether a file is named as a shard, compressed ones included."""
    return path.name.lower().endswith(SHARD_SUFFIXES)


def shard_videos(path: Path, suffixes: Collection[str]) -> list[TarMember]:
    """The videos of one shard, in its order; nothing is unpacked.

    A sample's files share a key; its field is what follows the first dot (WebDataset's rule). Its
    video is the one field that is one of `suffixes` without the dot; other fields are not looked
    at. Folders in names do not count.

    Args:
        suffixes: ".mp4", ...

    Raises:
        VideoError: not a tar, compressed, cut off or damaged; a name that leaves the folder, a
            link in place of a video, a sample whose only video is in a field of another name, or
            two videos of one key.
    """
    members: dict[str, TarMember] = {}
    elsewhere: dict[str, str] = {}  # key -> name, of fields such as "pose.mp4"
    for info in _read(path):
        where = f"{path}:{info.name}"
        name = PurePosixPath(info.name)
        if info.isdir():
            continue
        key, _, field = name.name.partition(".")
        if not key or not field.lower().endswith(tuple(s.lstrip(".") for s in suffixes)):
            continue  # hidden files, metadata, poses
        if name.is_absolute() or ".." in name.parts or "\\" in info.name or "\0" in info.name:
            raise VideoError(f"{where}: the name leads out of the shard: expected <video>.mp4")
        if not info.isreg() or info.issparse():
            raise VideoError(f"{where}: is a link or no plain file: pack the video itself")
        if f".{field.lower()}" not in suffixes:
            elsewhere.setdefault(key, info.name)
            continue
        if info.size == 0:
            raise VideoError(f"{where}: empty file (0 bytes): write it again")
        if key in members:
            raise VideoError(
                f"{path}: two videos are called '{key}' ({members[key].name} and {info.name}): "
                "keep one"
            )
        members[key] = TarMember(info.name, key, info.offset_data, info.size)
    for key, found in elsewhere.items():
        if key not in members:
            raise VideoError(
                f"{path}:{found}: WebDataset reads it as field '{found.partition('.')[2]}' of "
                f"'{key}', which has no field mp4: a video's name has one dot, before mp4"
            )
    return list(members.values())


def _read(path: Path) -> list[tarfile.TarInfo]:
    if path.suffix.lower() != ".tar":
        raise VideoError(f"{path}: compressed: videos are read in place: unpack it to a .tar")
    try:
        with tarfile.open(path, "r:") as tar:
            infos = list(tar)
            end = tar.offset
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise VideoError(f"{path}: not a tar, or cut off ({error}): write it again") from error
    # tarfile takes a damaged header, and a file that merely stops, for the archive's end
    with path.open("rb") as file:
        file.seek(end)
        block = file.read(_BLOCK)
    if block != bytes(_BLOCK):
        raise VideoError(
            f"{path}: damaged or cut off at byte {end}, behind {len(infos)} files: a tar ends in a "
            "block of zeros; write it again"
        )
    return infos


def open_member(path: Path, member: TarMember) -> io.BufferedReader:
    """A member of `shard_videos` as a file of its own, for what reads and seeks."""
    return io.BufferedReader(_MemberFile(path, member))


class _MemberFile(io.RawIOBase):
    def __init__(self, path: Path, member: TarMember) -> None:
        self.name = member.name  # PyAV looks at it for the format
        self._file = path.open("rb")
        self._offset, self._size = member.offset_bytes, member.size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: a buffer
        count = max(min(len(buffer), self._size - self._at), 0)
        self._file.seek(self._offset + self._at)
        content = self._file.read(count)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()
