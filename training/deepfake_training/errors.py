"""Errors that a person running training can act on."""

from __future__ import annotations

from deepfake_models.errors import DeepfakeError


class TrainingError(DeepfakeError):
    """Training cannot continue with this input."""


class ConfigError(TrainingError):
    """The training config is not valid."""


class WeightsMissing(TrainingError):
    """The initial weights of the network are not available on this machine."""
