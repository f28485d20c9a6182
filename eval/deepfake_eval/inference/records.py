"""Files of records, a line of JSON each, from which an interrupted run resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from deepfake_eval.errors import RunError

SCORED: Mapping[str, type] = {"item": dict, "faces": list}
"""The fields of the record of a scored medium."""


def append_record(file: TextIO, record: Mapping[str, Any]) -> None:
    """Write a record, which has the field ``key``, as soon as it is known."""
    file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
    file.flush()


def read_records(path: Path, fields: Mapping[str, type] = SCORED) -> dict[str, dict[str, Any]]:
    """Return the records of earlier runs by key; none if there is no file.

    A run that was killed may leave an incomplete last line; it is removed from the file.

    Raises:
        RunError: any other line is not a record with the key and these ``fields``.
    """
    if not path.exists():
        return {}
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    records = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = json.loads(line)
            if not all(isinstance(record[name], kind) for name, kind in fields.items()):
                raise TypeError
            records[record["key"]] = record
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{path.name}, line {number} is not a record. Delete the file to score all media "
                "again."
            ) from error
    return records
