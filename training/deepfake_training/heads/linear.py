"""The head of the verdict: linear logits, shrunk discriminants of differences within sources.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). What it knows includes the
page, camera or data set that a face comes from, and a head may learn that instead of the
manipulation. So where a source has both classes, only the difference within it is learnt, and what
tells the real material of sources apart counts as noise.

A face of a video and a face of a picture have a logit each: most manipulated videos are real ones
into which a face was blended or rendered, while most manipulated pictures were generated whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from deepfake_models.classifier import LOGIT
from deepfake_training.config import Config
from deepfake_training.heads.head import Array, Examples, Head, Material

_READ: Final = (("plain", "rendered", "blended"), ("plain", "pictures"))
"""The discriminants of which the logit of a face of a video, and that of a face of a picture, is
the mean."""


class LinearHead(Head):
    """Logits of faces of videos and of pictures."""

    output: ClassVar[str] = LOGIT

    @classmethod
    def fit(cls, material: Material, config: Config) -> LinearHead:
        """Fit linear discriminants for each reading (Fisher 1936), with a shrunk covariance (Ledoit
        and Wolf 2004): one to plain faces, which carry what real material does, and others to
        pairs, whose halves share subject, source and coding: those that tools made or an
        autoencoder redrew, those that were blended, and pictures by tools. One that would have
        nothing to learn from is left out.

        A logit is the mean of some of them, see ``_READ``, and of the readings, each scaled to the
        same deviation of plain faces, within the classes of a source and between sources.
        """
        parts = {
            "rendered": ~material.blended,
            "blended": material.blended,
            "pictures": material.pictures,
        }
        readings = material.plain.features.shape[1]
        weights, biases = [], []
        for v in range(readings):
            plain = material.plain.features[:, v].astype(np.float32)
            mean, deviation = plain.mean(axis=0), plain.std(axis=0) + 1e-6
            plain = (plain - mean) / deviation
            between = _between_sources(plain, material)
            _centre(plain, material.plain.truth, material.sources)
            within, *classes = _moments(plain, material.plain)
            spread = within + between
            learnt = {"plain": (spread, *classes)}
            pairs = (material.pairs.features[:, v].astype(np.float32) - mean) / deviation
            for name, own in parts.items():
                if len(set(material.pairs.truth[own])) == 2:
                    learnt[name] = _moments(pairs[own], material.pairs, own)
            weight, bias = {}, {}
            for name, (noise, real, fake) in learnt.items():
                direction = _discriminant(noise, fake - real, config.probe.shrinkage)
                direction /= np.sqrt(direction @ spread @ direction) * readings
                weight[name] = direction / deviation
                bias[name] = -weight[name] @ (mean + deviation * (real + fake) / 2.0)
            weights.append([_mean_of(weight, names) for names in _READ])
            biases.append([_mean_of(bias, names) for names in _READ])
        return cls(np.concatenate(weights, axis=1), np.sum(biases, axis=0))


def _mean_of(values: Mapping[str, Any], names: Iterable[str]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean([values[name] for name in names if name in values], axis=0)
    return mean


def _between_sources(values: NDArray[np.float32], material: Material) -> NDArray[np.float64]:
    """Return the covariance (F, F), between sources, of the means of real faces among the plain
    faces' ``values`` (N, F)."""
    real = material.plain.truth == 0
    _, source = np.unique(material.sources[real], return_inverse=True)
    weight = np.eye(source.max() + 1)[source] * material.plain.weights[real, None]
    means = (weight / weight.sum(axis=0)).T @ values[real]
    covariance: NDArray[np.float64] = np.cov(means.T, aweights=weight.sum(axis=0), ddof=0)
    return covariance


def _centre(values: Array, truth: Array, sources: Array) -> None:
    """Subtract from the ``values`` (N, F) of each source with both classes the mean of their two
    means, in place."""
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        classes = [own[truth[own] == label] for label in (0, 1)]
        if all(map(len, classes)):
            values[own] -= np.mean([values[rows].mean(axis=0) for rows in classes], axis=0)


def _moments(
    values: NDArray[np.float32], examples: Examples, own: Array | slice = slice(None)
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the covariance (F, F) of ``values`` (N, F) within the classes of those ``examples``
    that are ``own``, and the means (F,) of the real and of the manipulated ones."""
    size, truth, weights = values.shape[1], examples.truth[own], examples.weights[own]
    within, means = np.zeros((size, size)), []
    for label in (0, 1):
        part, weight = values[truth == label], weights[truth == label]
        weight = (weight / weight.sum()).astype(np.float32)
        mean = (weight @ part).astype(np.float64)
        within += 0.5 * ((part * weight[:, None]).T @ part - np.outer(mean, mean))
        means.append(mean)
    return within, means[0], means[1]


def _discriminant(
    within: NDArray[np.float64], difference: NDArray[np.float64], shrinkage: float
) -> NDArray[np.float64]:
    """Return the direction (F,) of a linear discriminant of classes with the covariance ``within``
    whose means differ by ``difference``."""
    ridge = shrinkage * np.trace(within) / len(within)
    solved: NDArray[np.float64] = np.linalg.solve(within + ridge * np.eye(len(within)), difference)
    return solved
