"""Small ONNX files with the true interfaces of YOLOX and DWPose, whose answers can be foretold."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aa_curation.models.onnx_file import OnnxFile

BOX_PX = (48, 40)  # width and height of what the detector finds, in its own pixels


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray],
    into: list[int | str],
    out: dict,
) -> OnnxFile:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, into)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in out.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return OnnxFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def write_yolox(path: Path, side: int = 96) -> OnnxFile:
    """A person is where it is blue: BOX_PX around each cell's middle, objectness its mean blue;
    the middle stride is the surest."""
    nodes, constants, parts = [], {}, []
    constants["blue"] = np.array([0], np.int64)  # BGR
    nodes.append(helper.make_node("Gather", ["images", "blue"], ["plane"], axis=1))
    for stride, sure in ((8, 0.9), (16, 1.0), (32, 0.5)):
        rows = (side // stride) ** 2
        size = [math.log(px / stride) for px in BOX_PX]
        constants[f"box{stride}"] = np.tile(np.array([0.5, 0.5, *size], np.float32), (1, rows, 1))
        constants[f"person{stride}"] = np.tile(np.array([1, 0], np.float32), (1, rows, 1))
        constants[f"shape{stride}"] = np.array([1, rows, 1], np.int64)
        constants[f"sure{stride}"] = np.array([sure / 255], np.float32)
        pooled, flat, objectness = (f"{name}{stride}" for name in ("pooled", "flat", "object"))
        pool = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes += [
            helper.make_node("AveragePool", ["plane"], [pooled], **pool),
            helper.make_node("Reshape", [pooled, f"shape{stride}"], [flat]),
            helper.make_node("Mul", [flat, f"sure{stride}"], [objectness]),
            helper.make_node(
                "Concat",
                [f"box{stride}", objectness, f"person{stride}"],
                [f"rows{stride}"],
                axis=2,
            ),
        ]
        parts.append(f"rows{stride}")
    nodes.append(helper.make_node("Concat", parts, ["output"], axis=1))
    rows = sum((side // stride) ** 2 for stride in (8, 16, 32))
    return _save(path, nodes, constants, [1, 3, side, side], {"output": [1, rows, 7]})


def write_dwpose(
    path: Path,
    size_hw: tuple[int, int] = (64, 48),
    joints: int = 133,
    batch: int | str = 1,
) -> OnnxFile:
    """Head, arms and face are where it is reddest, hips and legs where greenest, the left hand
    where bluest; their scores are 0.9, the right hand's 0.1."""
    height, width = size_hw
    channel = np.zeros(joints, np.int64)
    channel[11:23] = 1
    channel[91:112] = 2
    score = np.full(joints, 0.9, np.float32)
    score[112:] = 0.1
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    gain = (score / ((255 - mean) / std)[channel]).astype(np.float32)
    constants = {
        "channel": channel,
        "gain": gain[None, :, None],
        "columns": np.repeat(np.arange(width), 2),  # SimCC: two bins a pixel
        "rows": np.repeat(np.arange(height), 2),
    }
    nodes = [helper.make_node("Gather", ["images", "channel"], ["planes"], axis=1)]
    for out, axis, bins in (("simcc_x", 2, "columns"), ("simcc_y", 3, "rows")):
        nodes += [
            helper.make_node("ReduceMax", ["planes"], [f"{out}_top"], axes=[axis], keepdims=0),
            helper.make_node("Mul", [f"{out}_top", "gain"], [f"{out}_scaled"]),
            helper.make_node("Gather", [f"{out}_scaled", bins], [out], axis=2),
        ]
    shapes = {"simcc_x": [batch, joints, 2 * width], "simcc_y": [batch, joints, 2 * height]}
    return _save(path, nodes, constants, [batch, 3, height, width], shapes)


def write_classifier(path: Path, side: int = 32, classes: int = 50) -> OnnxFile:
    """A convolution and a matrix, drawn at random, for batches of any number of images."""
    rng = np.random.default_rng(0)
    constants = {
        "kernel": rng.normal(0, 0.1, (24, 3, 5, 5)).astype(np.float32),
        "matrix": rng.normal(0, 0.1, (24 * (side // 4) ** 2, classes)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["maps"], pads=[2] * 4, strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["seen"]),
        helper.make_node("Flatten", ["seen"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
    ]
    return _save(path, nodes, constants, ["N", 3, side, side], {"scores": ["N", classes]})
