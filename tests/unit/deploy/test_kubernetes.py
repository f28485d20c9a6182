"""The manifests for Kubernetes: settings that exist, restrictions, and names that fit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepfake_service.api import operations
from deepfake_service.platform.storage import open_blobs
from tests.support.deployment import DEPLOY, env_file, loaded, manifests

FOLDER = DEPLOY / "kubernetes"
OBJECTS = manifests(FOLDER / "base")
WORKLOADS = {
    item["metadata"]["name"]: item
    for item in OBJECTS
    if item["kind"] in ("Deployment", "StatefulSet", "Job")
}
NAMES = sorted(WORKLOADS)


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    (only,) = pod(name)["containers"]
    return dict(only)


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [item for item in OBJECTS if item["kind"] == kind]


def labels(name: str) -> dict[str, str]:
    own: dict[str, str] = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    return {**own, "app.kubernetes.io/part-of": "deepfake"}


def secrets_of(name: str, written: Path) -> dict[str, Path]:
    """Return the secrets that a pod finds, by name."""
    overlay = yaml.safe_load((FOLDER / "overlays/cpu/kustomization.yaml").read_text())
    (generated,) = overlay["secretGenerator"]
    files = dict(text.split("=secrets/") for text in generated["files"])
    (volume,) = [v["secret"] for v in pod(name)["volumes"] if "secret" in v]
    assert volume["secretName"] == generated["name"]
    keys = [item["key"] for item in volume.get("items", [])] or list(files)
    return {key: written / files[key] for key in keys}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_exists_and_is_valid(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = env_file(FOLDER / "base/settings.env") | env_file(
        FOLDER / "overlays/cpu/settings.env"
    )
    environment |= {e["name"]: e["value"] for e in container(name)["env"]}
    secrets = secrets_of(name, written)
    settings = loaded(environment, secrets, tmp_path, monkeypatch, kubelet=True)
    assert settings.blob_url is not None
    open_blobs(settings.blob_url, tmp_path)  # reads the credentials
    assert settings.database_url is not None
    assert settings.blob_url == "s3://deepfake"
    assert (settings.admin_key is None) == (name == "deepfake-worker")
    assert settings.device == "auto"


@pytest.mark.parametrize("name", NAMES)
def test_the_pods_keep_their_restrictions(name: str) -> None:
    spec, only = pod(name), container(name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    profile = spec["securityContext"]["seccompProfile"]
    sandboxed = {"type": "Localhost", "localhostProfile": "profiles/deepfake.json"}
    assert profile == ({"type": "RuntimeDefault"} if name == "deepfake-migrate" else sandboxed)
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(only["resources"]["requests"])
    assert "memory" in only["resources"]["limits"]
    mounted = {m["name"] for m in only["volumeMounts"]}
    claims = WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])
    volumes = [v["name"] for v in spec["volumes"]] + [c["metadata"]["name"] for c in claims]
    assert mounted == set(volumes)
    accounts = {a["metadata"]["name"]: a for a in of_kind("ServiceAccount")}
    assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False


def test_the_probes_ask_addresses_that_exist() -> None:
    paths = {getattr(route, "path", None) for route in operations.router.routes}
    api = container("deepfake-api")
    ports = {port["name"]: port["containerPort"] for port in api["ports"]}
    environment = {e["name"]: e["value"] for e in api["env"]}
    assert str(ports["operations"]) == environment["DEEPFAKE_OPERATIONS_PORT"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert api[probe]["httpGet"]["port"] == "operations"
        assert api[probe]["httpGet"]["path"] in paths
    worker = container("deepfake-worker")
    (port,) = worker["ports"]
    environment = {e["name"]: e["value"] for e in worker["env"]}
    assert str(port["containerPort"]) == environment["DEEPFAKE_OPERATIONS_PORT"]
    assert worker["livenessProbe"]["tcpSocket"]["port"] == port["name"]


def test_selectors_select_pods() -> None:
    everyone = [labels(name) for name in NAMES]

    def chosen(selector: dict[str, str]) -> int:
        return sum(selector.items() <= of_pod.items() for of_pod in everyone)

    for service in of_kind("Service"):
        assert chosen(service["spec"]["selector"]) == 1
    for budget in of_kind("PodDisruptionBudget"):
        assert chosen(budget["spec"]["selector"]["matchLabels"]) == 1
    for policy in of_kind("NetworkPolicy"):
        assert chosen(policy["spec"]["podSelector"]["matchLabels"]) in (1, len(NAMES))
    for name, workload in WORKLOADS.items():
        if workload["kind"] != "Job":
            assert workload["spec"]["selector"]["matchLabels"].items() <= labels(name).items()


def test_the_route_leads_to_the_service_and_not_to_what_operators_read() -> None:
    (route,) = [o for o in manifests(FOLDER / "overlays/cpu") if o["kind"] == "HTTPRoute"]
    closed, opened = route["spec"]["rules"]
    assert {m["path"]["value"] for m in closed["matches"]} == {"/readyz", "/metrics"}
    assert "backendRefs" not in closed
    (backend,) = opened["backendRefs"]
    services = {s["metadata"]["name"]: s["spec"]["ports"] for s in of_kind("Service")}
    assert backend["port"] in [port["port"] for port in services[backend["name"]]]


def test_nothing_is_allowed_by_default() -> None:
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind("NetworkPolicy")}
    deny = policies.pop("deepfake-deny")
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    for name, policy in policies.items():
        for rule in policy.get("egress", []) + policy.get("ingress", []):
            assert rule["ports"], name
            for peer in rule.get("to", []) + rule.get("from", []):
                assert peer.get("ipBlock", {}).get("cidr") != "0.0.0.0/0", name


def built(overlay: str, written: Path, folder: Path) -> str:
    """Return what kustomize makes of an overlay with three components."""
    shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    shutil.copytree(written, folder / "deploy/kubernetes/overlays/cpu/secrets")
    root = folder / "deploy/kubernetes/overlays" / overlay
    with (root / "kustomization.yaml").open("a") as file:
        file.write("\ncomponents:\n")
        for component in ("apparmor", "monitoring", "outside"):
            file.write(f"  - ../../components/{component}\n")
    done = subprocess.run(["kustomize", "build", root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("kustomize") is None, reason="kustomize is not installed")
@pytest.mark.parametrize("overlay", ["cpu"])
def test_kustomize_builds_the_overlays(overlay: str, written: Path, tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all(built(overlay, written, tmp_path)))
    assert all(item["metadata"].get("namespace", "deepfake") == "deepfake" for item in objects)
    (worker,) = [item for item in objects if item["kind"] == "StatefulSet"]
    (only,) = worker["spec"]["template"]["spec"]["containers"]
    assert only["image"].startswith("registry.example/")


@pytest.mark.skipif(
    shutil.which("kubernetes-validate") is None or shutil.which("kustomize") is None,
    reason="kubernetes-validate or kustomize is not installed: make deploy-check",
)
@pytest.mark.parametrize("overlay", ["cpu"])
def test_the_objects_follow_the_schemas_of_kubernetes(
    overlay: str, written: Path, tmp_path: Path
) -> None:
    file = tmp_path / "built.yaml"
    file.write_text(built(overlay, written, tmp_path))
    done = subprocess.run(
        ["kubernetes-validate", "--strict", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    unknown = set(re.findall(r"schema for kind (\w+)", done.stdout + done.stderr))
    assert unknown <= {"HTTPRoute", "PodMonitor", "ScaledObject"}  # of operators, not of Kubernetes
