"""Verify: whether a result was scored under a known protocol, against the frames at hand."""

from __future__ import annotations

from aa_eval.errors import ResultError
from aa_eval.layout import VideoFolder
from aa_eval.measures import Measures
from aa_eval.pairing import PROBLEMS, make_pairs
from aa_eval.protocol import list_protocols, read_protocol
from aa_eval.result import Result
from aa_eval.scoring import PIXELS, score_video


def known_protocol_hashes() -> dict[str, str]:
    """Protocol name -> hash, of the protocols of this version of the package."""
    return {name: read_protocol(name).hash for name in list_protocols()}


def require_known_protocol(result: Result) -> None:
    """Refuse a result of a protocol that this version does not have, or whose content differs.

    Raises:
        ResultError: no protocol has the result's name and hash.
    """
    hashes = known_protocol_hashes()
    if hashes.get(result.protocol) == result.protocol_hash:
        return
    known = f"its hash here is {hashes[result.protocol][:12]}" if result.protocol in hashes else (
        f"there are {', '.join(hashes)}"
    )  # fmt: skip
    raise ResultError(
        f"'{result.method}' was scored under {result.protocol} ({result.protocol_hash[:12]}), "
        f"which no protocol here is: {known}; score it anew with this version of aa-eval"
    )


def verify_references(result: Result, references: VideoFolder) -> int:
    """Decode the references again and hold them to the hashes in the result.

    Returns:
        How many videos were held.

    Raises:
        ResultError: the protocol is unknown, a video is missing, or its frames are others.
    """
    require_known_protocol(result)
    pairs, _ = make_pairs(None, references, frozenset(PROBLEMS))
    measures = Measures([], "cpu")
    found = {}
    for pair in pairs:
        if pair.video_id in result.references:
            digest = score_video(pair, [], measures, None)[PIXELS]
            assert not isinstance(digest, str)  # pixels have a digest or raise
            found[pair.video_id] = digest.tobytes().hex()
    for video_id, expected in result.references.items():
        if video_id not in found:
            raise ResultError(f"{references.path}: reference '{video_id}' of the result is missing")
        if found[video_id] != expected:
            raise ResultError(
                f"{references.path}: '{video_id}' has other frames ({found[video_id][:12]}) than "
                f"the result was scored against ({expected[:12]})"
                + (f"; it was scored with {result.overrides[0]}" if result.overrides else "")
            )
    return len(found)
