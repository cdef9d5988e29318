"""Score predicted videos against references, reproducibly and under any published protocol.

>>> import aa_eval
>>> results = aa_eval.evaluate("predictions", "references")  # doctest: +SKIP
>>> results[0].to_frame()  # doctest: +SKIP

Names are imported when they are first used: `import aa_eval` loads neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aa_eval.comparison import compare, why_not_comparable
    from aa_eval.errors import EvalError
    from aa_eval.evaluation import evaluate
    from aa_eval.functional import (
        flicker,
        fvd,
        kvd,
        l1,
        lpips,
        psnr,
        psnr_uint8_overflow,
        ssim,
        ssim_grey_uniform7,
    )
    from aa_eval.metric_module import FrameMetric
    from aa_eval.options import EvaluateOptions
    from aa_eval.protocol import Protocol, list_protocols, read_protocol
    from aa_eval.result import MetricValue, Result, read_result, write_result
    from aa_eval.segments import Drift, drift
    from aa_eval.verify import verify_references
    from aa_eval.videos.benchmark import Benchmark, list_benchmarks, read_benchmark
    from aa_eval.videos.video import Video, read_video

_MODULE_OF = {
    "Benchmark": "videos.benchmark",
    "Drift": "segments",
    "EvalError": "errors",
    "EvaluateOptions": "options",
    "FrameMetric": "metric_module",
    "MetricValue": "result",
    "Protocol": "protocol",
    "Result": "result",
    "Video": "videos.video",
    "compare": "comparison",
    "drift": "segments",
    "evaluate": "evaluation",
    "flicker": "functional",
    "fvd": "functional",
    "kvd": "functional",
    "l1": "functional",
    "list_benchmarks": "videos.benchmark",
    "list_protocols": "protocol",
    "lpips": "functional",
    "psnr": "functional",
    "psnr_uint8_overflow": "functional",
    "read_benchmark": "videos.benchmark",
    "read_protocol": "protocol",
    "read_result": "result",
    "read_video": "videos.video",
    "ssim": "functional",
    "ssim_grey_uniform7": "functional",
    "verify_references": "verify",
    "why_not_comparable": "comparison",
    "write_result": "result",
}

__all__ = [
    "Benchmark",
    "Drift",
    "EvalError",
    "EvaluateOptions",
    "FrameMetric",
    "MetricValue",
    "Protocol",
    "Result",
    "Video",
    "compare",
    "drift",
    "evaluate",
    "flicker",
    "fvd",
    "kvd",
    "l1",
    "list_benchmarks",
    "list_protocols",
    "lpips",
    "psnr",
    "psnr_uint8_overflow",
    "read_benchmark",
    "read_protocol",
    "read_result",
    "read_video",
    "ssim",
    "ssim_grey_uniform7",
    "verify_references",
    "why_not_comparable",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'aa_eval' has no attribute {name!r}")
    return getattr(import_module(f"aa_eval.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
