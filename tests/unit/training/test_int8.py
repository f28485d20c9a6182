"""Products in 8-bit integers: close to float, the same in every batch, and free of saturation."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepfake_models.bundle.session import OnnxSession
from deepfake_models.classifier import CROPS
from deepfake_training.networks.graphs import FEATURES, feature_graph
from deepfake_training.networks.int8 import (
    OUTLIERS,
    Ranges,
    activation_ranges,
    in_int8,
    products,
)
from tests.support.training import head_config, in_arithmetic, seed_networks

pytestmark = pytest.mark.torch

Crops = NDArray[np.uint8]


@pytest.fixture(scope="module")
def crops() -> Crops:
    """Gradients and noise of several colours, two squares of six faces, (6, 2, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.2, 1.0, 64)[:, None, None]
    tint = rng.uniform(0.2, 1.0, (12, 1, 1, 3))
    noise = rng.uniform(0.5, 1.0, (12, 64, 64, 1))
    return (255 * ramp * tint * noise).astype(np.uint8).reshape(6, 2, 64, 64, 3)


@pytest.fixture(scope="module")
def graphs(crops: Crops) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The features' graph in float32 and in int8 arithmetic."""
    with pytest.MonkeyPatch.context() as patch:
        seed_networks(patch)
        exact = feature_graph(in_arithmetic(head_config(), "float32"), crops)
        return exact, feature_graph(head_config(), crops)


def features(model: onnx.ModelProto, crops: Crops) -> NDArray[np.float32]:
    session = OnnxSession(model.SerializeToString(), device="cpu", threads=1)
    values: NDArray[np.float32] = session.run([FEATURES], {CROPS: crops})[0]
    return values


def test_the_second_reading_is_that_of_the_mouth(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], crops: Crops
) -> None:
    """The square of 0.443 of the box, 0.164 below its centre, of a crop of 0.8 times the box."""
    exact, _ = graphs
    mouth = (slice(None), 1, slice(27, 63), slice(14, 50))
    around, inside = np.full_like(crops, 90), crops.copy()
    around[mouth] = crops[mouth]
    inside[mouth] = 90
    face, same, other = (features(exact, given) for given in (crops, around, inside))
    assert np.allclose(face[:, 1], same[:, 1], atol=1e-4)
    assert not np.allclose(face[:, 0], same[:, 0], atol=1e-2)
    assert not np.allclose(face[:, 1], other[:, 1], atol=1e-2)
    assert np.allclose(face[:, 0], other[:, 0], atol=1e-4)


def test_features_are_close_to_those_in_floating_point(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], crops: Crops
) -> None:
    exact, rounded = (features(model, crops) for model in graphs)
    assert exact.shape == rounded.shape == (6, 2, 2 * 192)
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.99
    assert not np.array_equal(exact, rounded), "nothing was rounded"


def test_a_crop_has_the_same_features_alone_and_in_a_batch(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], crops: Crops
) -> None:
    together = features(graphs[1], crops)
    for number in (0, 3, 5):
        assert np.array_equal(features(graphs[1], crops[[number]])[0], together[number])
    assert np.array_equal(features(graphs[1], crops[::-1])[::-1], together)


def test_all_products_with_constants_have_weights_of_seven_bits(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    exact, rounded = graphs
    # Two blocks, each with its query, key and value, its projection, and two layers of its MLP; the
    # last block computes queries of the class token alone.
    assert len(products(exact)) == 9
    stored = [
        numpy_helper.to_array(t)
        for t in rounded.graph.initializer
        if t.data_type == TensorProto.INT8 and len(t.dims) == 2
    ]
    assert len(stored) == 9
    assert all(np.abs(matrix.astype(int)).max() == 63 for matrix in stored)
    assert not products(rounded), "a whole product remains in floating point"
    shapes = {t.name: t.dims[0] for t in rounded.graph.initializer if t.dims}
    gemms = [node for node in rounded.graph.node if node.op_type == "Gemm"]
    remaining = [node for node in gemms if node.input[1] in shapes]
    assert len(gemms) == len(stored) + len(remaining)
    assert all(shapes[node.input[1]] == OUTLIERS for node in remaining)


@pytest.mark.parametrize(("largest", "apart"), [(40.0, True), (1.4, False)])
def test_channels_much_larger_than_the_others_remain_in_floating_point(
    largest: float, apart: bool
) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(-1.0, 1.0, (40, 64)).astype(np.float32)
    values[:, 5] *= largest
    matrix = rng.normal(size=(24, 64)).astype(np.float32)
    bias = rng.normal(size=24).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="product", transB=1)],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 24])],
        [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    low, high = (values.astype(np.float64).min(axis=0), values.astype(np.float64).max(axis=0))
    rounded = in_int8(model, {"product": Ranges(low, high)})
    session = OnnxSession(rounded.SerializeToString(), device="cpu", threads=1)
    got = session.run(["y"], {"x": values})[0]
    expected = values @ matrix.T + bias
    assert np.abs(got - expected).max() < 0.02 * np.abs(expected).max()
    tensors = {t.name: numpy_helper.to_array(t) for t in rounded.graph.initializer}
    assert ("product.outliers" in tensors) is apart
    if apart:
        assert len(tensors["product.outliers"]) == OUTLIERS
        assert 5 in tensors["product.outliers"]
        assert not tensors["product.weight"][5].any(), "the channel is counted twice"


def test_a_graph_without_products_is_unchanged() -> None:
    nodes = [
        helper.make_node("Cast", [CROPS], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], [FEATURES], axes=[1, 2], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info(CROPS, TensorProto.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ranges = activation_ranges(model, np.zeros((2, 8, 8, 3), np.uint8))
    assert ranges == {}
    assert in_int8(model, ranges).SerializeToString() == model.SerializeToString()
