"""The compose files: every setting exists and is valid, and no restriction is lost."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys
from tests.support.deployment import DEPLOY, compose, env_file, loaded, variables

EXAMPLE = env_file(DEPLOY / ".env.example")
OWN = [
    ("compose.single.yaml", "service"),
    ("compose.yaml", "migrate"),
    ("compose.yaml", "api"),
    ("compose.yaml", "worker"),
]
SEVERAL = compose("compose.yaml")
COMPOSE = next(
    (
        words
        for words in (["docker-compose"], ["docker", "compose"])
        if shutil.which(words[0])
        and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0
    ),
    [],
)
OTHERS = sorted(set(SEVERAL["services"]) - {name for _, name in OWN})


def files_of(content: dict[str, Any], service: dict[str, Any], written: Path) -> dict[str, Path]:
    """Return the secrets of a service, by the names of its container."""
    files = {name: content["secrets"][name]["file"] for name in service["secrets"]}
    return {name: written / file.removeprefix("secrets/") for name, file in files.items()}


def settings_of(
    file: str, name: str, written: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    content = compose(file)
    service = content["services"][name]
    given = {n: v for n, v in EXAMPLE.items() if n.startswith("DEEPFAKE_")}
    environment = {**(given if service.get("env_file") else {}), **service["environment"]}
    return loaded(environment, files_of(content, service, written), folder, monkeypatch)


@pytest.mark.parametrize(("file", "name"), OWN)
def test_every_setting_exists_and_is_valid(
    file: str, name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(file, name, written, tmp_path, monkeypatch)
    open_keys(settings)  # the master key is one
    assert settings.sandbox == "require"
    assert (settings.admin_key is None) == (name == "worker")
    if file == "compose.yaml":
        password = (written / "database-password").read_text()
        url = f"postgresql://deepfake:{password}@database/deepfake"
        assert settings.database_url == SecretStr(url)
        assert settings.blob_url == "s3://deepfake"
    if name == "api":
        assert settings.public_url == f"https://{EXAMPLE['SITE']}"
        assert (
            settings.trusted_proxies == SEVERAL["networks"]["edge"]["ipam"]["config"][0]["subnet"]
        )


def test_the_example_has_every_variable_and_no_other() -> None:
    texts = [path.read_text() for path in DEPLOY.glob("compose*.yaml")]
    assert {name for text in texts for name in variables(text)} - {
        "DEEPFAKE_CAPTURE_LINKS", "DEEPFAKE_PUBLIC_URL", "DEEPFAKE_TRUSTED_PROXIES",
    } == {name for name in EXAMPLE if not name.startswith("DEEPFAKE_")}  # fmt: skip
    commented = re.findall(r"^# (DEEPFAKE_\w+)=", (DEPLOY / ".env.example").read_text(), re.M)
    assert {n.removeprefix("DEEPFAKE_").lower() for n in commented} <= set(Settings.model_fields)
    defaults = compose("compose.yaml", {"SITE": EXAMPLE["SITE"]})
    assert defaults == SEVERAL


@pytest.mark.parametrize(("file", "name"), [*OWN, *(("compose.yaml", name) for name in OTHERS)])
def test_the_containers_keep_their_restrictions(file: str, name: str) -> None:
    service = compose(file)["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not {"cap_add", "privileged", "pid", "network_mode"} & set(service)
    assert service["user"].split(":")[0] not in ("0", "root")
    assert "no-new-privileges:true" in service["security_opt"]
    assert not re.search(r":latest$|^[^:]+$", service["image"]) or (file, name) in OWN
    secret = {n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)}
    named = {f"DEEPFAKE_{n.upper()}" for n in secret} | {"AWS_SECRET_ACCESS_KEY"}
    environment = service.get("environment", {})
    assert not named & set(environment)
    assert not [n for n in environment if n.endswith(("PASSWORD", "PASSWD"))]


@pytest.mark.parametrize(("file", "name"), OWN)
def test_the_services_that_parse_media_have_the_sandbox_they_require(file: str, name: str) -> None:
    service = compose(file)["services"][name]
    assert "seccomp:seccomp.json" in service["security_opt"]
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["pids_limit"] > 0
    assert service["ulimits"]["core"] == 0


def test_only_the_proxy_is_published_and_has_a_route_to_the_outside() -> None:
    services, networks = SEVERAL["services"], SEVERAL["networks"]
    assert [n for n, s in services.items() if s.get("ports")] == ["proxy"]
    outside = {n for n, network in networks.items() if not network.get("internal")}
    assert outside == {"public"}
    assert [n for n, s in services.items() if outside & set(s["networks"])] == ["proxy"]
    assert set(services["worker"]["networks"]) & {"edge", "public"} == set()
    (grafana,) = [p for p in services["proxy"]["ports"] if p.endswith(":3000")]
    assert grafana.startswith("127.0.0.1:")


def test_webhooks_get_a_route_by_a_second_file() -> None:
    added = compose("compose.outside.yaml")
    assert set(added["services"]) == {"api", "worker"}
    for name, service in added["services"].items():
        before = SEVERAL["services"][name]["networks"]
        assert service["networks"] == [*before, "outside"]


def test_everything_waits_for_the_migration() -> None:
    services = SEVERAL["services"]
    for name in ("api", "worker"):
        waits = services[name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["restart"] == "no"
    assert all(
        "healthcheck" in s and (n == "migrate" or s["healthcheck"]["test"])
        for n, s in services.items()
    )


def test_the_health_checks_use_ports_that_are_open() -> None:
    single = compose("compose.single.yaml")["services"]["service"]
    services = {**SEVERAL["services"], "service": single}
    for name, path in (("service", "healthz"), ("api", "readyz"), ("worker", "metrics")):
        port = services[name]["environment"]["DEEPFAKE_OPERATIONS_PORT"]
        assert f"127.0.0.1:{port}/{path}" in services[name]["healthcheck"]["test"][-1]
    assert all(port.startswith("127.0.0.1:") for port in single["ports"])


def test_every_secret_is_written_once_and_only_its_folder_is_closed(written: Path) -> None:
    named = {
        definition["file"]
        for file in ("compose.yaml", "compose.single.yaml")
        for definition in compose(file)["secrets"].values()
    }
    assert named == {f"secrets/{path.name}" for path in written.iterdir()}
    assert stat.S_IMODE(written.stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in written.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o444}
    assert len(set(before.values())) == len(before)
    subprocess.run([written.parent / "make-secrets.sh"], check=True, capture_output=True)
    assert {path: path.read_bytes() for path in written.iterdir()} == before


@pytest.mark.skipif(not COMPOSE, reason="Docker Compose is not installed")
@pytest.mark.parametrize(
    "files",
    [["compose.single.yaml"], ["compose.yaml"], ["compose.yaml", "compose.outside.yaml"]],
    ids=" ".join,
)
def test_docker_accepts_the_files(files: list[str], written: Path, tmp_path: Path) -> None:
    for file in [*files, ".env.example", "seccomp.json"]:
        shutil.copy(DEPLOY / file, tmp_path)
    (tmp_path / ".env.example").rename(tmp_path / ".env")
    shutil.copytree(written, tmp_path / "secrets")
    names = [word for file in files for word in ("--file", file)]
    done = subprocess.run(
        [*COMPOSE, *names, "config", "--quiet"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
