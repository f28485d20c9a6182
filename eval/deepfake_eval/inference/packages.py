"""Name the packages whose versions may change results."""

from __future__ import annotations

from importlib.metadata import version

VERSIONED = ("deepfake-service", "onnxruntime", "onnxruntime-gpu", "numpy", "av", "pillow", "torch")


def versions() -> dict[str, str]:
    """Return the version of each of ``VERSIONED`` that is installed."""
    found: dict[str, str] = {}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except ImportError:  # not installed
            continue
    return found
