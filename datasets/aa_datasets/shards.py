"""Shards: clips in WebDataset tars that are written atomically, and their readers.

A clip is three members: `<clip_id>.meta.json` (the Clip), `<clip_id>.mp4` (canonical video) and
`<clip_id>.pose.npz` (the Pose). The commit record of `x.tar` is `x.json`: the tar's sha256, and the
offset, length and CRC-32 of every member, which locate damage. A shard without a record was never
finished; one that differs from its record was altered. The same clips always give the same bytes.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias, TypeVar, cast, get_args

import msgspec

from aa_datasets.atomic_file import replace_file, replacing, sha256_of_file
from aa_datasets.clip import Clip
from aa_datasets.errors import ClipError, PoseError, ShardError
from aa_datasets.pose import Pose, read_pose, write_pose

# Only these are ever read; a `.pyd`, say, which `webdataset` unpickles, is refused.
Kind: TypeAlias = Literal["meta.json", "mp4", "pose.npz"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
Paths: TypeAlias = str | Path | Iterable[str | Path]


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One clip as stored in a shard.

    Attributes:
        clip: its record.
        mp4: the canonical video, see `read_canonical`.
        pose: of the clip's frames.
    """

    clip: Clip
    mp4: bytes
    pose: Pose


class Member(NamedTuple):
    """Where a member is in its shard, in bytes; the oldest records have no CRC-32."""

    offset: int
    length: int
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """Where one clip is in its shard."""

    clip: Clip
    members: dict[Kind, Member]


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """The commit record of a shard."""

    name: str
    sha256: str
    num_bytes: int
    clips: tuple[ClipEntry, ...]


def write_shard(path: Path | str, samples: Iterable[ShardSample]) -> ShardRecord:
    """Write samples, sorted by clip id, as `path` (.tar) and its record; atomically, record last.

    Raises:
        ShardError: a clip id twice, or with characters that WebDataset keys do not carry; or a
            pose of another length than its clip.
    """
    path = Path(path)
    ordered = sorted(samples, key=lambda s: s.clip.clip_id)
    clips = [sample.clip for sample in ordered]
    _check_ids(path.name, [clip.clip_id for clip in clips])
    for sample in ordered:
        _check_length(path.name, sample.clip, sample.pose)
    record_path = path.with_suffix(".json")
    with replacing(path) as file:
        # By tarfile and not by webdataset's TarWriter, whose bytes these are: that imports torch,
        # 470 MiB in each worker of a curation.
        with tarfile.open(fileobj=file, mode="w|") as tar:
            for sample in ordered:
                pose_npz = io.BytesIO()
                write_pose(pose_npz, sample.pose)
                meta = json.dumps(sample.clip.to_json(), sort_keys=True).encode()
                for suffix, content in (
                    ("meta.json", meta),
                    ("mp4", sample.mp4),
                    ("pose.npz", pose_npz.getvalue()),
                ):
                    member = _member(f"{sample.clip.clip_id}.{suffix}", content)
                    tar.addfile(member, io.BytesIO(content))
        file.flush()
        written = Path(file.name)
        record = ShardRecord(
            name=path.name,
            sha256=sha256_of_file(written),
            num_bytes=written.stat().st_size,
            clips=_index(written, clips),
        )
        record_path.unlink(missing_ok=True)  # never an old record next to a new tar
    text = json.dumps(_record_to_json(record), indent=1, sort_keys=True)
    replace_file(record_path, text.encode())
    return record


def _member(name: str, content: bytes) -> tarfile.TarInfo:
    """Everything that varies between runs is pinned: time, owner, mode."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o644, 0
    return member


def latents_of(path: Path) -> tuple[Path, Path]:
    """Where the latents of a shard (.tar) lie, and their record."""
    return path.with_suffix(".latents.npy"), path.with_suffix(".latents.json")


def remove_latents(path: Path) -> None:
    """Delete the latents of a shard that changes or goes: they show the same frames."""
    for place in reversed(latents_of(path)):  # the record first: without it, latents are unfinished
        place.unlink(missing_ok=True)


def _check_ids(name: str, clip_ids: Sequence[str]) -> None:
    for clip_id in clip_ids:
        if not clip_id or set(clip_id) - set("abcdefghijklmnopqrstuvwxyz0123456789_-"):
            raise ShardError(f"clip id {clip_id!r}: use a-z, 0-9, _ and - only")
    for clip_id, following in itertools.pairwise(clip_ids):
        if clip_id == following:
            raise ShardError(f"{name}: clip {clip_id} is given twice")


def _check_length(name: str, clip: Clip, pose: Pose) -> None:
    if pose.num_frames != clip.num_frames:
        raise ShardError(
            f"{name}: clip {clip.clip_id} has {clip.num_frames} frames, its pose "
            f"{pose.num_frames}: find the poses of this clip again"
        )


def _index(path: Path, clips: Sequence[Clip]) -> tuple[ClipEntry, ...]:
    members: dict[str, dict[Kind, Member]] = {clip.clip_id: {} for clip in clips}
    with path.open("rb") as file:
        for (clip_id, kind), (offset, length) in _places(path).items():
            crc32 = zlib.crc32(_read(file, offset, length))
            members[clip_id][kind] = Member(offset, length, crc32)
    return tuple(ClipEntry(clip, members[clip.clip_id]) for clip in clips)


def _places(path: Path) -> dict[tuple[str, Kind], tuple[int, int]]:
    """(clip id, kind) -> (offset, length) of every member, by the tar's own headers."""
    with tarfile.open(path, "r:") as tar:
        parted = [(member.name.partition("."), member) for member in tar]
        return {(key, cast(Kind, kind)): (m.offset_data, m.size) for (key, _, kind), m in parted}


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def find_shards(paths: Paths) -> list[Path]:
    """Find the .tar files that are named, or are in a named folder or corpus; sorted.

    Args:
        paths: .tar files, folders of them, or folders that `aa-curate run` wrote.

    Raises:
        ShardError: one is not there, or a folder holds none.
    """
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if not path.is_dir():
            if not path.exists():
                raise _no_shard(path)
            found.append(path)
            continue
        folder = path / "shards" if (path / "shards").is_dir() else path
        inside = [tar for tar in folder.glob("*.tar") if not tar.name.startswith(".")]
        if not inside:
            raise ShardError(
                f"{path} holds no .tar: give shards, or the --out of a finished `aa-curate run`"
            )
        found += inside
    return sorted(found)


def _no_shard(path: Path) -> ShardError:
    return ShardError(f"no shard {path}: give .tar files written by `aa-curate run`")


def read_record(path: Path | str) -> ShardRecord:
    """Read the commit record of the shard at `path` (.tar); compares the tar's length with it.

    Raises:
        ShardError: the tar or its record is missing, or does not match the other in length.
    """
    path = Path(path)
    record = _read_record_as(path, ShardRecord)
    for entry in record.clips:
        _check_members(path, entry, record.num_bytes)
    return record


class _ClipHead(msgspec.Struct, gc=False):
    clip_id: str
    num_frames: int
    split: str
    size_hw: tuple[int, int]


class _EntryHead(msgspec.Struct, gc=False):
    clip: _ClipHead


class _Heads(msgspec.Struct):
    name: str
    num_bytes: int
    clips: list[_EntryHead]


class _RawEntries(msgspec.Struct):
    name: str
    num_bytes: int
    clips: list[msgspec.Raw]


class ClipPlace(NamedTuple):
    """A clip of a shard as `read_places` lists it: what a loader needs to know of all clips."""

    shard: Path
    number: int
    clip_id: str
    num_frames: int
    split: str
    size_hw: tuple[int, int]


def read_places(path: Path, *, remote: bool = False) -> list[ClipPlace]:
    """List the clips of the shard at `path` (.tar) without reading the tar.

    Parses the few fields of its record that it gives: 10,000 shards take about as long as opening
    their files. `read_clip` checks the rest.

    Args:
        remote: the tar itself may not be there yet.

    Raises:
        ShardError: as `read_record`.
    """
    clips = [entry.clip for entry in _read_record_as(path, _Heads, remote=remote).clips]
    return [
        ClipPlace(path, n, c.clip_id, c.num_frames, c.split, c.size_hw) for n, c in enumerate(clips)
    ]


def read_clip(place: ClipPlace) -> tuple[ClipEntry, ShardSample]:
    """Read one clip of a shard by byte range, and its entry in the record.

    Raises:
        ShardError: as `read_record` and `read_entry`.
    """
    record = _read_record_as(place.shard, _RawEntries)
    try:
        entry = msgspec.json.decode(record.clips[place.number], type=ClipEntry)
    except (msgspec.DecodeError, IndexError) as error:
        raise ShardError(f"{place.shard.stem}.json is not a shard record: {error}") from error
    _check_members(place.shard, entry, record.num_bytes)
    return entry, read_entry(place.shard, entry)


_Record = TypeVar("_Record", ShardRecord, _Heads, _RawEntries)


def _read_record_as(path: Path, kind: type[_Record], *, remote: bool = False) -> _Record:
    record_path = path.with_suffix(".json")
    if not remote and not path.is_file():
        raise _no_shard(path)
    if path.suffix != ".tar":
        raise ShardError(f"{path.name} is not a shard: give .tar files written by `aa-curate run`")
    if not record_path.is_file():
        raise ShardError(
            f"{path.name} has no record {record_path.name}: it was not finished; "
            "run the same `aa-curate run` again to resume"
        )
    try:
        record = msgspec.json.decode(record_path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ShardError(f"{record_path.name} is not a shard record: {error}") from error
    found = record.num_bytes if remote else path.stat().st_size
    if found != record.num_bytes:
        raise ShardError(
            f"{path.name} is damaged: its record{_of_another(path, record.name)} says "
            f"{record.num_bytes} bytes, found {found} "
            f"(differs from byte {min(found, record.num_bytes)} on): copy or build it again"
        )
    return record


def _check_members(path: Path, entry: ClipEntry, num_bytes: int) -> None:
    for kind, (offset, length, _) in entry.members.items():
        if not 0 <= offset <= offset + length <= num_bytes:
            raise ShardError(
                f"{path.stem}.json is not a shard record: {entry.clip.clip_id}.{kind} at "
                f"bytes {offset} to {offset + length} of {num_bytes}"
            )


def _of_another(path: Path, name: str) -> str:
    return "" if name == path.name else f", which is of {name},"


def verify_shard(path: Path | str) -> ShardRecord:
    """Compare a shard's sha256 and its own headers with its record; reads all of it.

    Raises:
        ShardError: as `read_record`, or shard or record was altered.
    """
    path = Path(path)
    record = read_record(path)
    found = sha256_of_file(path)
    if found != record.sha256:
        raise ShardError(
            f"{path.name} is altered {_first_damage(path, record)}: its record"
            f"{_of_another(path, record.name)} says sha256 {record.sha256[:12]}…, "
            f"found {found[:12]}…: copy or build it again"
        )
    recorded = {
        (e.clip.clip_id, kind): m[:2] for e in record.clips for kind, m in e.members.items()
    }
    for (clip_id, kind), (offset, length) in _places(path).items():
        if recorded.pop((clip_id, kind), None) != (offset, length):
            raise ShardError(
                f"{path.name} holds {clip_id}.{kind} at byte {offset}, its record says otherwise: "
                "build it again"
            )
    for (clip_id, kind), (offset, _) in recorded.items():
        raise ShardError(
            f"{path.name} holds no {clip_id}.{kind} at byte {offset}, as its record says: "
            "build it again"
        )
    return record


def _first_damage(path: Path, record: ShardRecord) -> str:
    """Where the first member is that differs from the record."""
    places = sorted(
        (m, e.clip.clip_id, kind) for e in record.clips for kind, m in e.members.items()
    )
    with path.open("rb") as file:
        for place, clip_id, kind in places:
            if place.crc32 is None:
                return "somewhere"
            if place.crc32 != zlib.crc32(_read(file, place.offset, place.length)):
                end = place.offset + place.length - 1
                return f"in bytes {place.offset} to {end}, {clip_id}.{kind}"
    return "between its members"


def read_entry(path: Path, entry: ClipEntry) -> ShardSample:
    """Read one clip of a shard by byte range.

    Raises:
        ShardError: a member is missing, cut short, or its bytes are not what it should hold.
    """
    clip_id = entry.clip.clip_id
    missing = set(_KINDS) - set(entry.members)
    if missing:
        raise ShardError(f"{path.name}: clip {clip_id} lacks {', '.join(sorted(missing))}")
    with path.open("rb") as file:
        content = {}
        for kind in _KINDS:
            offset, length, crc32 = entry.members[kind]
            content[kind] = _read(file, offset, length)
            if len(content[kind]) != length:
                raise ShardError(
                    f"{path.name} ends at byte {offset + len(content[kind])} inside "
                    f"{clip_id}.{kind}: copy or build it again"
                )
            if crc32 is not None and crc32 != zlib.crc32(content[kind]):
                raise ShardError(
                    f"{path.name}: clip {clip_id} at byte {offset} is altered: the CRC-32 of its "
                    f"{kind} is not that of its record: copy or build it again"
                )
    try:
        pose = read_pose(content["pose.npz"])
        clip = Clip.from_json(msgspec.json.decode(content["meta.json"]))
    except (PoseError, ClipError, msgspec.DecodeError) as error:
        raise ShardError(
            f"{path.name}: clip {clip_id} at byte {entry.members['meta.json'].offset} is altered: "
            f"{error}"
        ) from error
    if clip != entry.clip:
        raise ShardError(f"{path.name}: clip {clip_id} is not the one that its record describes")
    _check_length(path.name, clip, pose)
    return ShardSample(clip, content["mp4"], pose)


def read_shards(paths: Paths) -> Iterator[ShardSample]:
    """Yield all clips of some shards, in clip id order per shard; each shard is verified first.

    Example:
        >>> for sample in read_shards("corpus"):
        ...     frames = read_canonical(sample.mp4)  # uint8 [T, H, W, 3]

    Args:
        paths: as of `find_shards`.
    """
    for path in find_shards(paths):
        for entry in verify_shard(path).clips:
            yield read_entry(path, entry)


def _record_to_json(record: ShardRecord) -> dict[str, object]:
    return {
        **asdict(record),
        "clips": [
            {"clip": entry.clip.to_json(), "members": entry.members} for entry in record.clips
        ],
    }
