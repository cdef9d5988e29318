"""Ray workers: videos spread over a Ray cluster, where the package ray is installed.

Nothing else of this package needs Ray, and its extra does not install it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aa_eval.errors import EvalError
from aa_eval.protocol import Protocol
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.process_pool import VideoScorer
from aa_eval.scoring.video_scores import VideoScores
from aa_eval.videos.pairing import Pair


def score_on_ray(
    pairs: Sequence[Pair],
    names: Sequence[str],
    protocols: Sequence[Protocol],
    device: str,
    cache: Cache | None,
    address: str,
) -> Iterator[tuple[Pair, VideoScores]]:
    """`score_video` of every pair, in the order in which they finish; longest videos go first.

    A process per CPU of the cluster, of one thread; on "cuda" a process per GPU. Predictions,
    references and the cache lie under the same paths on all nodes, and so do this package and the
    weights.

    Args:
        address: of a running cluster, "auto" for the one that this machine belongs to, or "local"
            for one that is started here and ends with the run.

    Raises:
        VideoError: a frame cannot be decoded.
        EvalError: Ray is not installed, not reached, or a process died.
    """
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
        from ray.util import ActorPool
    except ImportError as error:
        raise EvalError(f"--ray {address}: the package ray is missing: pip install ray") from error
    resource = "GPU" if device.startswith("cuda") else "CPU"
    try:
        # a cluster of our own holds numbers alone: the pages of its dashboard and 30 % of the
        # memory for objects would be for nothing
        own = {"object_store_memory": 100 << 20, "include_dashboard": False}
        ray.init(
            address=address, log_to_driver=False, logging_level="ERROR",
            **(own if address == "local" else {}),
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EvalError(f"--ray {address}: no cluster is reached ({error})") from error
    try:
        there = int(ray.cluster_resources().get(resource, 0))
        if not there:
            raise EvalError(f"--ray {address}: the cluster has no {resource}")
        remote = ray.remote(VideoScorer).options(
            num_cpus=0 if resource == "GPU" else 1,
            num_gpus=1 if resource == "GPU" else 0,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )
        scorers = [
            remote.remote(tuple(names), tuple(protocols), device, cache)
            for _ in range(min(there, len(pairs)))
        ]
        longest_first = sorted(pairs, key=lambda pair: -pair.num_frames)
        pool = ActorPool(scorers)
        by_id = {pair.video_id: pair for pair in pairs}
        for video_id, scores in pool.map_unordered(
            lambda scorer, pair: scorer.score.remote(pair), longest_first
        ):
            yield by_id[video_id], scores
    except RayTaskError as error:
        if isinstance(error.cause, EvalError):
            raise error.cause from None  # without Ray's traceback of the process
        raise
    except RayError as error:
        raise EvalError(
            f"--ray {address}: a process was lost ({type(error).__name__}): run again; finished "
            "videos are in the cache"
        ) from error
    finally:
        ray.shutdown()
