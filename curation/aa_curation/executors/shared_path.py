"""Shared paths: on a cluster, what the driver names must be there on every node."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aa_curation.errors import SharedPathError
from aa_curation.sources.source_list import Source

_TIMEOUT_S = 60.0


def check_shared(folder: Path, sources: Sequence[Source]) -> None:
    """Ask every node whether it reads what the driver wrote, can write next to it, and sees a file
    of each folder of sources and their poses.

    Args:
        folder: of the corpus, absolute.
        sources: those with files.

    Raises:
        SharedPathError: a node does not; each is named with what it lacks.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    own = ray.get_runtime_context().get_node_id()
    if all(node["NodeID"] == own for node in nodes):
        return
    files = [path for s in sources for path in (s.path, s.pose_path) if path and path.is_file()]
    # What was fetched lies below the corpus, which is looked at anyway. One file of each folder: a
    # node on which the storage is not mounted may have the folder all the same, empty.
    of_folder = {path.parent: str(path) for path in files if folder not in path.parents}
    token = uuid.uuid4().hex
    probe = folder / f".shared-{token}"
    probe.write_text(token)
    try:
        look = ray.remote(_look)
        answers = {
            node["NodeID"]: look.options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(str(probe), token, sorted(of_folder.values()))
            for node in nodes
        }
        troubles = []
        for node in nodes:
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
            try:
                trouble = ray.get(answers[node["NodeID"]], timeout=_TIMEOUT_S)
            except (GetTimeoutError, RayError) as error:
                trouble = f"does not answer: {type(error).__name__}: {str(error).splitlines()[0]}"
            if trouble:
                troubles.append(f"{name} {trouble}")
    finally:
        for left in folder.glob(f".shared-{token}*"):
            left.unlink()
    if troubles:
        raise SharedPathError(
            f"{folder} is not shared by every node: {'; '.join(troubles)}. Give a path on storage "
            "that all nodes mount, or a cluster of one node"
        )


def _look(probe: str, token: str, sources: list[str]) -> str:
    """What a node lacks; "" if nothing."""
    try:
        if Path(probe).read_text() != token:
            return f"reads another file at {probe}"
        Path(f"{probe}-{os.getpid()}").touch()
    except OSError as error:
        return f"cannot use it: {error}"
    missing = [source for source in sources if not Path(source).is_file()]
    return f"has no {missing[0]}, a source" if missing else ""
