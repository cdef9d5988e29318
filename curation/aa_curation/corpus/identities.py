"""Who is the same person in several sources, by the faces of a corpus's clips.

Splits keep the clips of one `person` together, but lists seldom name people. A face recogniser of
your choice does: each clip gets the mean embedding of some of its faces, clips whose embeddings are
alike are one person, and so are all clips of a source. The result is a `person` for each source, to
be put into its list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.corpus.near_duplicates import Groups
from aa_curation.ledger.ledger import Ledger
from aa_curation.models.onnx_file import OnnxFile, OnnxModel
from aa_curation.steps.pack_shard import CLIPS
from aa_datasets.pose import FACE, Pose, read_pose
from aa_datasets.progress import progress
from aa_datasets.video.canonical import read_canonical

# Where ArcFace's crops of 112 px have the eyes, the nose and the corners of the mouth.
_TEMPLATE_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]], np.float32
)  # fmt: skip
_CROP_PX = 112
_CHUNK = 1024  # clips that are compared with all others at once


@dataclass(frozen=True, slots=True)
class FaceRecogniser:
    """A model that gives an embedding of a face.

    Attributes:
        file: an ONNX file of the form of ArcFace's: RGB [1, 3, 112, 112], of which pixels are
            (level - 127.5) / 127.5, to one embedding.
        similarity_at_least: cosine of two embeddings from which on they are one person's.
        faces: of a clip, at most.
        side_at_least_px: from the chin to the brows; smaller faces are left out.
    """

    file: OnnxFile
    similarity_at_least: float = 0.5
    faces: int = 8
    side_at_least_px: float = 24.0


def find_identities(
    ledger: Ledger, folder: Path, recogniser: FaceRecogniser, weights: Path | None
) -> dict[str, str]:
    """The person of each source of which a face is seen: `{source_id: name}`. A name is the first
    source id of the person's.

    Args:
        ledger: of the corpus.
        folder: of the corpus, which holds clips/.
        recogniser: the model, and when two faces are one person's.
        weights: the folder of the model's file.

    Raises:
        WeightsError: the model is missing or altered.
    """
    content = recogniser.file.read(weights)
    model = OnnxModel(content, recogniser.file.name, 1)
    owners: list[str] = []
    embeddings: list[NDArray[np.float32]] = []
    accepted = ledger.decisions.where("status = 'accepted' AND clip IS NOT NULL")
    total = ledger.num_of("accepted")
    for row in progress(accepted, desc="faces", unit="clips", total=total):
        clip = row.clip
        assert clip is not None
        path = folder / CLIPS / clip.clip_id
        pose = read_pose(path.with_name(f"{path.name}.pose.npz"))
        found = _embedding(path.with_name(f"{path.name}.mp4"), pose, model, recogniser)
        if found is not None:
            owners.append(clip.source_id)
            embeddings.append(found)
    return same_people(owners, np.array(embeddings), recogniser.similarity_at_least)


def same_people(
    owners: list[str], embeddings: NDArray[np.float32], similarity_at_least: float
) -> dict[str, str]:
    """Group owners of which one embedding is like another's, through any number of others.

    Args:
        owners: whose each embedding is, [N].
        embeddings: of length 1, [N, D].
        similarity_at_least: cosine.

    Returns:
        `{owner: the first owner, by name, of its group}`.
    """
    groups = Groups()
    for start in range(0, len(owners), _CHUNK):
        alike = embeddings[start : start + _CHUNK] @ embeddings.T >= similarity_at_least
        for row, column in np.argwhere(alike):
            groups.join(*sorted((groups.root(owners[start + row]), groups.root(owners[column]))))
    return {owner: groups.root(owner) for owner in sorted(set(owners))}


def _embedding(
    mp4: Path, pose: Pose, model: OnnxModel, recogniser: FaceRecogniser
) -> NDArray[np.float32] | None:
    """The mean embedding of a clip's faces, of length 1; None where none is large enough."""
    points, seen = pose.keypoints_px[:, FACE], np.all(pose.scores[:, FACE] > 0, axis=1)
    heights = np.where(seen, np.ptp(np.nan_to_num(points[..., 1]), axis=1), 0)
    frames = np.flatnonzero(heights >= recogniser.side_at_least_px)
    if not len(frames):
        return None
    chosen = frames[np.linspace(0, len(frames) - 1, recogniser.faces).round().astype(int)]
    chosen = np.unique(chosen)
    pictures = read_canonical(mp4, chosen.astype(np.int64), num_frames=pose.num_frames)
    found = [
        model((aligned_face(picture, points[frame]).astype(np.float32) - 127.5) / 127.5)[0]
        for picture, frame in zip(pictures, chosen, strict=True)
    ]
    units = [each / np.linalg.norm(each) for each in found]
    mean = np.mean(units, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def aligned_face(frame: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """ArcFace's crop, uint8 [112, 112, 3], of a face with iBUG's 68 points in a frame."""
    five = np.stack(
        [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    )
    matrix, _ = cv2.estimateAffinePartial2D(five, _TEMPLATE_PX, method=cv2.LMEDS)
    crop = cv2.warpAffine(frame, matrix, (_CROP_PX, _CROP_PX), flags=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)
