"""Pages and audit entries of people who sign in."""

from __future__ import annotations

import re
from typing import Any

from deepfake_service.audit import log as audit_log
from deepfake_service.audit.log import Action
from deepfake_service.platform.db import AuditEntry

# ``conftest.Service`` of the unit tests.
Service = Any

ORIGIN = {"Origin": "http://service"}


def failures(service: Service) -> list[AuditEntry]:
    with service.database.read() as session:
        entries = audit_log.page(session, limit=1000)
    return [e for e in entries if e.action == Action.SIGN_IN_FAILED]


def csrf_of(page: str) -> str:
    token = re.search(r'name="csrf" content="(\w+)"', page)
    assert token
    return token[1]
