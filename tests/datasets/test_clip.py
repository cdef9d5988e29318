from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_datasets.clip import Clip
from aa_datasets.errors import ClipError

clips = st.builds(
    Clip,
    clip_id=st.text("abc019_-", min_size=1),
    source_id=st.text(),
    source=st.text(),
    licence=st.text(),
    start_s=st.floats(0, 1e6),
    end_s=st.floats(0, 1e6),
    fps=st.floats(1, 120),
    size_hw=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    num_frames=st.integers(1, 10**6),
    synthetic=st.booleans(),
    pose_from=st.text(),
    split=st.sampled_from(("train", "test")),
    text_px=st.lists(st.tuples(*[st.integers(0, 999)] * 4), max_size=3).map(tuple),
)


def test_a_clip_without_text_is_written_as_before_there_was_the_field() -> None:
    row = Clip("a", "b", "c", "MIT", 0, 1, 24, (8, 8), 2, False, "x", "train").to_json()
    assert "text_px" not in row


@given(clips)
def test_json_text_and_back_is_the_identity(clip: Clip) -> None:
    assert Clip.from_json(json.loads(json.dumps(clip.to_json()))) == clip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": "24"}, r"Expected `float`, got `str` - at `\$\.fps`"),
        ({"size_hw": [8]}, r"length 2.* at `\$\.size_hw`"),
        ({"num_frames": 2.5}, r"Expected `int`.* at `\$\.num_frames`"),
        ({"mood": "calm"}, "clip a has a field 'mood': it was written by a newer version"),
    ],
)
def test_a_record_of_other_fields_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    row = Clip("a", "b", "c", "MIT", 0, 1, 24, (8, 8), 2, False, "x", "train").to_json()
    with pytest.raises(ClipError, match=message):
        Clip.from_json({**row, **change})
    del row["licence"]
    with pytest.raises(ClipError, match="missing required field `licence`"):
        Clip.from_json(row)
