"""The packets of a file's video, listed once, so that a jump into it is known to be exact.

TS, AVI, MPEG and their like have no index, or one that may be wrong: FFmpeg looks for a time stamp
and may land elsewhere, in the middle of a frame, or with other time stamps, since it guesses those
that are missing from what it has read. The list is made by reading the file without decoding. After
a jump every packet is compared with it by content and gets its time stamps: what is decoded from a
key frame on is then what a decode from the start would give.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import VideoError

_TARGETS = 4  # key frames that a jump may land on: stamps of MPEG programs are found a GOP too late
_DELAY = 64  # packets that a decoder may hold back, or more
_UNKNOWN = np.iinfo(np.int64).min  # of a time stamp


class AstrayError(VideoError):
    """A jump did not land where it should."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump to a key frame: the packets from there on, in the order of decoding.

    Attributes:
        first_s: time stamp of the file's first frame, in seconds.
        pts, dts: time stamps, int64 [N] in units of the stream.
        crc32: of the content, uint32 [N].
        targets: which of them may be landed on: the last that precede the span, ascending.
    """

    first_s: float
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    crc32: NDArray[np.uint32]
    targets: tuple[int, ...]

    def packets(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.Packet[av.VideoStream]]:
        """Yield the packets from a target on.

        Raises:
            AstrayError: no target was found, or other packets follow it than in the list.
        """
        place = -1
        for packet in self._landed(container, stream):
            if packet.size:
                crc32 = zlib.crc32(packet)
                if place < 0:
                    place = next(t for t in self.targets if self.crc32[t] == crc32)
                if place == len(self.crc32):
                    return  # it decodes no further than the span needs
                if crc32 != self.crc32[place]:
                    raise AstrayError("another packet follows than where it was read before")
                packet.pts, packet.dts = _known(self.pts[place]), _known(self.dts[place])
                place += 1
            yield packet

    def _landed(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.Packet[av.VideoStream]]:
        wanted = {int(self.crc32[target]) for target in self.targets}
        for target in reversed(self.targets):
            container.seek(int(self.dts[target]), stream=stream)
            for count, packet in enumerate(packets := container.demux(stream)):
                if packet.is_keyframe and zlib.crc32(packet) in wanted:
                    yield packet
                    yield from packets
                    return
                if count > self.targets[-1] + _DELAY:
                    break
        raise AstrayError("no key frame was found where the file was read before")


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """All packets of a video, in the order of decoding.

    Attributes:
        first_s: time stamp of the first frame, in seconds.
        time_base_s: the unit of `pts` and `dts`.
        pts, dts: time stamps, int64 [N].
        crc32: of the content, uint32 [N].
        is_key: whether a frame can be decoded without those before, bool [N].
    """

    first_s: float
    time_base_s: float
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    crc32: NDArray[np.uint32]
    is_key: NDArray[np.bool_]

    @classmethod
    def of(
        cls, first_s: float, time_base_s: float, packets: Iterable[av.Packet[av.VideoStream]]
    ) -> PacketIndex | None:
        """List the packets; None if their times do not rise, as where recordings were joined."""
        rows = [
            (_stamp(packet.pts), _stamp(packet.dts), zlib.crc32(packet), packet.is_keyframe)
            for packet in packets
            if packet.size
        ]
        if not rows:
            return None
        pts, dts, crc32, is_key = (np.array(column) for column in zip(*rows, strict=True))
        if dts[0] == _UNKNOWN or np.any(np.diff(dts) <= 0):
            return None
        return cls(first_s, time_base_s, pts, dts, crc32.astype(np.uint32), is_key)

    def jump(self, before_s: float, end_s: float) -> Jump | None:
        """To the last key frame before `before_s`, for what is shown before `end_s`, both in
        seconds from the first frame; None where only the first precedes."""
        times_s = self.dts * self.time_base_s - self.first_s
        targets = np.flatnonzero(self.is_key & (times_s <= before_s))[-_TARGETS:]
        if not len(targets) or targets[-1] == 0:
            return None
        begin, end = int(targets[0]), int(np.searchsorted(times_s, end_s)) + _DELAY
        part = slice(begin, end)
        places = tuple((targets - begin).tolist())
        return Jump(self.first_s, self.pts[part], self.dts[part], self.crc32[part], places)


def _stamp(value: int | None) -> int:
    return _UNKNOWN if value is None else value


def _known(value: np.int64) -> int | None:
    return None if value == _UNKNOWN else int(value)
