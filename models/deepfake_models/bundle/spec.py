"""Specifications: every choice between the bytes of a file and its score.

They are saved with the weights in ``bundle.json``, so that training, evaluation and the service
crop, scale and judge alike. Unknown fields and wrong types are errors that name the field.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


def is_none(value: object) -> bool:
    """Return whether an option is absent, and therefore left out of what is written."""
    return value is None


class Spec(BaseModel):
    """Base of all specifications: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SamplingSpec(Spec):
    """Which frames of a video are examined when the caller does not ask for an exact number.

    The overview takes one frame every ``interval_s`` seconds, at least ``min_frames`` and at most
    ``max_frames``, spread evenly over the whole duration. The dense pass then takes one frame every
    ``dense_interval_s`` around suspect moments, at most ``dense_max_frames``.
    """

    interval_s: Positive = 2.0
    min_frames: PositiveInt = 32
    max_frames: PositiveInt = 600
    dense_interval_s: Positive = 0.5
    dense_max_frames: Annotated[int, Field(ge=0)] = 64
    max_gap_s: Positive = 10.0
    """Longest unexamined gap, in seconds, with which ``no_manipulation_found`` is still allowed."""
    max_failed_share: Probability = 0.2
    """Largest share of undecodable frames among the sampled ones with which it is allowed."""


class DetectorSpec(Spec):
    """The face detector: MTCNN (Zhang et al. 2016, arXiv:1604.02878) as in facenet-pytorch."""

    kind: Literal["mtcnn"] = "mtcnn"
    long_side: PositiveInt = 640
    """Pictures are scaled down so that their longer side is at most this many pixels."""
    min_face: PositiveInt = 20
    """Width of the smallest face that is detected, in pixels of the scaled picture."""
    thresholds: tuple[Probability, Probability, Probability] = (0.6, 0.7, 0.7)
    """Of the three networks."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.709
    """Scale of each level of the image pyramid relative to the level before."""
    min_confidence: Probability = 0.9
    """Detections of the last stage below this are dropped."""
    max_faces: PositiveInt = 64
    """The widest faces of a frame are judged, at most so many: this bounds the cost of a crowd."""
    border: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Width of a grey border, as a share of the picture's shorter side. A copy with the border is
    examined as well, in which faces that fill the picture are found; 0: no such copy."""
    turn_above: Annotated[float, Field(ge=45.0, lt=180.0)] | None = None
    """Faces that are turned by more degrees than this in the picture plane are turned upright by
    quarter turns before they are scored, and not scored where their landmarks do not say which way
    is up. Copies of the picture by quarter turns are examined to find them. ``None``: faces are
    scored as they appear."""
    large_face: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Width of the smallest face that is detected in a copy, as a share of the picture's shorter
    side: smaller faces have background around them, and are found in the picture itself."""


class CropSpec(Spec):
    """The square face crop that the classifier sees."""

    scale: Positive = 1.3
    """Side of the square as a multiple of the longer side of the detector's box."""
    size: PositiveInt = 224
    """Side of the resampled crop in pixels."""
    resample: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    border: Literal["reflect"] = "reflect"
    """How the part of a square outside the picture is filled."""
    min_visible: Probability = 0.5
    """Detections with a smaller share of their box inside the picture are dropped."""
    min_face_px: PositiveInt = 48
    """Narrower faces are not scored; the width is that of the box in the original picture."""
    min_sharpness: Annotated[float, Field(ge=0.0)] = 2.5
    """Crops less sharp than this (see ``crops.sharpness``) are not scored. They are under 1% of the
    held-out faces of the shipped model, so its errors on them are unknown."""
    further_scales: tuple[Positive, ...] = ()
    """Scales of further squares of the same face that the classifier sees beside the first."""

    @property
    def views(self) -> int:
        return 1 + len(self.further_scales)


class InputSpec(Spec):
    """The classifier's input: uint8 RGB, NHWC. The graph itself normalises by ``mean``, ``std``."""

    height: PositiveInt = 224
    width: PositiveInt = 224
    color: Literal["rgb"] = "rgb"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class TrackSpec(Spec):
    """How the boxes of one person are linked over time."""

    min_iou: Probability = 0.3
    max_center_shift: Positive = 1.0
    """Greatest movement of a face's centre between two linked frames, in face widths."""
    max_gap_s: Positive = 8.0
    """A face that was not seen for longer starts a new track."""
    scene_cut: Probability = 0.35
    """Histogram distance between neighbouring sampled frames above which a cut is assumed."""


class AggregationSpec(Spec):
    """How face values are combined into a track's and track values into an item's. Printed in every
    report."""

    track: Literal["time_weighted_mean"] = "time_weighted_mean"
    """Mean of the face logits, each weighted by the time that it represents."""
    item: Literal["mean_likelihood_ratio"] = "mean_likelihood_ratio"
    """Mean of the judged tracks' likelihood ratios: the likelihood ratio of "one of the n people is
    manipulated, each equally likely". So one suspect among n needs evidence n times as strong. The
    faces of a picture count as tracks, at face level."""
    min_track_faces: PositiveInt = 3
    """A video's track with fewer judged faces is not judged."""
    min_judged_share: Probability = 0.5
    """A track with a smaller share of judged faces cannot be ``no_manipulation_found``."""
    max_suspect_share: Probability = 0.25
    """Nor can a track with a larger share of suspect ones among its judged faces, however
    scattered."""
    max_unjudged_presence: Probability = 0.25
    """Nor can an item if people who were not judged appear in a larger share of its frames with a
    face."""
    max_doubtful_presence: Probability = 0.0
    """Nor can a video if people with reasons of their own against it, or who may not be decided on,
    appear in a larger share of its frames with a face. The same holds for faces that look
    manipulated of people seen too briefly to judge. People seen in fewer frames are only mentioned.
    With 0, the default, each counts, however briefly seen. A track that is ``likely_manipulated``
    or leans that way always counts."""
    max_unjudged_width: Probability = 0.0
    """Nor can a picture if a face that was not judged, or may not be decided on, is wider than this
    share of the widest face that was judged. Narrower ones are only mentioned. With 0, the default,
    each counts."""


class Calibration(Spec):
    """Affine map from a raw value to a natural-log likelihood ratio; see ``calibration``.

    The raw value is a face's logit, a track's mean logit, or the natural log of the mean of an
    item's track likelihood ratios.
    """

    slope: Positive
    intercept: float
    limit: Annotated[float, Field(gt=0.0, le=300.0)]
    """Largest absolute log10 likelihood ratio that the fitting material supports: about the
    logarithm of its groups. The ratio itself must be a finite number."""
    samples: Count
    groups: Count


class LevelCalibrations(Spec):
    """One calibration for each level, fitted on held-out values of that level."""

    face: Calibration
    track: Calibration
    item: Calibration


class StatedRates(Spec):
    """Rates that were measured on held-out material at an upper and a lower edge."""

    false_positive_rate: Probability
    """Share of real material at or above the upper edge."""
    false_positive_rate_upper: Probability
    """Upper end of its 95% interval, clustered by group."""
    true_positive_rate: Probability
    """Share of manipulated material at or above the upper edge."""
    miss_rate: Probability
    """Share of manipulated material below the lower edge."""


class LeaningEdges(StatedRates):
    """Edges on log10 likelihood ratios between which a value leans neither way. They rank what is
    inconclusive, at error rates that are too high to decide by."""

    towards_manipulated: float
    """Values at or above it lean towards manipulated."""
    towards_untouched: float
    """Values below it lean towards untouched."""
    true_negative_rate: Probability
    """Share of real material below ``towards_untouched``."""


class LevelThresholds(StatedRates):
    """Decision thresholds of one level, on log10 likelihood ratios."""

    likely_manipulated: float
    """Values at or above it are ``likely_manipulated``."""
    no_manipulation_found: float
    """Values below it are ``no_manipulation_found``; those between the two are
    ``inconclusive``."""
    leaning: LeaningEdges | None = None
    """Edges by which an inconclusive value leans one way; ``None`` if none were measured."""

    @model_validator(mode="after")
    def _ordered(self) -> LevelThresholds:
        if self.no_manipulation_found > self.likely_manipulated:
            raise ValueError("no_manipulation_found must not exceed likely_manipulated")
        if self.leaning:
            lower, upper = self.leaning.towards_untouched, self.leaning.towards_manipulated
            if not self.no_manipulation_found <= lower <= upper <= self.likely_manipulated:
                raise ValueError(
                    "no_manipulation_found, leaning.towards_untouched, leaning.towards_manipulated "
                    "and likely_manipulated must ascend"
                )
        return self


class Thresholds(Spec):
    face: LevelThresholds
    track: LevelThresholds
    item: LevelThresholds
    """For whole videos."""
    picture: LevelThresholds | None = None
    """For whole stills and the faces in them, on values of the face calibration. ``None``: those of
    ``face`` apply."""

    @property
    def still(self) -> LevelThresholds:
        """Return the thresholds of whole stills and of the faces in them."""
        return self.picture or self.face


class ValueHistogram(Spec):
    """How the values of whole held-out media spread, each judged by a fit that did not see it."""

    edges: Annotated[tuple[float, ...], Field(min_length=3, max_length=101)]
    """Edges of the bins on log10 likelihood ratios, ascending, one more than there are bins. A bin
    includes its lower edge; values beyond the outer edges are in the first and the last bin."""
    real: tuple[Count, ...]
    """Real media in each bin."""
    fake: tuple[Count, ...]
    """Manipulated media in each bin."""
    real_groups: PositiveInt
    """Groups that the real media are of."""
    fake_groups: PositiveInt
    """Groups that the manipulated media are of."""

    @model_validator(mode="after")
    def _complete(self) -> ValueHistogram:
        if not _ascending(self.edges):
            raise ValueError("edges must ascend")
        for name, counts, groups in (
            ("real", self.real, self.real_groups),
            ("fake", self.fake, self.fake_groups),
        ):
            if len(counts) != len(self.edges) - 1:
                raise ValueError(f"{name}: the edges make {len(self.edges) - 1} bins")
            if sum(counts) < groups:
                raise ValueError(f"{name}: {sum(counts)} media cannot be of {groups} groups")
        return self


class Histograms(Spec):
    """Histograms of the values of whole media, on which a report shows where an item lies."""

    item: ValueHistogram | None = None
    """Of videos."""
    picture: ValueHistogram | None = None
    """Of stills."""


class MeasuredRate(Spec):
    """A share of held-out faces, its 95% interval (clustered by group) and the sample sizes."""

    value: Probability | None
    """``None`` where there was nothing to measure."""
    low: Probability
    high: Probability
    samples: Count
    groups: Count


class ConditionBin(Spec):
    """Error rates on held-out faces of one condition, at ``thresholds.face``."""

    false_positive_rate: MeasuredRate
    """Share of real faces that are called manipulated."""
    true_positive_rate: MeasuredRate
    """Share of manipulated faces that are called manipulated."""


class ConditionsSpec(Spec):
    """The conditions, by face width and sharpness, under which error rates were measured.

    Nothing is decided in a bin with fewer than ``min_groups`` groups of real or of manipulated
    faces, because its rates are not known well enough; see ``decision.decide``. Without ``bins``,
    the default, nothing was measured by condition: the rates given with the thresholds then count
    for every condition, and every face is decided on.
    """

    face_px_edges: tuple[Positive, ...] = ()
    """Inner edges of the bins, ascending, in pixels of ``Quality.face_px``. A bin includes its
    lower edge; the first and the last bin are unbounded, so that every face is in a bin."""
    sharpness_edges: tuple[Positive, ...] = ()
    """The same for ``Quality.sharpness``."""
    min_groups: PositiveInt = 10
    """Groups of real and of manipulated faces each that a rate must rest on. A rate that rests on
    fewer is only indicative, wherever it is shown. Everything that needs this number reads it from
    the bundle at hand (``spec.conditions.min_groups``)."""
    bins: tuple[tuple[ConditionBin, ...], ...] = ()
    """One row for each face width, with one bin for each sharpness, both ascending."""

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

    def find(self, face_px: float, sharpness: float) -> tuple[int, int, ConditionBin] | None:
        """Return the row, the column and the content of a face's bin; ``None`` without bins."""
        if not self.bins:
            return None
        row = bisect_right(self.face_px_edges, face_px)
        column = bisect_right(self.sharpness_edges, sharpness)
        return row, column, self.bins[row][column]


def _ascending(edges: Sequence[float]) -> bool:
    return all(low < high for low, high in itertools.pairwise(edges))
