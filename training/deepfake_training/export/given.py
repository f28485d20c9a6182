"""A network that was trained elsewhere: check its ONNX file, and make it a bundle's classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, inliner, parser

from deepfake_models.bundle.bundle import CLASSIFIER
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import InputSpec
from deepfake_models.classifier import CROPS, LOGIT
from deepfake_training.config import GraphConfig
from deepfake_training.errors import TrainingError
from deepfake_training.export.graphs import open_classifier, tolerated

_FLOOR = 1e-7
"""Probabilities below it count as this much, as their logarithm would have no bound."""


@dataclass(frozen=True, slots=True)
class GivenGraph:
    """A checked graph from normalised crops to what ``config`` says that it gives."""

    name: str
    """That of its file, for messages."""
    sha256: str
    model: onnx.ModelProto
    session: OnnxSession
    config: GraphConfig
    spec: InputSpec

    @classmethod
    def read(cls, path: Path, config: GraphConfig, spec: InputSpec) -> GivenGraph:
        """Read the ONNX file at ``path``, with tensors that it keeps in another file beside it;
        ``TrainingError`` if it cannot be the classifier of a bundle. The message says what would be
        right."""
        try:
            model = inliner.inline_local_functions(onnx.load(str(path)))
            onnx.checker.check_model(model)
            session = OnnxSession(model.SerializeToString(), device="cpu", threads=0)
        except Exception as error:  # those of protobuf and onnx share no base class but Exception
            raise TrainingError(
                f"{path.name}: It is not an ONNX graph that onnxruntime can run "
                f"({_reason(error)}). Export the network again, with standard operators alone, and "
                "keep all files of it together."
            ) from error
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        given = cls(path.name, digest, model, session, config, spec)
        given._check()
        return given

    @property
    def _inputs(self) -> list[onnx.ValueInfoProto]:
        constants = {tensor.name for tensor in self.model.graph.initializer}
        return [i for i in self.model.graph.input if i.name not in constants]

    def _check(self) -> None:
        wanted, tensors = [1, 3, self.spec.height, self.spec.width], []
        for tensor in (one.type.tensor_type for one in self._inputs):
            # A side of 0 is dynamic.
            sides = [s.dim_value or w for s, w in zip(tensor.shape.dim, wanted, strict=False)]
            kind = TensorProto.DataType.Name(tensor.elem_type).lower()
            tensors.append(f"{kind} {sides if len(tensor.shape.dim) == 4 else 'of no such shape'}")
        if tensors != [f"float {wanted}"]:
            raise TrainingError(
                f"{self.name}: Its inputs are {tensors}. By the config there has to be one, float "
                f"{wanted}, the first of them also dynamic: export the network so, or set "
                "bundle.crop.size, bundle.input.height and bundle.input.width to its size."
            )
        outputs = [output.name for output in self.model.graph.output]
        if self.config.output not in outputs:
            raise TrainingError(
                f"{self.name}: It has no output {self.config.output!r}. Set graph.output to one "
                f"of {', '.join(map(repr, outputs))}."
            )
        self.values(self._grey)

    @property
    def _grey(self) -> NDArray[np.uint8]:
        return np.full((self.spec.height, self.spec.width, 3), 128, np.uint8)

    def values(self, crop: NDArray[np.uint8]) -> list[float]:
        """Return what the graph gives for a crop (S, S, 3) uint8 RGB: one value or two.
        ``TrainingError`` if it cannot be run, or gives anything else than ``config`` says."""
        pixels = (crop[np.newaxis] / 255.0 - self.spec.mean) / self.spec.std
        feed = {self._inputs[0].name: pixels.transpose(0, 3, 1, 2).astype(np.float32)}
        try:
            values = self.session.run([self.config.output], feed)[0].astype(np.float64).ravel()
        except Exception as error:  # onnxruntime's errors share no base class but Exception
            raise TrainingError(
                f"{self.name}: It cannot be run on one square of {self.spec.width} px "
                f"({_reason(error)}). Export the network for this size."
            ) from error
        right, wanted = np.isfinite(values).all(), "a finite number, or one for each of two classes"
        if self.config.gives == "probability":
            right &= (np.abs(values - 0.5) <= 0.5 + 1e-5).all()
            right &= values.size == 1 or abs(values.sum() - 1.0) < 1e-3
            wanted = "a probability, or those of two classes"
        if not right or values.size not in (1, 2):
            raise TrainingError(
                f"{self.name}: {self.config.output!r} gives {np.round(values, 3)} for a face. By "
                f"the config it has to be {wanted}: check graph.output and graph.gives, mean and "
                "std in [bundle.input], and the network."
            )
        return values.tolist()

    def write(self, directory: Path) -> None:
        """Write ``classifier.onnx`` into ``directory``: normalisation, this graph, and the logit of
        its output."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.ir_version = max(model.ir_version, 4)  # constants had to be inputs before
        (opset,) = (o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        begin = f'<ir_version: {model.ir_version}, opset_import: ["": {opset}]>'
        batch = self._inputs[0].type.tensor_type.shape.dim[0].dim_value or "N"
        of = f"[{batch}, {self.spec.height}, {self.spec.width}, 3]"
        mean, std = np.array(self.spec.mean), np.array(self.spec.std)
        before = f"""{begin} before (uint8{of} {CROPS}) => (float pixels)
            <float[3, 1, 1] scale = {_braced(1.0 / 255.0 / std)},
             float[3, 1, 1] shift = {_braced(mean / std)}> {{
                levels = Cast <to = 1> ({CROPS})  planes = Transpose <perm = [0, 3, 1, 2]> (levels)
                scaled = Mul(planes, scale)  pixels = Sub(scaled, shift)
            }}"""
        count, likely = len(self.values(self._grey)), self.config.gives == "probability"
        signs = (-1, 1) if self.config.manipulated else (1, -1)
        after = f"""{begin} after (float given) => (float[{batch}] {LOGIT})
            <int64[2] classes = {{-1, {count}}}, float one = {{1}}, float floor = {{{_FLOOR}}},
             float[2, 1] signs = {_braced(signs)}, int64[1] flat = {{-1}}> {{
                floats = Cast <to = 1> (given)  values = Reshape(floats, classes)
                others = Sub({"one" if likely else "values"}, values)
                both = Concat <axis = 1> (others, values)
                pair = Identity({"both" if count == 1 else "values"})
                bounded = Max(pair, floor)  logarithms = Log(bounded)
                column = MatMul({"logarithms" if likely else "pair"}, signs)
                {LOGIT} = Reshape(column, flat)
            }}"""
        with_input = compose.merge_models(
            parser.parse_model(before), model, [("pixels", self._inputs[0].name)], prefix2="given/"
        )
        read = [(f"given/{self.config.output}", "given")]
        made = compose.merge_models(with_input, parser.parse_model(after), read, outputs=[LOGIT])
        (directory / CLASSIFIER).write_bytes(made.SerializeToString(deterministic=True))

    def parity(self, directory: Path, crops: NDArray[np.uint8]) -> float:
        """Return the largest difference between ``classifier.onnx`` in ``directory`` and this graph
        on ``crops`` (N, S, S, 3) uint8 RGB: of logits, or of probabilities where it gives them,
        whose logits hang on the last digit near 0 and 1. Errors are those of ``values`` and of
        ``tolerated``."""
        classifier, differences = open_classifier(directory), []
        for crop in crops:
            *other, last = self.values(crop)
            got = classifier.run([LOGIT], {CROPS: crop[np.newaxis]})[0].item()
            if self.config.gives == "probability":
                pair = (*(other or [1.0 - last]), last)
                want, got = pair[self.config.manipulated], 1.0 / (1.0 + np.exp(-got))
            else:
                want = (last - sum(other)) * (1.0 if self.config.manipulated else -1.0)
            differences.append(abs(got - want))
        return tolerated(float(np.max(differences)))


def _braced(values: Iterable[float]) -> str:
    return "{" + ", ".join(f"{float(value)!r}" for value in values) + "}"


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0]
