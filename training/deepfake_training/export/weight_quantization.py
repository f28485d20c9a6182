"""Matrices of a graph stored in 8 bits, for arithmetic that stays in floating point.

A large network's file is a quarter as long, and its values are those of before to within a rounding
of 1/254 of each column's greatest; none, where the weights came from such a store. Not to be taken
for ``quantise``, whose arithmetic is in 8 bits too. onnxruntime restores the matrices once, when it
loads the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_LEAST: Final = 1 << 16
"""Elements from which on a matrix is worth it."""
_GREATEST: Final = 127


def store_int8(path: Path) -> int:
    """Rewrite the ONNX file ``path`` with its large matrices in int8, a scale a column; return how
    many there were. Matrices that are no right-hand side of a ``MatMul`` are left alone."""
    model = onnx.load(str(path))
    graph = model.graph
    used = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    restoring, kept = [], []
    for tensor in graph.initializer:
        if (
            tensor.name not in used
            or tensor.data_type != TensorProto.FLOAT
            or len(tensor.dims) != 2
            or np.prod(tensor.dims) < _LEAST
        ):
            kept.append(tensor)
            continue
        whole, scale = _int8(numpy_helper.to_array(tensor))
        name = tensor.name
        kept += [
            numpy_helper.from_array(whole, f"{name}_int8"),
            numpy_helper.from_array(scale, f"{name}_scale"),
        ]
        restoring += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]),
        ]
    nodes = [*restoring, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return len(restoring) // 2


def _int8(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``matrix`` (K, N) as int8 of the same shape and scales (N,)."""
    scale = (np.abs(matrix).max(axis=0) / _GREATEST).astype(np.float32)
    scale[scale == 0.0] = 1.0
    return np.rint(matrix / scale).clip(-_GREATEST, _GREATEST).astype(np.int8), scale
