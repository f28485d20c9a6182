"""Heads: what is fitted on the features of a frozen network, and exported behind it.

May import config and errors alone; the networks that give the features know nothing of heads.
Begin with ``Head`` in ``head.py``: a further head is a module like ``kinds.py``, here with a line
below, or in a package of your own with an entry point of the group ``deepfake.heads``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from deepfake_eval.installed import Registry
from deepfake_models.classifier import LOGIT
from deepfake_training.config import Config
from deepfake_training.errors import ConfigError
from deepfake_training.heads.head import Head, Material
from deepfake_training.heads.kinds import KindHead
from deepfake_training.heads.linear import LinearHead

HEADS: Final[Registry[type[Head]]] = Registry(
    "deepfake.heads",
    {"linear": LinearHead, "kinds": KindHead},
    ConfigError,
    lambda found: isinstance(found, type) and issubclass(found, Head),
)
"""Every head by the name that ``probe.heads`` gives it."""

Heads = dict[str, Head]


def chosen_heads(config: Config) -> dict[str, type[Head]]:
    """Return the heads that ``config`` names; ``ConfigError`` if there is no such head, or not
    exactly one of them gives the logit."""
    names = config.probe.heads
    if unknown := set(names) - set(HEADS):
        raise ConfigError(
            f"probe.heads: There is no head {min(unknown)!r}. Choose from {', '.join(HEADS)}."
        )
    heads = {name: HEADS[name] for name in names}
    if [head.output for head in heads.values()].count(LOGIT) != 1:
        raise ConfigError("probe.heads: Name one head that gives the logit, such as linear.")
    return heads


def fit_heads(material: Material, config: Config) -> Heads:
    """Fit the heads of a run of ``config``; ``TrainingError`` if what a head learns from is
    missing."""
    return {name: head.fit(material, config) for name, head in chosen_heads(config).items()}


def logits_of(heads: Heads, features: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what each head gives for features (N, R, F), by the name of its output."""
    return {head.output: head.logits(features) for head in heads.values()}


def state_of(heads: Heads) -> dict[str, NDArray[Any]]:
    """Return the arrays that a run saves."""
    return {f"{n}.{k}": v for n, head in heads.items() for k, v in head.state().items()}


def heads_of(state: Mapping[str, Any]) -> Heads:
    """Return the heads that ``state``, of arrays or tensors, was made from."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for key, value in state.items():
        name, _, field = key.rpartition(".")
        parts.setdefault(name, {})[field] = value.numpy() if hasattr(value, "numpy") else value
    return {name: HEADS[name](**arrays) for name, arrays in parts.items()}
