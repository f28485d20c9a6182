"""Export facenet-pytorch's MTCNN as three ONNX graphs, for ``deepfake_models.faces.mtcnn``.

The weights are those in the wheel of facenet-pytorch 2.5.3 (MIT licence): the published ones of
Zhang et al. 2016 (arXiv:1604.02878), converted by David Sandberg's facenet (MIT licence).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepfake_models.bundle.session import OnnxSession
from deepfake_models.errors import DeepfakeError
from deepfake_training.networks.graphs import traced

TOLERANCE = 1e-4
"""Largest absolute difference allowed between torch and onnxruntime on any output."""

_CHECK_SHAPES: dict[str, list[tuple[int, ...]]] = {
    "pnet": [(1, 3, 12, 12), (2, 3, 97, 61)],
    "rnet": [(1, 3, 24, 24), (7, 3, 24, 24)],
    "onet": [(1, 3, 48, 48), (7, 3, 48, 48)],
}
"""Shapes of the inputs on which each exported graph is compared with torch. The last is traced."""

_OUTPUTS = {
    "pnet": ("probability", "regression"),
    "rnet": ("probability", "regression"),
    "onet": ("probability", "regression", "landmarks"),
}


class DetectorExportFailed(DeepfakeError):
    """The exported face detector does not agree with the network it was exported from."""


class FacenetMissing(DeepfakeError):
    """facenet-pytorch is not installed: pip install facenet-pytorch==2.5.3."""


def export_detector(out_dir: Path) -> list[Path]:
    """Write ``pnet.onnx``, ``rnet.onnx`` and ``onet.onnx`` into ``out_dir``; return the paths.

    Every graph takes ``pixels``, float32 NCHW RGB normalised to ``(x - 127.5) / 128``, of any batch
    size. ``pnet`` takes any height and width of at least 12, ``rnet`` 24x24 and ``onet`` 48x48.
    Outputs are float32: ``probability`` of a face in [0, 1] and ``regression``
    of the box's four edges in box sides (``pnet``: (N, h, w) and (N, 4, h, w) with one cell per 2
    pixels; else (N,) and (N, 4)), and ``landmarks`` (N, 5, 2), x and y in box sides (``onet``).
    The same weights give the same bytes under the same versions of torch and onnx.

    Raises:
        FacenetMissing: if facenet-pytorch is not installed.
        DetectorExportFailed: if onnxruntime's outputs differ from torch's by more than
            ``TOLERANCE``.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, network in _networks().items():
        model = _to_onnx(name, network)
        _check(name, network, model)
        path = out_dir / f"{name}.onnx"
        path.write_bytes(model)
        paths.append(path)
    return paths


class _Stage(nn.Module):
    """One network with the outputs that ``export_detector`` describes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        # facenet-pytorch returns the regression, the landmarks if any, and the probabilities.
        regression, *landmarks, probabilities = self.network(pixels)
        points = tuple(p.reshape(-1, 2, 5).transpose(1, 2) for p in landmarks)
        return (probabilities[:, 1], regression, *points)


def _networks() -> dict[str, _Stage]:
    spec = find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        raise FacenetMissing
    from facenet_pytorch.models import mtcnn

    weights = Path(spec.origin).parent / "data"
    stages = {}
    for name, cls in (("pnet", mtcnn.PNet), ("rnet", mtcnn.RNet), ("onet", mtcnn.ONet)):
        # Not by the constructor, which unpickles arbitrary objects under torch < 2.6.
        network = cls(pretrained=False)
        state = torch.load(weights / f"{name}.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(state)
        stages[name] = _Stage(network).eval()
    return stages


def _to_onnx(name: str, network: _Stage) -> bytes:
    axes: dict[str, dict[int, str]] = {}
    if name == "pnet":
        axes = {
            "pixels": {2: "height", 3: "width"},
            "probability": {1: "rows", 2: "columns"},
            "regression": {2: "rows", 3: "columns"},
        }
    model = traced(network, torch.zeros(_CHECK_SHAPES[name][-1]), "pixels", _OUTPUTS[name], axes)
    return bytes(model.SerializeToString(deterministic=True))


def _check(name: str, network: _Stage, model: bytes) -> None:
    session = OnnxSession(model, name=name, device="cpu")
    generator = torch.Generator().manual_seed(0)
    for shape in _CHECK_SHAPES[name]:
        # Uniformly distributed over the range of normalised pixels.
        pixels = torch.rand(shape, generator=generator) * 2 - 1
        with torch.no_grad():
            expected = [t.numpy() for t in network(pixels)]
        got = session.run(list(_OUTPUTS[name]), {"pixels": pixels.numpy()})
        for output, want, have in zip(_OUTPUTS[name], expected, got, strict=True):
            if want.shape != have.shape:
                raise DetectorExportFailed(f"{name} {output}: shape {have.shape}, not {want.shape}")
            worst = float(np.abs(want - have).max())
            if not worst <= TOLERANCE:
                raise DetectorExportFailed(f"{name} {output}: differs by {worst:.2e} at {shape}")
