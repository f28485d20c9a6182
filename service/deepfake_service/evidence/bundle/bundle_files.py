"""JSON and PEM files of a bundle, as they are written, bounded, parsed and compared.

JSON and PEM are not parsed in a confined process: Python's json and cryptography's parsers of PEM
and X.509 (in Rust) are safe in memory, so that bounding the size bounds what a file can do. JSON
that is nested too deeply raises ``RecursionError``, and the step of the verification fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from deepfake_service.evidence.bundle.zip_format import InvalidBag

MAX_JSON_BYTES = 64 * 1024 * 1024
"""Limit of a JSON file, which is parsed as a whole: above the ``verdict.json`` named below."""
MAX_JSON_NODES = 1_200_000
"""Limit of objects and lists in a JSON file. A ``verdict.json`` of 2,064 frames with 64 faces each
has 530,000 in 48 MB."""
MAX_PEM_BYTES = 64 * 1024
"""A key has a hundred bytes, and a chain of certificates a few thousand."""
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def too_large(raw: bytes) -> bool:
    """Return whether a JSON file is too large for verifiers to parse."""
    return len(raw) > MAX_JSON_BYTES or raw.count(b"[") + raw.count(b"{") > MAX_JSON_NODES


def json_file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a JSON file that is small enough to be parsed.

    Raises:
        InvalidBag: it is missing, or larger than ``MAX_JSON_BYTES``, or has too many values.
    """
    return _bounded(files, name, is_too_large=name in files and too_large(files[name]))


def pem_file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a PEM file of at most ``MAX_PEM_BYTES``.

    Raises:
        InvalidBag: it is missing or larger.
    """
    return _bounded(files, name, is_too_large=len(files.get(name, b"")) > MAX_PEM_BYTES)


def _bounded(files: Mapping[str, bytes], name: str, *, is_too_large: bool) -> bytes:
    if name not in files:
        raise InvalidBag(f"{name}: missing")
    if is_too_large:
        raise InvalidBag(f"{name}: too large for verifiers to parse")
    return files[name]


def as_json(content: dict[str, Any]) -> dict[str, Any]:
    """Return ``content`` as a reader of its JSON gets it, with lists for tuples."""
    loaded: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
    return loaded


def without_wording(content: Any) -> Any:
    """Return ``content`` with the details of reasons reduced to their numbers.

    What was counted and measured must follow from the faces. How a reason is worded may differ
    between the version that wrote the evidence and this one.
    """
    if isinstance(content, list):
        return [without_wording(each) for each in content]
    if not isinstance(content, dict):
        return content
    if content.keys() == {"code", "detail"} and isinstance(content["detail"], str):
        return {**content, "detail": _NUMBER.findall(content["detail"])}
    return {name: without_wording(value) for name, value in content.items()}
