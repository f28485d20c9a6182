"""``deepfake`` with other values of constants, which ``TEST_CONSTANTS`` has in JSON by place,
such as ``{"deepfake_service.examination.workers.TAKE_OVER_S": 0}``."""

from __future__ import annotations

import importlib
import json
import os

VARIABLE = "TEST_CONSTANTS"


def replace_constants() -> None:
    """Set the constants that the environment names, before the command is run."""
    for place, value in json.loads(os.environ.get(VARIABLE, "{}")).items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, value)


if __name__ == "__main__":
    from deepfake_service.cli.app import main

    replace_constants()
    main()
