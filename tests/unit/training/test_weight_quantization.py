"""Matrices stored in 8 bits: rounding errors, and matrices that are not converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deepfake_models.session import OnnxSession
from deepfake_training.export.weight_quantization import store_int8


def _graph(path: Path, matrix: np.ndarray, small: np.ndarray) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "large"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "small"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", matrix.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", small.shape[1]])],
        [numpy_helper.from_array(matrix, "large"), numpy_helper.from_array(small, "small")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def _run(path: Path, x: np.ndarray) -> np.ndarray:
    return OnnxSession(path.read_bytes(), device="cpu").run(["y"], {"x": x})[0]


def test_weights_from_such_a_store_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(-127, 128, (256, 320))
    whole[0] = 127
    scale = rng.uniform(1e-4, 1e-2, 320).astype(np.float32)
    matrix = whole.astype(np.float32) * scale
    path = tmp_path / "g.onnx"
    _graph(path, matrix, rng.standard_normal((320, 4)).astype(np.float32))
    x = rng.standard_normal((5, 256)).astype(np.float32)
    before, size = _run(path, x), path.stat().st_size
    assert store_int8(path) == 1
    assert path.stat().st_size < size / 3
    np.testing.assert_allclose(_run(path, x), before, rtol=1e-5, atol=1e-6)


def test_others_are_rounded_by_no_more_than_half_a_step_of_their_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((256, 320)).astype(np.float32)
    matrix[:, 7] = 0.0
    path = tmp_path / "g.onnx"
    _graph(path, matrix, np.eye(320, 4, k=-5, dtype=np.float32))
    store_int8(path)
    restored = _run(path, np.eye(256, dtype=np.float32))
    step = np.abs(matrix).max(axis=0)[5:9] / 127
    assert (np.abs(restored - matrix[:, 5:9]) <= step / 2 + 1e-6).all()
    assert not restored[:, 2].any(), "a column of zeros stays one"
    names = {t.name: t.data_type for t in onnx.load(str(path)).graph.initializer}
    assert names["small"] == TensorProto.FLOAT, "a small matrix is left alone"
    assert names["large_int8"] == TensorProto.INT8
