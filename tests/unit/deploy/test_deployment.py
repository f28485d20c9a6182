"""The files of ``deploy``: they parse, and none of the restrictions is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepfake_models.decode.confinement import NAMESPACES
from deepfake_service.cli.environment import unknown_variables
from deepfake_service.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
UNIT = DEPLOY / "systemd" / "deepfake.service"


def unit() -> dict[str, list[str]]:
    """Return the values of each key in the unit's section of the service."""
    values = defaultdict(list)
    section = UNIT.read_text().split("[Service]")[1].split("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            values[key].append(value)
    return values


@pytest.fixture
def service() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["service"]


def test_the_container_keeps_its_restrictions(service: Any) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["user"].split(":")[0] not in ("0", "root")
    assert "no-new-privileges:true" in service["security_opt"]
    assert "seccomp:seccomp.json" in service["security_opt"]
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["pids_limit"] > 0
    assert service["ulimits"]["core"] == 0
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["environment"]["DEEPFAKE_SANDBOX"] == "require"


def test_the_secrets_of_the_container_are_files(service: Any) -> None:
    secret = {name for name, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)}
    assert not {f"DEEPFAKE_{name.upper()}" for name in secret} & set(service["environment"])
    assert {name.removeprefix("deepfake_") for name in service["secrets"]} <= secret
    files = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["secrets"]
    assert set(files) == set(service["secrets"])


def test_the_health_check_uses_the_port_of_operations(service: Any) -> None:
    port = service["environment"]["DEEPFAKE_OPERATIONS_PORT"]
    assert f"127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]


def test_the_deployments_set_settings_that_exist(service: Any) -> None:
    of_unit = [value.partition("=")[0] for value in unit()["Environment"]]
    assert not unknown_variables([*service["environment"], *of_unit])
    loaded = [value.partition(":")[0] for value in unit()["LoadCredential"]]
    assert not unknown_variables([*loaded, *service["secrets"]])


def test_the_seccomp_profile_allows_namespaces_of_the_sandbox_only() -> None:
    profile = json.loads((DEPLOY / "seccomp.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules = {name: rule for rule in profile["syscalls"] for name in rule["names"]}
    for name in ("ptrace", "bpf", "keyctl", "setns", "io_uring_setup", "process_vm_readv"):
        assert name not in rules
    flags = sum(NAMESPACES.values())
    (argument,) = rules["unshare"]["args"]
    assert argument["op"] == "SCMP_CMP_MASKED_EQ"
    assert not argument["value"] & flags
    (argument,) = rules["clone"]["args"]
    assert argument["value"] & flags == flags
    for name in ("mount", "umount2", "pivot_root", "landlock_restrict_self", "seccomp"):
        assert rules[name]["action"] == "SCMP_ACT_ALLOW"


def test_the_unit_keeps_its_restrictions() -> None:
    values = unit()
    assert values["User"] == ["deepfake"]
    assert values["UMask"] == ["0077"]
    assert values["CapabilityBoundingSet"] == [""]
    assert values["NoNewPrivileges"] == ["yes"]
    assert values["ProtectSystem"] == ["strict"]
    assert values["MemorySwapMax"] == ["0"]
    assert values["IPAddressDeny"] == ["any"]
    assert "DEEPFAKE_SANDBOX=require" in values["Environment"]
    kinds = {layer.split("_")[0] for layer in NAMESPACES}
    names = {"mount": "mnt", "network": "net"}
    assert set(values["RestrictNamespaces"][0].split()) == {names.get(k, k) for k in kinds}
    assert "PrivateUsers" not in values


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_knows_every_option_of_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/deepfake/bin/deepfake", "/bin/sh"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_proxy_does_not_write_uploads_to_its_disk() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    lines = {line.partition("#")[0].strip() for line in text.splitlines()}
    assert {
        "proxy_request_buffering off;",
        "proxy_buffering off;",
        "proxy_max_temp_file_size 0;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_next_upstream off;",
    } <= lines
