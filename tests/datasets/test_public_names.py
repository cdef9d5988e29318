"""What `from aa_datasets import ...` offers, and that it stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aa_datasets

PUBLIC = {
    "Augmentation", "Batch", "Clip", "DatasetError", "FrameBatch", "LoaderConfig", "Person",
    "Pose", "PoseEstimator", "PoseTracker", "Puppet", "ShardLoader", "ShardSample", "clips_frame",
    "draw_pose", "encode_canonical", "export_for_trainer",
    "find_shards", "iter_foreign_frames", "make_loader",
    "make_pose", "probe_video", "read_canonical", "read_pose", "read_record", "read_shards",
    "render_puppet", "render_puppets", "verify_shard", "write_pose", "write_shard",
}  # fmt: skip


def test_the_public_names_are_these_and_each_is_documented() -> None:
    assert set(aa_datasets.__all__) == set(dir(aa_datasets)) == PUBLIC
    for name in PUBLIC:
        exported = getattr(aa_datasets, name)
        assert exported.__name__ == name
        assert exported.__doc__
        assert not exported.__doc__.startswith(f"{name}(")  # what a dataclass writes of itself


def test_type_checkers_see_the_same_names() -> None:
    source = Path(aa_datasets.__file__).read_text()
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {
        (node.module, alias.name, alias.asname)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(getattr(aa_datasets, n).__module__, n, n) for n in PUBLIC}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'make_looder'"):
        aa_datasets.make_looder  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "av", "decord", "numpy", "webdataset"}
    script = f"import sys, aa_datasets; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
