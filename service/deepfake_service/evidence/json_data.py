"""Results as JSON data, in the form in which they are compared."""

from __future__ import annotations

import json
import re
from typing import Any

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


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
