"""Clips, poses and shards: what the other rooms hand to each other, and how it is stored.

Names below are imported when they are first used: `import aa_datasets` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aa_datasets.clip import Clip as Clip
    from aa_datasets.errors import DatasetError as DatasetError
    from aa_datasets.export_trainers import export_for_trainer as export_for_trainer
    from aa_datasets.loader.augment import Augmentation as Augmentation
    from aa_datasets.loader.batch import Batch as Batch
    from aa_datasets.loader.batch import FrameBatch as FrameBatch
    from aa_datasets.loader.config import LoaderConfig as LoaderConfig
    from aa_datasets.loader.loader import ShardLoader as ShardLoader
    from aa_datasets.loader.loader import make_loader as make_loader
    from aa_datasets.pose import Pose as Pose
    from aa_datasets.pose import make_pose as make_pose
    from aa_datasets.pose import read_pose as read_pose
    from aa_datasets.pose import write_pose as write_pose
    from aa_datasets.pose_drawing import draw_pose as draw_pose
    from aa_datasets.pose_estimator import Person as Person
    from aa_datasets.pose_estimator import PoseEstimator as PoseEstimator
    from aa_datasets.pose_estimator import PoseTracker as PoseTracker
    from aa_datasets.puppets.corpus import render_puppets as render_puppets
    from aa_datasets.puppets.render import Puppet as Puppet
    from aa_datasets.puppets.render import render_puppet as render_puppet
    from aa_datasets.shards import ShardSample as ShardSample
    from aa_datasets.shards import find_shards as find_shards
    from aa_datasets.shards import read_record as read_record
    from aa_datasets.shards import read_shards as read_shards
    from aa_datasets.shards import verify_shard as verify_shard
    from aa_datasets.shards import write_shard as write_shard
    from aa_datasets.stats import clips_frame as clips_frame
    from aa_datasets.video.canonical import encode_canonical as encode_canonical
    from aa_datasets.video.canonical import read_canonical as read_canonical
    from aa_datasets.video.foreign import iter_foreign_frames as iter_foreign_frames
    from aa_datasets.video.foreign import probe_video as probe_video

_MODULES = {
    "clip": ("Clip",),
    "errors": ("DatasetError",),
    "export_trainers": ("export_for_trainer",),
    "loader.augment": ("Augmentation",),
    "loader.batch": ("Batch", "FrameBatch"),
    "loader.config": ("LoaderConfig",),
    "loader.loader": ("ShardLoader", "make_loader"),
    "pose": ("Pose", "make_pose", "read_pose", "write_pose"),
    "pose_drawing": ("draw_pose",),
    "pose_estimator": ("Person", "PoseEstimator", "PoseTracker"),
    "puppets.corpus": ("render_puppets",),
    "puppets.render": ("Puppet", "render_puppet"),
    "shards": (
        "ShardSample",
        "find_shards",
        "read_record",
        "read_shards",
        "verify_shard",
        "write_shard",
    ),
    "stats": ("clips_frame",),
    "video.canonical": ("encode_canonical", "read_canonical"),
    "video.foreign": ("iter_foreign_frames", "probe_video"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
