"""The page of the model card: a text of a stranger."""

from __future__ import annotations

import pytest

from deepfake_models.bundle.bundle import Bundle
from deepfake_service.platform.db.enums import Role
from tests.unit.service.conftest import Service


async def test_administrators_alone_read_it_and_it_is_text(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.sign_in(Role.ANALYST)
    assert (await service.client.get("/admin/model-card")).status_code == 403
    await service.sign_in(Role.ADMIN)
    assert "# Model card" in (await service.client.get("/admin/model-card")).text
    hostile = b"# Card </pre><script>alert(1)</script> \xff\n| <b>n</b> | 1 |"
    monkeypatch.setattr(Bundle, "read", lambda *_: hostile)
    answer = await service.client.get("/admin/model-card")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "# Card &lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt; \ufffd | &lt;b" in answer.text
