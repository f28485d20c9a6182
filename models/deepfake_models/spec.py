"""Frozen specifications: everything between bytes and a score that is a choice.

They are data, saved with the weights in ``bundle.json``, so training, evaluation and the service
cut, scale and judge alike. Unknown or missing-typed fields are refused with the field's name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Spec(BaseModel):
    """Base of all specifications: immutable, and strict about what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SamplingSpec(Spec):
    """Which frames of a video are examined when the caller does not ask for an exact number.

    At least one frame every ``interval_s`` seconds and at least ``min_frames``, evenly spread over
    the whole duration, up to ``max_frames``; then, around suspect moments, a pass at
    ``dense_interval_s`` of at most ``dense_max_frames``.
    """

    interval_s: Positive = 2.0
    min_frames: PositiveInt = 32
    max_frames: PositiveInt = 600
    dense_interval_s: Positive = 0.5
    dense_max_frames: Annotated[int, Field(ge=0)] = 64
    max_gap_s: Positive = 10.0
    """Longest unexamined gap, in seconds, with which "no manipulation found" may still be said."""
    max_failed_share: Probability = 0.2
    """Largest share of the sampled frames that may be undecodable for it to be said."""


class DetectorSpec(Spec):
    """The face detector: MTCNN (Zhang et al. 2016, arXiv:1604.02878) as in facenet-pytorch."""

    kind: Literal["mtcnn"] = "mtcnn"
    long_side: PositiveInt = 640
    """Pictures are scaled down so that their longer side is at most this many pixels."""
    min_face: PositiveInt = 20
    """Smallest face searched for, in pixels of the scaled picture."""
    thresholds: tuple[Probability, Probability, Probability] = (0.6, 0.7, 0.7)
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.709
    min_confidence: Probability = 0.9
    """Detections of the last stage below this are dropped."""
    max_faces: PositiveInt = 64
    """Of one frame, the widest are judged: bounds what a picture of a crowd costs."""


class CropSpec(Spec):
    """The square face crop that the classifier sees."""

    scale: Positive = 1.3
    """Side of the square as a multiple of the longer side of the detector's box."""
    size: PositiveInt = 224
    """Side of the resampled crop in pixels."""
    resample: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    border: Literal["reflect"] = "reflect"
    """How the part of a square that lies outside the picture is filled."""
    min_visible: Probability = 0.5
    """Detections with less of their box inside the picture are taken for no face."""
    min_face_px: PositiveInt = 48
    """Narrower faces (width of the box in the original picture) are not judged."""
    min_sharpness: Annotated[float, Field(ge=0.0)] = 2.5
    """Crops less sharp than this (see ``crops.sharpness``) are not judged: under 1% of the
    held-out faces of the shipped model are, so nothing is known of its errors on them."""


class InputSpec(Spec):
    """The classifier's input: uint8 RGB, NHWC. Normalisation is inside the graph, stated here."""

    height: PositiveInt = 224
    width: PositiveInt = 224
    color: Literal["rgb"] = "rgb"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class TrackSpec(Spec):
    """How boxes of one person are linked over time."""

    min_iou: Probability = 0.3
    max_center_shift: Positive = 1.0
    """Farthest that a face's centre may move between two linked frames, in face widths."""
    max_gap_s: Positive = 8.0
    """A face not seen for longer than this starts a new track."""
    scene_cut: Probability = 0.35
    """Histogram distance between neighbouring sampled frames from which a cut is assumed."""


class AggregationSpec(Spec):
    """How face values become a track's, and track values an item's. Printed in every report."""

    track: Literal["time_weighted_mean"] = "time_weighted_mean"
    """Mean of the face logits, each weighted by the time it stands for."""
    item: Literal["mean_likelihood_ratio"] = "mean_likelihood_ratio"
    """Mean of the judged tracks' likelihood ratios: the likelihood ratio of "one of the n people is
    manipulated, each equally likely". So one suspect among n needs evidence n times as strong. A
    picture's faces stand in for tracks, at face level."""
    min_track_faces: PositiveInt = 3
    """A video's track with fewer judged faces is not judged."""
    min_judged_share: Probability = 0.5
    """A track of whose faces fewer could be judged may not be called free of manipulation."""
    max_suspect_share: Probability = 0.25
    """Nor one of whose judged faces more look manipulated, however scattered."""
    max_unjudged_presence: Probability = 0.25
    """Nor an item in more of whose frames with a face there is one person who was not judged."""


class Calibration(Spec):
    """Affine map from a raw value to a natural-log likelihood ratio; see ``calibration``.

    Raw is a face's logit, a track's mean logit, or an item's corrected track value (natural log).
    """

    slope: Positive
    intercept: float
    limit: Positive
    """Largest absolute log10 likelihood ratio that the fitting material supports."""
    samples: Annotated[int, Field(ge=0)]
    groups: Annotated[int, Field(ge=0)]


class LevelCalibrations(Spec):
    """One calibration a level, each fitted on held-out values of that level."""

    face: Calibration
    track: Calibration
    item: Calibration


class LevelThresholds(Spec):
    """Decision thresholds of one level, on log10 likelihood ratios."""

    likely_manipulated: float
    """At or above: ``likely_manipulated``."""
    no_manipulation_found: float
    """Below: ``no_manipulation_found``; between the two: ``inconclusive``."""
    false_positive_rate: Probability
    """Measured at ``likely_manipulated`` on held-out real material."""
    false_positive_rate_upper: Probability
    """Upper end of its 95% interval, clustered by group."""
    true_positive_rate: Probability
    """Measured at ``likely_manipulated`` on held-out manipulated material."""
    miss_rate: Probability
    """Share of held-out manipulated material below ``no_manipulation_found``."""

    @model_validator(mode="after")
    def _ordered(self) -> LevelThresholds:
        if self.no_manipulation_found > self.likely_manipulated:
            raise ValueError("no_manipulation_found must not exceed likely_manipulated")
        return self


class Thresholds(Spec):
    """Thresholds at each level."""

    face: LevelThresholds
    track: LevelThresholds
    item: LevelThresholds


class MeasuredRate(Spec):
    """A share of held-out faces with its 95% interval, clustered by group, and what it rests on."""

    value: Probability | None
    """``None`` where nothing was measured."""
    low: Probability
    high: Probability
    samples: Count
    groups: Count


class ConditionBin(Spec):
    """What was measured on held-out faces of one condition.

    Rates are those at which faces are called manipulated at ``thresholds.face``.
    """

    false_positive_rate: MeasuredRate
    """Of real faces."""
    true_positive_rate: MeasuredRate
    """Of manipulated faces."""


class ConditionsSpec(Spec):
    """Under which conditions error rates were measured, by face width and sharpness.

    In a bin with fewer than ``min_groups`` groups of real or of manipulated faces the rates are
    not known well enough, and nothing is decided there: see ``judging``. Without ``bins``, the
    default, nothing was measured by condition; the rates stated with the thresholds then stand for
    every condition, and every face is decided on.
    """

    face_px_edges: tuple[Positive, ...] = ()
    """Inner edges, ascending, in pixels of ``Quality.face_px``. A bin holds its lower edge; the
    first and the last bin are open to their side, so that every face lies in one."""
    sharpness_edges: tuple[Positive, ...] = ()
    """The same of ``Quality.sharpness``."""
    min_groups: PositiveInt = 10
    """Groups of real and of manipulated faces each that a rate must rest on. A rate that rests on
    fewer is only indicative, wherever it is shown. Everything that needs this number reads it from
    the bundle at hand (``spec.conditions.min_groups``)."""
    bins: tuple[tuple[ConditionBin, ...], ...] = ()
    """A row a face width, and in it a bin a sharpness, both ascending."""

    @model_validator(mode="after")
    def _complete(self) -> ConditionsSpec:
        for edges in (self.face_px_edges, self.sharpness_edges):
            if not _ascending(edges):
                raise ValueError("edges must ascend")
        rows, columns = len(self.face_px_edges) + 1, len(self.sharpness_edges) + 1
        if not self.bins:
            if rows > 1 or columns > 1:
                raise ValueError("edges without bins")
        elif rows == 1 or columns == 1:
            raise ValueError("bins need at least one edge of face_px and one of sharpness")
        elif len(self.bins) != rows or any(len(row) != columns for row in self.bins):
            raise ValueError(f"the edges make {rows} rows of {columns} bins")
        return self


def _ascending(edges: Sequence[float]) -> bool:
    return all(low < high for low, high in itertools.pairwise(edges))
