"""Networks that were trained elsewhere: which files are refused, and what is made of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from deepfake_models.bundle.spec import InputSpec
from deepfake_models.classifier import CROPS, LOGIT
from deepfake_training.config import Config, GraphConfig, load_config
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.export import given
from deepfake_training.export.given import GivenGraph
from deepfake_training.export.graphs import open_classifier

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SPEC = InputSpec(height=32, width=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
CROPS_OF_NOISE = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)


class Network(nn.Module):
    """A convolution and a linear layer, and the sums of the pixels as a second output."""

    def __init__(self, classes: int, last: str = "") -> None:
        super().__init__()
        torch.manual_seed(1)
        self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)
        self.last = last

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.linear(self.convolution(x).clip(0.0).mean((2, 3)))
        if self.last == "sigmoid":
            z = z.sigmoid()[:, 0]
        elif self.last == "softmax":
            z = z.softmax(1)
        return z, x.sum((1, 2, 3))


def exported(folder: Path, network: nn.Module, side: int = 32, batch: int = 0) -> Path:
    """Write ``network`` as a file with the outputs ``logit`` and ``sums``; 0: any batch."""
    path = folder / "theirs.onnx"
    names = ("logit", "sums")
    torch.onnx.export(
        network.eval(), (torch.zeros(batch or 1, 3, side, side),), path, dynamo=False,
        opset_version=13, input_names=["x"], output_names=list(names),
        dynamic_axes=None if batch else {name: {0: "batch"} for name in ("x", *names)},
    )  # fmt: skip
    return path


def described(gives: str = "logit", output: str = "logit", manipulated: int = 1) -> GraphConfig:
    return GraphConfig.model_validate(
        {"origin": "a test", "output": output, "gives": gives, "manipulated": manipulated}
    )


@pytest.mark.parametrize("manipulated", [0, 1])
@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize(("classes", "last"), [(1, ""), (2, ""), (1, "sigmoid"), (2, "softmax")])
def test_every_kind_of_output_becomes_the_logit_of_manipulation(
    classes: int, last: str, batch: int, manipulated: int, tmp_path: Path
) -> None:
    network = Network(classes, last)
    path = exported(tmp_path, network, batch=batch)
    gives = "probability" if last else "logit"
    graph = GivenGraph.read(path, described(gives, manipulated=manipulated), SPEC)
    graph.write(tmp_path)
    pixels = (CROPS_OF_NOISE / 255.0 - np.array(SPEC.mean)) / np.array(SPEC.std)
    with torch.inference_mode():
        z = Network(classes)(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float())[0].numpy()
    want = z[:, 0] if classes == 1 else z[:, 1] - z[:, 0]
    classifier = open_classifier(tmp_path)
    got = [classifier.run([LOGIT], {CROPS: crop[None]})[0] for crop in CROPS_OF_NOISE]
    assert classifier.output_names == (LOGIT,)
    assert [one.shape for one in got] == [(1,)] * 4
    sign = 1.0 if manipulated else -1.0
    assert np.ravel(got) == pytest.approx(sign * want, abs=1e-4)
    assert graph.parity(tmp_path, CROPS_OF_NOISE) < 1e-5


def test_a_bundle_that_differs_from_the_file_is_noticed(tmp_path: Path) -> None:
    path = exported(tmp_path, Network(2))
    GivenGraph.read(path, described(manipulated=0), SPEC).write(tmp_path)
    with pytest.raises(TrainingError, match="logits differ by"):
        GivenGraph.read(path, described(), SPEC).parity(tmp_path, CROPS_OF_NOISE)


def test_a_certain_network_has_a_finite_logit(tmp_path: Path) -> None:
    network = Network(2, "softmax")
    nn.init.constant_(network.linear.bias[1:], 200.0)
    graph = GivenGraph.read(exported(tmp_path, network), described("probability"), SPEC)
    graph.write(tmp_path)
    logit = open_classifier(tmp_path).run([LOGIT], {CROPS: CROPS_OF_NOISE[:1]})[0].item()
    assert logit == pytest.approx(-np.log(given._FLOOR), rel=1e-3)


def altered(path: Path, change: Any) -> Path:
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


def _strange_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type, model.graph.node[0].domain = "Mystery", "their.operators"
    model.opset_import.append(helper.make_opsetid("their.operators", 1))


def _second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))


def _not_a_number(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "linear.bias":
            tensor.raw_data = np.array([np.nan] * 2, np.float32).tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_strange_operator, r"their\.operators.*standard operators alone"),
        (_second_input, r"inputs are \['float \[1, 3, 32, 32\]', 'float of no such shape'\]"),
        (_not_a_number, r"gives \[nan nan\] for a face.*a finite number"),
        (lambda model: model.graph.ClearField("output"), "not an ONNX graph|no output"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    change: Any, said: str, tmp_path: Path
) -> None:
    path = altered(exported(tmp_path, Network(2)), change)
    with pytest.raises(TrainingError, match=rf"(?s)^theirs\.onnx: .*({said})"):
        GivenGraph.read(path, described(), SPEC)


@pytest.mark.parametrize(
    ("network", "config", "said"),
    [
        (Network(3), {}, "one for each of two classes"),
        (Network(2), {"output": "verdict"}, "no output 'verdict'. Set graph.output to one of 'log"),
        (Network(1), {"gives": "probability"}, "a probability, or those of two classes"),
        (Network(2), {"gives": "probability"}, "a probability, or those of two classes"),
    ],
)
def test_an_output_that_is_not_what_the_config_says_is_named(
    network: nn.Module, config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    if isinstance(network, Network):
        nn.init.constant_(network.linear.bias, -3.0)
    with pytest.raises(TrainingError, match=rf"^theirs\.onnx: .*{said}"):
        GivenGraph.read(exported(tmp_path, network), described(**config), SPEC)


@pytest.mark.parametrize(("side", "batch"), [(48, 0), (32, 8)])
def test_a_network_of_another_size_or_batch_is_told_with_the_right_one(
    side: int, batch: int, tmp_path: Path
) -> None:
    path = exported(tmp_path, Network(2), side, batch)
    if not batch:  # torch leaves a size out that any picture may have
        path = exported(tmp_path, Network(2), side, 1)
    with pytest.raises(TrainingError, match=r"there has to be one, float \[1, 3, 32, 32\]"):
        GivenGraph.read(path, described(), SPEC)


def test_tensors_beside_the_file_are_read_or_missed(tmp_path: Path) -> None:
    path = exported(tmp_path, Network(2))
    outside = tmp_path / "apart" / "theirs.onnx"
    outside.parent.mkdir()
    onnx.save(
        onnx.load(str(path)), str(outside), save_as_external_data=True, location="tensors",
        size_threshold=0,
    )  # fmt: skip
    graph = GivenGraph.read(outside, described(), SPEC)
    graph.write(tmp_path)
    assert graph.parity(tmp_path, CROPS_OF_NOISE) < 1e-5
    (outside.parent / "tensors").unlink()
    with pytest.raises(TrainingError, match=r"theirs\.onnx: .*tensors.*keep all files of it toget"):
        GivenGraph.read(outside, described(), SPEC)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 a checkpoint"):
        (tmp_path / "theirs.pth").write_bytes(content)
        with pytest.raises(TrainingError, match=r"^theirs\.pth: It is not an ONNX graph"):
            GivenGraph.read(tmp_path / "theirs.pth", described(), SPEC)


BUNDLE = '[bundle]\nname = "n"\nversion = "1"\nterms = "t"\n'
GRAPH = '[graph]\norigin = "theirs"\noutput = "logit"\ngives = "logit"\n'


def test_configs_of_given_networks_are_for_their_command_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(GRAPH + BUNDLE)
    assert isinstance(load_config(path, given=True), Config)
    with pytest.raises(ConfigError, match="export-onnx needs it"):
        load_config(path)
    path.write_text(BUNDLE)
    with pytest.raises(ConfigError, match="export-onnx needs it"):
        load_config(path, given=True)
    path.write_text(GRAPH + BUNDLE + "[fit]\nsteps = 3\n")
    with pytest.raises(ConfigError, match="fit does not belong beside graph"):
        load_config(path, given=True)
    path.write_text(GRAPH.replace("theirs", "two\\nlines") + BUNDLE)
    with pytest.raises(ConfigError, match=r"graph\.origin"):
        load_config(path, given=True)
