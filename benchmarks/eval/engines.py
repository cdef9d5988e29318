"""VGG's convolutions under torch and under onnxruntime, in turns, in one process of one thread.

What an option for another engine would gain LPIPS. Prints CPU seconds a frame, ratios, and how far
the layers are apart.

    python benchmarks/eval/engines.py [--side 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from aa_eval.metrics.lpips import LPIPS, make_lpips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = make_lpips("vgg")
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        as_onnx(model, options.side), session_options, providers=["CPUExecutionProvider"]
    )
    frame = torch.rand(1, 3, options.side, options.side) * 2 - 1
    last = frame.contiguous(memory_format=torch.channels_last)
    ways: dict[str, Callable[[], Any]] = {
        "aa-eval: torch, weights laid out once": lambda: model.net(frame),
        "torch": lambda: plain(model, last),
        "onnxruntime": lambda: session.run(None, {"x": frame.numpy()}),
    }
    runs: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for number in range(options.rounds + 1):  # the first prepares kernels
            for way, run in ways.items():
                start = time.process_time()
                run()
                runs[way] += [time.process_time() - start] if number else []
        layers = zip(ways["onnxruntime"](), model.net(frame), strict=True)
        apart = max(float(np.abs(a - b.numpy()).max() / b.abs().max()) for a, b in layers)
    medians = {way: statistics.median(of_way) for way, of_way in runs.items()}
    print(f"VGG-16 up to relu5_3, {options.side} px, CPU seconds a frame")
    for way, value in medians.items():
        print(f"{way:38} {value:7.3f}   {value / next(iter(medians.values())):.2f}")
    print(f"layers are {apart:.1e} apart, of the largest value")


def plain(model: LPIPS, x: torch.Tensor) -> list[torch.Tensor]:
    """The layers by torch's own convolutions."""
    found = []
    for part, pool in zip(model.net.parts, (*model.net.pools, None), strict=True):
        found.append(part(x))
        x = found[-1] if pool is None else torch.nn.functional.max_pool2d(found[-1], *pool)
    return found


def as_onnx(model: LPIPS, side: int) -> bytes:
    """The backbone as an ONNX file with the same five outputs."""
    nodes, weights, outputs, name = [], [], [], "x"
    for part, pool in zip(model.net.parts, (*model.net.pools, None), strict=True):
        for module in part:
            if isinstance(module, torch.nn.Conv2d):
                index = len(weights)
                for kind, tensor in (("w", module.weight), ("b", module.bias)):
                    weights.append(numpy_helper.from_array(tensor.numpy(), f"{kind}{index}"))
                inputs = [name, f"w{index}", f"b{index}"]
                nodes.append(helper.make_node("Conv", inputs, [f"c{index}"], pads=[1] * 4))
                name = f"r{index}"
                nodes.append(helper.make_node("Relu", [f"c{index}"], [name]))
        outputs.append(name)
        if pool is not None:
            sizes = {"kernel_shape": [pool[0]] * 2, "strides": [pool[1]] * 2}
            nodes.append(helper.make_node("MaxPool", [name], [f"p{name}"], **sizes))
            name = f"p{name}"
    shape = [1, 3, side, side]
    graph = helper.make_graph(
        nodes,
        "vgg",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return content


if __name__ == "__main__":
    main()
