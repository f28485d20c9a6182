"""The versions that the image installs: complete, within the ranges, and known by their digests."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "constraints"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHARED = ("service", "provenance", "perceptual")
ENGINES = ("cpu", "cuda")
IMAGE = {
    "implementation_name": "cpython",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.15",
    "python_version": "3.13",
    "sys_platform": "linux",
}
"""What markers evaluate to in the image."""


def pinned(name: str) -> dict[str, Version]:
    """Return the versions of a file, after checking that each is known by at least one digest."""
    versions = {}
    for entry in (FOLDER / f"{name}.txt").read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+)(?:\[[^]]*\])?==(\S+) \\$", entry):
            versions[match[1]] = Version(match[2])
        else:
            assert re.fullmatch(r"#.*|    --hash=sha256:[0-9a-f]{64}( \\)?|    #.*|", entry), entry
    return versions


def needed(requirements: list[str], extra: str = "") -> list[Requirement]:
    parsed = [Requirement(text) for text in requirements]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({**IMAGE, "extra": extra})]


def direct(engine: str) -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return needed(
        [*PROJECT["dependencies"], *extras[engine], *(r for e in SHARED for r in extras[e])]
    )


def test_no_sqlalchemy_is_allowed_that_does_not_decode_the_path_of_a_database() -> None:
    """With 2.0, a data directory with a Korean name would get a new database in another folder."""
    (requirement,) = (r for r in direct("cpu") if r.name == "sqlalchemy")
    assert not requirement.specifier.contains("2.0.99")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_image_installs_what_the_project_allows(engine: str) -> None:
    versions = pinned(engine)
    for requirement in direct(engine):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: {version}"


def test_what_fetches_links_is_known_by_digests_and_fits_beside_the_rest() -> None:
    versions, image = pinned("capture"), pinned("cpu")
    for requirement in needed(PROJECT["optional-dependencies"]["capture-link"]):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: {version}"
    both = versions.keys() & image.keys()
    assert {name: versions[name] for name in both} == {name: image[name] for name in both}


@pytest.mark.parametrize("engine", ENGINES)
def test_everything_that_the_image_needs_has_a_digest(engine: str) -> None:
    versions = pinned(engine)
    installed = {canonicalize_name(d.name): d for d in importlib.metadata.distributions()}
    waiting = [
        (canonicalize_name(r.name), extra) for r in direct(engine) for extra in ("", *r.extras)
    ]
    seen = set(waiting)
    compared = 0
    while waiting:
        name, extra = waiting.pop()
        assert name in versions, name
        if name not in installed or Version(installed[name].version) != versions[name]:
            continue  # the other engine; or another version, which can need something else
        compared += 1
        for requirement in needed(installed[name].requires or [], extra):
            following = canonicalize_name(requirement.name)
            assert following in versions, f"{name} needs {following}"
            assert requirement.specifier.contains(versions[following], prereleases=True)
            new = {(following, e) for e in ("", *requirement.extras)} - seen
            seen |= new
            waiting += new
    assert compared


@pytest.mark.parametrize("name", ["build", "release"])
def test_the_tools_that_build_have_digests(name: str) -> None:
    versions = pinned(name)
    for requirement in needed((FOLDER / f"{name}.in").read_text().splitlines()[1:]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert all(r.specifier.contains(versions[r.name]) for r in map(Requirement, backend))


def test_every_entry_has_a_digest() -> None:
    text = "\n".join(
        (FOLDER / f"{name}.txt").read_text() for name in (*ENGINES, "build", "release", "capture")
    )
    blocks = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_image_is_built_from_digests_only() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    stages = [line.split() for line in lines if line.startswith("FROM ")]
    assert [name for _, name, *_ in stages if name not in {s[-1] for s in stages}] == [
        "${BASE}"
    ] * 2
    (base,) = [line for line in lines if line.startswith("ARG BASE=")]
    assert re.search(r"@sha256:[0-9a-f]{64}$", base)
    assert [s[-1] for s in stages][-2:] == ["cuda", "cpu"]
    for line in lines:
        for command in re.findall(r"pip[^&]* (?:install|wheel) [^&]*", line):
            assert "--require-hashes" in command or "--no-deps" in command, command


def test_r5_workflows_run_actions_of_known_commits_only() -> None:
    files = list((ROOT / ".github/workflows").glob("*.yml"))
    used = [line for file in files for line in re.findall(r"uses: (.*)", file.read_text())]
    assert used
    assert [u for u in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", u)] == []


def test_r5_what_tries_a_release_cannot_change_what_is_attested() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["attest"]
    assert jobs["attest"]["needs"] == ["build", "try"]
    attested = [step.get("run", "") for step in jobs["attest"]["steps"]]
    assert any("sha256sum --check --strict" in command for command in attested)
    assert not any("pip" in command or "make" in command for command in attested)
    checkouts = [
        step
        for job in jobs.values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    ]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
