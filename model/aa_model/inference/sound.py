"""Copy the sound of a driving video to the generated one."""

from __future__ import annotations

import io
from pathlib import Path

import av

from aa_datasets.video.foreign import probe_video
from aa_model.inference.inputs import LONG_GAP_S, Note


def add_sound(video: bytes, source: Path, note: Note, speed: float = 1.0) -> bytes:
    """`video` (.mp4) with the first sound track of `source` as AAC, as long as the video is.

    A source without sound, with sound that cannot be decoded, played at another speed than 1, or
    with a gap in its pictures, leaves the video as it is.
    """
    out = io.BytesIO()
    with av.open(str(source), "r") as driving, av.open(io.BytesIO(video), "r") as silent:
        if not driving.streams.audio:
            return video
        if speed != 1:
            note(f"{source.name}: no sound, since --fps makes it {speed:.3g} times as fast")
            return video
        if (gap_s := probe_video(source).longest_gap_s) > LONG_GAP_S:
            note(
                f"{source.name}: no sound, since a gap of {gap_s:.1f} s is left out of its pictures"
            )
            return video
        track, picture = driving.streams.audio[0], silent.streams.video[0]
        assert picture.duration is not None
        assert picture.time_base is not None
        end_s = float(picture.duration * picture.time_base)
        try:
            with av.open(out, "w", format="mp4") as made:
                copied = made.add_stream_from_template(picture)
                sound = made.add_stream("aac", rate=track.rate)
                for packet in silent.demux(picture):
                    if packet.dts is not None:
                        packet.stream = copied
                        made.mux(packet)
                for frame in driving.decode(track):
                    if frame.time is not None and frame.time >= end_s:
                        break
                    made.mux(sound.encode(frame))
                made.mux(sound.encode(None))
        except av.FFmpegError as error:
            note(f"{source.name}: its sound is left out, for it cannot be read: {error}")
            return video
    note(f"{source.name}: its sound is kept (--audio drop leaves it out)")
    return out.getvalue()
