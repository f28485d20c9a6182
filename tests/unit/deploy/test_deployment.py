"""The files of ``deploy``: they parse, and none of the restrictions is lost."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from deepfake_models.sandbox.confinement import NAMESPACES
from deepfake_service.platform.settings import unknown_variables
from tests.support.deployment import DEPLOY, written_secrets

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


def test_the_unit_sets_settings_that_exist() -> None:
    named = [value.partition("=")[0] for value in unit()["Environment"]]
    loaded = [value.partition(":")[0] for value in unit()["LoadCredential"]]
    assert not unknown_variables([*named, *loaded])


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
    for name in (
        "mount",
        "mount_setattr",
        "umount2",
        "pivot_root",
        "landlock_restrict_self",
        "seccomp",
    ):
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
    text = (DEPLOY / "nginx-proxy.conf").read_text()
    lines = {line.partition("#")[0].strip() for line in text.splitlines()}
    assert {
        "proxy_request_buffering off;",
        "proxy_buffering off;",
        "proxy_max_temp_file_size 0;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_next_upstream error;",
        "location = /metrics { return 404; }",
        "location = /readyz { return 404; }",
    } <= lines


@pytest.mark.parametrize("name", ["nginx.conf", "nginx-compose.conf"])
def test_each_proxy_sets_what_the_common_part_needs(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert text.count("include /etc/nginx/nginx-proxy.conf;") == 1
    assert text.count("set $deepfake ") == 1
    assert text.count("zone=deepfake_connections:") == 1
    # R-7 d: to no host that a client names.
    redirects = re.findall(r"return 308 [^;]*;", text)
    assert redirects
    assert not any("$host" in redirect for redirect in redirects)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("name", ["nginx.conf", "nginx-compose.conf"])
def test_nginx_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text()
    certificate = written_secrets(tmp_path)
    for pattern, path in (
        (r"/etc/nginx/nginx-proxy.conf", DEPLOY / "nginx-proxy.conf"),
        (r"/etc/ssl/centre.example/fullchain.pem|/run/secrets/tls_certificate.pem",
         certificate / "tls-certificate.pem"),
        (r"/etc/ssl/centre.example/key.pem|/run/secrets/tls_key.pem", certificate / "tls-key.pem"),
        (r"/var/log/nginx", tmp_path),
        (r"\$\{SITE\}", "centre.example"),
    ):  # fmt: skip
        text = re.sub(pattern, str(path), text)
    whole = tmp_path / "whole.conf"
    whole.write_text(f"pid {tmp_path}/pid; events {{}}\nhttp {{\n{text}\n}}\n")
    done = subprocess.run(
        ["nginx", "-t", "-e", tmp_path / "errors", "-p", tmp_path, "-c", whole],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint: make deploy-check")
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run(
        ["hadolint", DEPLOY.parent / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck: make deploy-check")
def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    scripts = [DEPLOY / "make-secrets.sh", DEPLOY / "constraints" / "update.sh"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("apparmor_parser") is None, reason="no AppArmor parser")
def test_apparmor_accepts_the_profile() -> None:
    words = ["apparmor_parser", "--skip-kernel-load", "--skip-cache"]
    done = subprocess.run(
        [*words, DEPLOY / "apparmor" / "deepfake"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
