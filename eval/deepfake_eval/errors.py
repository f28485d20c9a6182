"""Errors that a person measuring a bundle can act on."""

from __future__ import annotations

from deepfake_models.errors import DeepfakeError


class EvalError(DeepfakeError):
    """The measurement cannot go on with this input."""


class DatasetError(EvalError):
    """The folder is not laid out as the data set is published."""


class RunError(EvalError):
    """The run folder does not hold what is needed."""
