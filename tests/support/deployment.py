"""The files of ``deploy`` as Docker, Kubernetes and the service read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepfake_service.platform.settings import Settings, load_settings, unknown_variables

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRETS = "/run/secrets"
"""Where containers find their secrets."""
OF_LIBRARIES = frozenset({"AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION", "CUDA_CACHE_PATH"})
"""Variables that no setting of the service is, but that the libraries in it read."""
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")


def env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file with a ``NAME=value`` in each line."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """Replace ``${NAME}``, ``${NAME-default}``, ``${NAME:-default}`` and ``${NAME:?message}``."""

    def value(match: re.Match[str]) -> str:
        name, rule, default = match[1], match[2] or "", match[3] or ""
        found = values.get(name)
        if found is None or (found == "" and rule.startswith(":")):
            assert "?" not in rule, f"{name}: {default}"
            return default
        return found

    return _VARIABLE.sub(value, text)


def variables(text: str) -> set[str]:
    """Return the names of the variables that a compose file asks for."""
    return {match[1] for match in _VARIABLE.finditer(text)}


def compose(name: str, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a compose file whose variables have ``values``, by default those of .env.example."""
    values = env_file(DEPLOY / ".env.example") if values is None else values
    content: dict[str, Any] = _filled(yaml.safe_load((DEPLOY / name).read_text()), values)
    return content


def _filled(content: Any, values: Mapping[str, str]) -> Any:
    if isinstance(content, dict):
        return {key: _filled(value, values) for key, value in content.items()}
    if isinstance(content, list):
        return [_filled(value, values) for value in content]
    return interpolated(content, values) if isinstance(content, str) else content


def manifests(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of all files in a folder of manifests."""
    files = [path for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [item for path in files for item in yaml.safe_load_all(path.read_text())]


def written_secrets(folder: Path) -> Path:
    """Run ``make-secrets.sh`` in ``folder`` and return the folder of the secrets."""
    shutil.copy(DEPLOY / "make-secrets.sh", folder)
    command = [folder / "make-secrets.sh", "--self-signed", "centre.example"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "secrets"


def loaded(
    environment: Mapping[str, str],
    secrets: Mapping[str, Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kubelet: bool = False,
) -> Settings:
    """Return the settings of a container, loaded as the service loads them.

    Names that no setting has are an error, as are values that are not allowed.

    Args:
        environment: the variables of the container.
        secrets: the files of its folder of secrets, by the name under which it finds them.
        folder: takes copies of them.
        monkeypatch: changes the environment of this process.
        kubelet: arrange the secrets as in a pod, where each is a link into a folder that changes.
    """
    _known([*environment, *secrets], environment)
    for name in os.environ:
        if name.startswith(("DEEPFAKE_", "AWS_")):
            monkeypatch.delenv(name)
    target = folder / "..2026_11_26" if kubelet else folder
    target.mkdir(exist_ok=True)
    for name, source in secrets.items():
        shutil.copy(source, target / name)
        if kubelet:
            (folder / name).symlink_to(f"..data/{name}")
    if kubelet:
        (folder / "..data").symlink_to(target.name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return load_settings()


def _known(names: Iterable[str], environment: Mapping[str, str]) -> None:
    assert unknown_variables(names) == []
    others = {name for name in environment if not name.upper().startswith("DEEPFAKE_")}
    assert others - OF_LIBRARIES <= {"CREDENTIALS_DIRECTORY"}, others
    assert environment.get("CREDENTIALS_DIRECTORY", SECRETS).startswith(SECRETS)
