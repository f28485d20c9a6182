"""Name the packages whose versions may change results."""

from __future__ import annotations

from deepfake_models.machine import installed_versions

VERSIONED = ("deepfake-service", "onnxruntime", "onnxruntime-gpu", "numpy", "av", "pillow", "torch")


def versions() -> dict[str, str]:
    """Return the version of each of ``VERSIONED`` that is installed."""
    return installed_versions(VERSIONED)
