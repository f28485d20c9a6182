"""A small model bundle for tests whose subject is not the model.

The detector's graphs are those of the shipped bundle; the preprocessing, the decision rules and
the published error rates are those of release 0.2.0. The classifier is a mean of colours that costs
next to nothing. ``python -m tests.support.small_bundles FOLDER`` writes it into a new folder.
"""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deepfake_models.bundle.bundle import MANIFEST, Bundle, default_bundle_dir, load_bundle, seal
from deepfake_models.scorer import Scorer

_ASSETS = Path(__file__).parents[1] / "assets" / "release_0.2.0"
"""Rules and tables; no bundle, which needs graphs and a model card as well."""


@cache
def small_bundle_dir() -> Path:
    """Return the folder of the small bundle, which this process makes once and removes at exit.

    Its content does not depend on the process, so neither does its digest.
    """
    return _made(write_small_bundle)


@cache
def two_square_bundle_dir() -> Path:
    """Return the folder of the bundle with two squares, as in ``small_bundle_dir``."""
    return _made(write_two_square_bundle)


@cache
def two_square_scorer() -> Scorer:
    """Return a scorer with that bundle."""
    return Scorer.open(two_square_bundle_dir(), threads=1)


def _made(write: Callable[[Path], Bundle]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="small-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write(folder)
    return folder


def small_bundle() -> Bundle:
    """Return the small bundle, loaded and verified."""
    return load_bundle(small_bundle_dir())


def write_small_bundle(folder: Path) -> Bundle:
    """Write the small bundle into ``folder``, which exists, and return it.

    The astronaut's portrait gets a value between the two thresholds, in a picture and in a clip;
    Grace Hopper's gets one below both.
    """
    save_color_classifier(folder / "classifier.onnx", gain=-0.15, offset=22.0, tilt=0.3)
    return _sealed(folder, name="small")


def write_two_square_bundle(folder: Path) -> Bundle:
    """Write a bundle into ``folder``, which exists, and return it: its classifier sees two squares
    of a face, has a logit of its own for pictures, tells two kinds apart and shares its weights
    with a graph of the map."""
    save_two_square_classifier(folder, gain=-0.15, offset=22.0)
    return _sealed(
        folder, name="squares", kinds=["swap", "synthesis"], crop={"further_scales": [0.8]}
    )


def _sealed(folder: Path, *, crop: dict[str, Any] | None = None, **fields: Any) -> Bundle:
    """Add the shipped detector and the stored tables to ``folder``, and seal it with changed
    ``fields``.

    Calibration, thresholds and tables are those of release 0.2.0, so that another shipped model
    does not change what the tests expect.
    """
    shipped = default_bundle_dir()
    for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", "MODEL_CARD.md"):
        shutil.copy(shipped / name, folder)
    shutil.copy(_ASSETS / "reliability.json", folder)
    manifest = json.loads((_ASSETS / MANIFEST).read_text(encoding="utf-8"))
    del manifest["format_version"], manifest["files"]
    manifest["crop"].update(crop or {})
    return seal(folder, {**manifest, "version": "1", **fields})


SIDE = 224
"""Side of a crop, in pixels."""
CELLS = 14
"""Side of the activation map, in cells: as coarse as a vision transformer's."""


def save_color_classifier(path: Path, *, gain: float, offset: float, tilt: float = 0.0) -> None:
    """Write a graph whose logit is ``gain`` × (red − green − ``offset``), in means over a crop.

    With ``tilt``, the top row weighs 1 + ``tilt`` and the bottom row 1 − ``tilt``, so that a crop
    turned upside down gets another logit. Inputs and outputs are those of a trained classifier:
    uint8 NHWC crops in, a logit and an activation map out.
    """
    cell = SIDE // CELLS
    constants = {
        "weights": np.array([gain, -gain, 0.0], dtype=np.float32).reshape(3, 1),
        "offset": np.array([-offset * gain], dtype=np.float32),
        "channel": np.array([3], dtype=np.int64),
        "cells": np.array([-1, CELLS, cell, CELLS, cell], dtype=np.int64),
        "rows": np.linspace(1 + tilt, 1 - tilt, CELLS, dtype=np.float32).reshape(CELLS, 1),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["floats", "weights"], ["pixels"]),
        helper.make_node("ReduceSum", ["pixels", "channel"], ["plane"], keepdims=0),
        helper.make_node("Reshape", ["plane", "cells"], ["blocks"]),
        helper.make_node("ReduceMean", ["blocks"], ["means"], axes=[2, 4], keepdims=0),
        helper.make_node("Mul", ["means", "rows"], ["activation_map"]),
        helper.make_node("ReduceMean", ["activation_map"], ["sums"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["sums"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["mean", "offset"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "color",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("activation_map", TensorProto.FLOAT, ["n", CELLS, CELLS]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(_model(graph), path)


WEIGHTS = "weights.bin"
SQUARE_SHARES = (0.7, 0.3)
"""Shares of two squares in the logit of ``save_two_square_classifier``: unequal, so that squares
in another order give another logit."""
KIND_FACTORS = (1.0, -0.5)
FACE_FACTORS = (1.0, 0.8)


def save_two_square_classifier(folder: Path, *, gain: float, offset: float) -> None:
    """Write ``classifier.onnx`` and ``map.onnx``, and the tensors that they share.

    The classifier takes uint8 crops (N, 2, S, S, 3). Its value is ``gain`` × (red − green −
    ``offset``), in means over each square, weighted by ``SQUARE_SHARES``; its logits of faces of
    videos and of pictures are multiples of it, by ``FACE_FACTORS``, and so are its logits of two
    kinds, by ``KIND_FACTORS``. The map holds ``gain`` × (red − green) in means over each cell of
    the first square.
    """
    cell = SIDE // CELLS
    channels = np.array([gain, -gain, 0.0], dtype=np.float32).reshape(3, 1)
    logits = {
        "shares": np.array(SQUARE_SHARES, dtype=np.float32).reshape(2, 1),
        "offset": np.array([-offset * gain], dtype=np.float32),
        "faces": np.array(FACE_FACTORS, dtype=np.float32).reshape(1, 2),
        "kinds": np.array(KIND_FACTORS, dtype=np.float32).reshape(1, 2),
    }
    cells = {
        "first": np.array(0, dtype=np.int64),
        "cells": np.array([-1, CELLS, cell, CELLS, cell], dtype=np.int64),
    }
    (folder / WEIGHTS).write_bytes(channels.tobytes())
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 2, SIDE, SIDE, 3])

    def save(name: str, nodes: list[Any], constants: dict[str, Any], **outputs: list[Any]) -> None:
        infos = [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
            for output, shape in outputs.items()
        ]
        tensors = [numpy_helper.from_array(value, key) for key, value in constants.items()]
        shared = TensorProto(name="channels", dims=channels.shape, data_type=TensorProto.FLOAT)
        shared.data_location = TensorProto.EXTERNAL
        place = {"location": WEIGHTS, "offset": "0", "length": str(channels.nbytes)}
        for key, value in place.items():
            shared.external_data.add(key=key, value=value)
        graph = helper.make_graph(nodes, name, [crops], infos, [*tensors, shared])
        (folder / name).write_bytes(_model(graph).SerializeToString())

    save(
        "classifier.onnx",
        [
            helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["floats", "channels"], ["pixels"]),
            helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3, 4], keepdims=0),
            helper.make_node("MatMul", ["means", "shares"], ["sum"]),
            helper.make_node("Add", ["sum", "offset"], ["value"]),
            helper.make_node("Mul", ["value", "faces"], ["logit"]),
            helper.make_node("Mul", ["value", "kinds"], ["kind_logits"]),
        ],
        logits,
        logit=["n", 2],
        kind_logits=["n", 2],
    )
    save(
        "map.onnx",
        [
            helper.make_node("Gather", ["crops", "first"], ["square"], axis=1),
            helper.make_node("Cast", ["square"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["floats", "channels"], ["pixels"]),
            helper.make_node("Reshape", ["pixels", "cells"], ["blocks"]),
            helper.make_node("ReduceMean", ["blocks"], ["activation_map"], axes=[2, 4], keepdims=0),
        ],
        cells,
        activation_map=["n", CELLS, CELLS],
    )


def _model(graph: Any) -> Any:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if not any(tensor.external_data for tensor in graph.initializer):
        onnx.checker.check_model(model)  # it looks for external data in the current directory
    return model


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    write_small_bundle(target)
