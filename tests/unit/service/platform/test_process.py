"""Attacks on the memory and the environment of the service by another process of its user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECRETS = {
    "DEEPFAKE_MASTER_KEY": "master-secret",
    "DEEPFAKE_ADMIN_KEY": "admin-secret",
    "DEEPFAKE_DATABASE_URL": "postgresql://user:password-secret@host/name",
    "AWS_SECRET_ACCESS_KEY": "store-secret",
}
PROTECTED = """
from deepfake_service.platform.files import protect_process
protect_process()
print("protected", flush=True)
input()
"""


@pytest.mark.slow
def test_a_protected_process_shows_no_secret_in_its_environment() -> None:
    environment = {**SECRETS, "DEEPFAKE_PORT": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", PROTECTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "protected\n"
        for name in ("environ", "mem"):
            # As of a process that may not be traced: no other process of its user can open them.
            assert Path(f"/proc/{process.pid}/{name}").stat().st_uid == 0
        process.communicate("\n")
