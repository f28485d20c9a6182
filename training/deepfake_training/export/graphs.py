"""The graphs of a bundle's classifier, and their comparison with what was fitted.

A network that was fitted by gradient is one graph. Heads on a frozen network are two: the features'
graph with the heads, run for every face, and the same graph with the map of direct effects
(Gandelsman et al. 2024, arXiv:2310.05916), run for the few faces that a report shows. Both keep
their tensors in one file, each tensor once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from deepfake_models.bundle.bundle import CLASSIFIER, MAP, WEIGHTS
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import InputSpec
from deepfake_models.classifier import ACTIVATION_MAP, CROPS, KIND_LOGITS, LOGIT
from deepfake_models.machine import atomic_write
from deepfake_training.config import BackboneConfig, Config
from deepfake_training.errors import TrainingError
from deepfake_training.heads import Heads, logits_of
from deepfake_training.heads.head import INPUT
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.networks.class_tokens import ATTENTION, ClassTokens
from deepfake_training.networks.graphs import FEATURES, traced_on_crops

PARITY_TOLERANCE: Final = 1e-3
"""Largest absolute difference of logits between training and onnxruntime on real crops."""
_SHARED_BYTES: Final = 1024
"""Smallest tensor that is stored in the shared file."""
_ALIGNMENT: Final = 64


def write_network(
    directory: Path, weights: dict[str, Any], backbone: BackboneConfig, spec: InputSpec
) -> ExportGraph:
    """Write ``classifier.onnx`` of a network that was fitted by gradient into ``directory``; return
    its graph in torch."""
    network = create_backbone(backbone, spec, initial=False)
    network.load_state_dict(weights)
    graph = ExportGraph(network.eval(), spec).eval()
    onnx.save(
        traced_on_crops(graph, (spec.height, spec.width, 3), [LOGIT, ACTIVATION_MAP]),
        str(directory / CLASSIFIER),
    )
    return graph


def network_parity(graph: ExportGraph, directory: Path, crops: NDArray[np.uint8]) -> float:
    """Return the largest absolute difference of logits between torch and ``classifier.onnx`` in
    ``directory`` on ``crops`` (N, S, S, 3) uint8 RGB; ``TrainingError`` if it exceeds
    ``PARITY_TOLERANCE``."""
    got = open_classifier(directory).run([LOGIT], {CROPS: crops})[0]
    with torch.inference_mode():
        # The backbone's own forward pass, to detect a head that ExportGraph misinterprets.
        want = graph.reference(torch.from_numpy(crops)).numpy()
    return tolerated(float(np.abs(got - want).max()))


def tolerated(difference: float) -> float:
    """Return ``difference``; ``TrainingError`` if it exceeds ``PARITY_TOLERANCE``."""
    if not difference <= PARITY_TOLERANCE:
        raise TrainingError(
            f"{CLASSIFIER}: The logits differ by {difference:.2e} from those before the export. "
            "Report this with the versions of torch, onnx and onnxruntime."
        )
    return difference


def write_heads(directory: Path, features: onnx.ModelProto, heads: Heads, config: Config) -> None:
    """Write ``classifier.onnx``, ``map.onnx`` and ``weights.bin`` of ``heads`` on the graph
    ``features`` into ``directory``."""
    made = {CLASSIFIER: classifier_graph(features, heads), MAP: map_graph(features, heads, config)}
    save_sharing(directory, made)


def classifier_graph(features: onnx.ModelProto, heads: Heads) -> onnx.ModelProto:
    """Return the graph from crops to the output of each head."""
    model = _without_outputs(features)
    tensors = [numpy_helper.from_array(np.array([-1, _directions(heads).shape[1]]), "head.shape")]
    nodes = [helper.make_node("Reshape", [FEATURES, "head.shape"], [INPUT])]
    outputs = []
    for head in heads.values():
        graph = head.export()
        nodes += graph.nodes
        tensors += graph.tensors
        outputs.append(graph.output)
    return _extended(model, nodes, tensors, outputs)


def map_graph(features: onnx.ModelProto, heads: Heads, config: Config) -> onnx.ModelProto:
    """Return the graph from crops to ``activation_map`` (N, 2, h, w): the direct contributions of
    each patch of the first square to the logits of faces, through attention."""
    network = create_backbone(config.backbone, config.bundle.input)
    assert isinstance(network, ClassTokens)  # the config requires blocks
    model = _without_outputs(features)
    _leave_out_mouths(model)
    nodes: list[NodeProto] = []
    attentions = [node for node in model.graph.node if node.op_type == ATTENTION]
    # The features of the first square come first.
    directions = np.stack(
        [network.directions(one[: network.num_features]) for one in _directions(heads)], axis=1
    )
    count, heads, width = directions[0].shape
    rows, columns = network.vit.patch_embed.grid_size
    prefix, tokens = network.num_prefix_tokens, network.num_prefix_tokens + rows * columns
    constants = {
        "class_token": np.array(0),
        "one": np.array([0, heads, width]),
        "all": np.array([0, 0, heads, width]),
        "scale": np.array(width**-0.5, np.float32),
        "start": np.array([prefix]),
        "end": np.array([tokens]),
        "axis": np.array([2]),
        "grid": np.array([-1, count, rows, columns]),
    }
    tensors = [numpy_helper.from_array(value, f"map.{name}") for name, value in constants.items()]
    effects = []
    for number, (attention, direction) in enumerate(zip(attentions, directions, strict=True)):
        query, key, value = attention.input
        at = f"map.{number}"
        tensors.append(numpy_helper.from_array(direction, f"{at}.direction"))
        # The class token's row of the attention, which the operator does not give away.
        nodes += [
            helper.make_node("Gather", [query, "map.class_token"], [f"{at}.class"], axis=1),
            helper.make_node("Reshape", [f"{at}.class", "map.one"], [f"{at}.query"]),
            helper.make_node("Reshape", [key, "map.all"], [f"{at}.keys"]),
            helper.make_node("Reshape", [value, "map.all"], [f"{at}.values"]),
            _einsum("nhc,nthc->nht", [f"{at}.query", f"{at}.keys"], f"{at}.products"),
            helper.make_node("Mul", [f"{at}.products", "map.scale"], [f"{at}.scaled"]),
            helper.make_node("Softmax", [f"{at}.scaled"], [f"{at}.attended"], axis=-1),
            _einsum("nthc,khc->nkht", [f"{at}.values", f"{at}.direction"], f"{at}.along"),
            _einsum("nht,nkht->nkt", [f"{at}.attended", f"{at}.along"], f"{at}.sum"),
        ]
        effects.append(f"{at}.sum")
    nodes += [
        helper.make_node("Sum", effects, ["map.tokens"]),
        helper.make_node(
            "Slice", ["map.tokens", "map.start", "map.end", "map.axis"], ["map.patches"]
        ),
        helper.make_node("Reshape", ["map.patches", "map.grid"], [ACTIVATION_MAP]),
    ]
    shape = ["batch", count, rows, columns]
    output = helper.make_tensor_value_info(ACTIVATION_MAP, TensorProto.FLOAT, shape)
    return _extended(model, nodes, tensors, [output])


def _directions(heads: Heads) -> NDArray[np.float64]:
    (directions,) = (head.weight for head in heads.values() if head.output == LOGIT)
    return directions


def _einsum(equation: str, inputs: Sequence[str], output: str) -> NodeProto:
    return helper.make_node("Einsum", inputs, [output], equation=equation)


def _without_outputs(features: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(features)
    del model.graph.output[:]
    return model


def _leave_out_mouths(model: onnx.ModelProto) -> None:
    """Make ``model``, whose first network reads squares and mouths, read squares alone."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    patches = next(node for node in model.graph.node if node.op_type == "Conv")
    patches.input[0] = made_by[patches.input[0]].input[0]


def _extended(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    tensors: Sequence[TensorProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """Add nodes and outputs to ``model``, and drop what no output needs."""
    graph = model.graph
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    graph.output.extend(outputs)
    needed = {output.name for output in outputs}
    used: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            used.append(node)
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(used))
    graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    return model


def save_sharing(directory: Path, models: Mapping[str, onnx.ModelProto]) -> None:
    """Write ``models`` by file name into ``directory``, with their tensors in ``weights.bin``.
    Equal tensors of all models are stored once."""
    places: dict[tuple[str, int], int] = {}
    with atomic_write(directory / WEIGHTS) as file:
        for name, model in models.items():
            saved = onnx.ModelProto()
            saved.CopyFrom(model)
            for tensor in saved.graph.initializer:
                content = numpy_helper.to_array(tensor).tobytes()
                if len(content) < _SHARED_BYTES:
                    continue
                key = hashlib.sha256(content).hexdigest(), len(content)
                if key not in places:
                    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                    places[key] = file.tell()
                    file.write(content)
                for values in ("float_data", "int32_data", "int64_data"):
                    tensor.ClearField(values)
                tensor.raw_data = content  # onnx marks only raw data as external
                set_external_data(tensor, WEIGHTS, places[key], len(content))
                tensor.ClearField("raw_data")
            (directory / name).write_bytes(saved.SerializeToString(deterministic=True))


def heads_parity(directory: Path, features: Path, heads: Heads, crops: NDArray[np.uint8]) -> float:
    """Return the largest absolute difference between the outputs of ``classifier.onnx`` in
    ``directory`` and those of ``heads`` on what the graph in the file ``features`` computes.

    ``crops`` are (N, S, S, 3) or (N, V, S, S, 3) uint8 RGB. ``TrainingError`` if it exceeds
    ``PARITY_TOLERANCE``.
    """
    classifier = open_classifier(directory)
    network = OnnxSession(features.read_bytes(), name=features.name, device="cpu", threads=0)
    worst = 0.0
    for crop in crops:
        expected = logits_of(heads, network.run([FEATURES], {CROPS: crop[None]})[0])
        got = classifier.run(list(expected), {CROPS: crop[None]})
        for have, want in zip(got, expected.values(), strict=True):
            worst = max(worst, float(np.abs(have - want).max()))
    return tolerated(worst)


def logit_noise(directory: Path, crops: NDArray[np.uint8]) -> float:
    """Return the standard deviation of a logit of ``classifier.onnx`` in ``directory`` under a
    change of one bit of one pixel of each square; 0 below a thousandth.

    It is the largest of those of the logit and of the logits of kinds. ``crops`` are (N, S, S, 3)
    or (N, V, S, S, 3) uint8 RGB.
    """
    session = open_classifier(directory)
    outputs = [name for name in (LOGIT, KIND_LOGITS) if name in session.output_names]
    changed = crops.copy()
    middle = crops.shape[-2] // 2
    changed[..., middle, middle, 1] ^= 1

    def logits(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return all logits of each crop, (N, K)."""
        runs = (session.run(outputs, {CROPS: crop[None]}) for crop in part)
        return np.stack([np.concatenate([values.ravel() for values in run]) for run in runs])

    noise = float(np.std(logits(changed) - logits(crops), axis=0).max())
    return round(noise, 3) if noise >= 1e-3 else 0.0


def open_classifier(directory: Path) -> OnnxSession:
    """Open the classifier of the bundle in ``directory``."""
    shared = directory / WEIGHTS
    external = {WEIGHTS: shared.read_bytes()} if shared.exists() else None
    content = (directory / CLASSIFIER).read_bytes()
    return OnnxSession(content, name=CLASSIFIER, device="cpu", threads=0, external=external)
