"""Load, verify and seal a model bundle: a directory whose ``bundle.json`` lists every other file.

``bundle.json`` holds the SHA-256 of each; its own SHA-256 is the bundle's identity.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from deepfake_models.bundle.spec import (
    AggregationSpec,
    ConditionsSpec,
    CropSpec,
    DetectorSpec,
    Histograms,
    InputSpec,
    LevelCalibrations,
    SamplingSpec,
    Spec,
    Thresholds,
    TrackSpec,
)
from deepfake_models.errors import BundleError
from deepfake_models.machine import atomic_write

MANIFEST = "bundle.json"
CLASSIFIER = "classifier.onnx"
GRAPHS = (CLASSIFIER, "pnet.onnx", "rnet.onnx", "onet.onnx")
MAP = "map.onnx"
"""Optional: the graph of the activation map. Without it, the classifier may have that output."""
WEIGHTS = "weights.bin"
"""Optional: the tensors that ``classifier.onnx`` and ``map.onnx`` share, as their external data."""
_LOADED = frozenset({*GRAPHS, MAP, WEIGHTS})
REQUIRED = (*GRAPHS, "reliability.json", "MODEL_CARD.md")
MAX_FILE_BYTES = 4 * 1024**3
"""A ViT-L in fp32 has 1.2 GB. A wrong path must not fill the memory."""
MAX_MANIFEST_BYTES = 4 * 1024**2
"""The manifest of the shipped bundle has 60 kB, half of it about its training."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BundleSpec(Spec):
    format_version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(min_length=1, max_length=64)]
    created: str
    terms: Annotated[str, Field(min_length=1)]
    """Who may use the weights for what, for instance ``research-only``."""
    prior: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """The prior probability of manipulation at which ``score`` is calculated."""
    sampling: SamplingSpec
    detector: DetectorSpec
    crop: CropSpec
    input: InputSpec
    tracks: TrackSpec
    aggregation: AggregationSpec
    calibration: LevelCalibrations
    thresholds: Thresholds
    conditions: ConditionsSpec = ConditionsSpec()
    """Where error rates are known well enough to decide; by default, everywhere."""
    unseen: Literal["people", "sources", "unknown"] = "people"
    """What the runs behind calibration, thresholds and error rates had not seen of a medium: its
    person, or neither its person nor its source (page, camera or data set). The groups of all rates
    are those. ``unknown`` for a network that was trained elsewhere: it may have seen both."""
    kinds: tuple[str, ...] = ()
    """Names of the kinds of manipulation that the classifier tells apart, in the order of
    ``Face.kind_logits``; empty where it tells none apart."""
    logit_noise: Annotated[float, Field(ge=0.0)] = 0.0
    """Standard deviation of a face's logit under a change of one bit of one pixel of each square,
    the largest of those of the logit and of the logits of kinds. 8-bit arithmetic rounds such a
    change up or down, as it does with the last digits in which processors differ, so another
    machine may differ by as much. 0: by no more than a hundredth."""
    histograms: Histograms | None = None
    """How the values of held-out media spread, where that was recorded."""
    training: dict[str, Any]
    """Provenance: config and its hash, data sets and their terms, seeds, versions, metrics."""
    files: dict[str, str]
    """Name and SHA-256, in lower-case hex, of every other file of the bundle."""

    @field_validator("files")
    @classmethod
    def _plain(cls, value: dict[str, str]) -> dict[str, str]:
        for name, digest in value.items():
            if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST:
                raise ValueError(f"{name!r} is not a plain file name")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"{name}: {digest!r} is not a SHA-256 in lower-case hex")
        missing = [n for n in REQUIRED if n not in value]
        if missing:
            raise ValueError(f"does not list {', '.join(missing)}")
        return value


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle. ``sha256`` identifies it; ``graphs`` holds the verified ONNX files
    and the weights that they share, and is empty once their sessions are open."""

    directory: Path
    spec: BundleSpec
    sha256: str
    graphs: dict[str, bytes]

    def model_json(self) -> dict[str, str]:
        """Return the ``model`` object of every result."""
        return {
            "bundle": self.spec.name,
            "version": self.spec.version,
            "sha256": self.sha256,
            "terms": self.spec.terms,
        }

    def read(self, name: str) -> bytes:
        """Return the content of the listed file ``name``; ``BundleError`` if the file was altered
        or removed after the bundle was loaded."""
        return _verified(self.directory, name, self.spec)

    def reliability(self) -> dict[str, Any]:
        """Return the content of ``reliability.json``; raises what ``read`` raises."""
        content: dict[str, Any] = json.loads(self.read("reliability.json"))
        return content


def default_bundle_dir() -> Path:
    """Return the directory of the bundle that ships with the package."""
    return Path(str(package_files("deepfake_models"))) / "bundles" / "default"


def load_bundle(directory: Path | None = None) -> Bundle:
    """Load and verify the bundle in ``directory``, by default the shipped one.

    1. ``bundle.json`` is read and its fields are validated.
    2. Every file that it lists must exist and have the listed SHA-256.
    3. The size of crops must be the classifier's input size.

    Raises:
        BundleError: one of these fails; the message names the file and the field.
    """
    directory = directory or default_bundle_dir()
    raw = _read(directory, MANIFEST, MAX_MANIFEST_BYTES)
    try:
        spec = BundleSpec.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the document"
        raise BundleError(
            f"{MANIFEST}: {where}: {first['msg']}. Use the version that the bundle was made "
            "for, or export it again."
        ) from error
    graphs = {}
    for name in spec.files:
        content = _verified(directory, name, spec)
        if name in _LOADED:
            graphs[name] = content
    if not spec.crop.size == spec.input.height == spec.input.width:
        raise BundleError(
            f"{MANIFEST}: crop.size differs from input.height and input.width. Export the "
            "bundle again."
        )
    return Bundle(directory, spec, hashlib.sha256(raw).hexdigest(), graphs)


def seal(directory: Path, fields: dict[str, Any]) -> Bundle:
    """Write ``bundle.json`` for the files in ``directory`` and load the result.

    ``fields`` are those of ``BundleSpec`` except ``format_version`` and ``files``. All other files
    must be in place. ``BundleError`` if a field is invalid, or a required file is missing.
    """
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    }
    try:
        spec = BundleSpec.model_validate({**fields, "format_version": 1, "files": digests})
    except ValidationError as error:
        raise BundleError(
            f"{MANIFEST} was not written, because fields are invalid. Correct them: {error}"
        ) from error
    with atomic_write(directory / MANIFEST) as file:
        file.write(spec.model_dump_json(indent=2).encode() + b"\n")
    return load_bundle(directory)


def _read(directory: Path, name: str, limit: int) -> bytes:
    path = directory / name
    try:
        size = path.stat().st_size
        if size > limit:
            raise BundleError(
                f"{name}: the file has {size} bytes, and the limit is {limit}. Check that the "
                "path is that of a bundle."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        if not directory.is_dir():
            raise BundleError(f"There is no folder {directory}. Give that of a bundle.") from error
        raise BundleError(
            f"{name}: missing from the bundle directory. Check the path, or copy the whole "
            "bundle again."
        ) from error
    except OSError as error:
        raise BundleError(
            f"{name}: the file cannot be read: {error.strerror}. Check who may read it."
        ) from error


def _verified(directory: Path, name: str, spec: BundleSpec) -> bytes:
    content = _read(directory, name, MAX_FILE_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    if digest != spec.files[name]:
        raise BundleError(
            f"{name}: the SHA-256 is {digest}, but {MANIFEST} lists {spec.files[name]}. The "
            "file was changed or damaged: copy the bundle again."
        )
    return content
