"""Generate the Python client of the API from ``docs/openapi.json``: ``make client``.

``python clients/generate.py FOLDER`` replaces FOLDER by the package ``deepfake-client``, ready to
be built. Needs openapi-python-client and ruff, and fails if the generator warns, because then some
part of the API is missing in its client.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DESCRIPTION = ROOT / "docs" / "openapi.json"
CONFIG = {
    "docstrings_on_attributes": True,
    # The same wherever the folder is: ruff's own settings would be those of the nearest project.
    "post_hooks": [
        "ruff check . --isolated --fix-only --quiet --select=I,F401 --unfixable=F811",
        "ruff format . --isolated --quiet --line-length=100",
    ],
}
PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "deepfake-client"
version = "{version}"
description = "Client of the HTTP API of the deepfake detection service."
requires-python = ">=3.11"
license = "Apache-2.0"
dependencies = ["httpx>=0.27", "attrs>=24.2"]

[tool.hatch.build.targets.wheel]
packages = ["deepfake_client"]
"""

_FIXED_BOUNDARY = re.compile(
    r' *headers\["Content-Type"\] = "multipart/form-data; boundary=[^"]*"\n'
)
"""The generator writes one boundary for all requests, which a file may contain. Without the header,
httpx chooses a random one (RFC 2046, section 5.1.1)."""

_READ = "    response_default = ProblemOut.from_dict(response.json())\n"
_READ_IF_ONE = (
    '    if "problem+json" not in response.headers.get("content-type", ""):\n'
    "        if client.raise_on_unexpected_status:\n"
    "            raise errors.UnexpectedStatus(response.status_code, response.content)\n"
    "        return None\n" + _READ
)
_PARSER = re.compile(r"(?<=def _parse_response)(\([^)]*\) -> [^:]*)(?=:\n)")
_CLIENT = "from ...client import"
"""The generator takes each answer whose status is not documented for a problem. But proxies answer
503, for example, with a page, of which the client would raise an error about JSON."""


def generate(folder: Path) -> None:
    """Replace ``folder`` with the client.

    Raises:
        subprocess.CalledProcessError: the generator failed or warned.
    """
    package = folder / "deepfake_client"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        config = Path(name, "config.json")
        config.write_text(json.dumps(CONFIG), encoding="utf-8")
        command = ["generate", "--path", str(DESCRIPTION), "--config", str(config)]
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "openapi_python_client", *command, "--meta", "none",
             "--output-path", str(package), "--overwrite", "--fail-on-warning"],
            check=True,
        )  # fmt: skip
    for module in (package / "api").rglob("*.py"):
        text = _FIXED_BOUNDARY.sub("", module.read_text("utf-8"))
        if _READ in text:
            text = _PARSER.sub(r"\1 | None", text.replace(_READ, _READ_IF_ONE))
            text = text.replace(_CLIENT, f"from ... import errors\n{_CLIENT}", 1)
        module.write_text(text, encoding="utf-8")
    (package / "py.typed").touch()
    version = json.loads(DESCRIPTION.read_text("utf-8"))["info"]["version"]
    (folder / "pyproject.toml").write_text(PYPROJECT.format(version=version), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
