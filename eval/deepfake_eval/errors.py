"""Errors of the evaluation that a user can act on."""

from __future__ import annotations

from deepfake_models.errors import DeepfakeError


class EvalError(DeepfakeError):
    """The evaluation cannot continue with this input."""


class DatasetError(EvalError):
    """The folder does not have the published layout of its data set."""


class RunError(EvalError):
    """The files of the run cannot be used for this evaluation."""
