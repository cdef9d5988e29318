"""Is a folder a checkpoint? Answered without torch, so that a wrong path is said at once."""

from __future__ import annotations

from pathlib import Path

from aa_model.errors import CheckpointError

MODEL_INDEX = "model_index.json"  # of diffusers' layout


def refuse_other_folders(folder: Path) -> None:
    """Refuse a folder that is neither a checkpoint of ours nor one in diffusers' layout.

    Raises:
        CheckpointError: it is not there, or lacks the file that names its parts.
    """
    if not any((folder / name).is_file() for name in ("config.json", MODEL_INDEX)):
        lack = "it has no config.json" if folder.is_dir() else "the folder does not exist"
        raise CheckpointError(f"{folder} is not a checkpoint: {lack}; give one that aa-train wrote")
