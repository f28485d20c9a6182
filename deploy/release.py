"""Build the distributions of a release, and try them in a fresh environment: ``make release``.

``python deploy/release.py build`` writes the wheels and source distributions of the service and of
its client to ``dist``. Run it with the packages of deploy/constraints/release.txt.
``python deploy/release.py try`` installs the wheels from there and scores a picture and a video. It
needs nothing else of this project, so it can run where what is installed is not trusted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CLIENT = ROOT / "clients" / "python"
CLIP = """
import sys, av, PIL.Image
picture = PIL.Image.open(sys.argv[1]).convert("RGB").resize((512, 600))
with av.open(sys.argv[2], "w") as out:
    stream = out.add_stream("libx264", rate=12)
    stream.width, stream.height, stream.pix_fmt = 480, 560, "yuv420p"
    for n in range(24):
        frame = av.VideoFrame.from_image(picture.crop((n, n, n + 480, n + 560)))
        out.mux(stream.encode(frame))
    out.mux(stream.encode())
"""


def show(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def run(*command: object, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    show("$", *(word if "\n" not in word else "..." for word in words))
    return subprocess.run(words, cwd=cwd, check=True, text=True, **options)  # noqa: S603


def build() -> None:
    """Write the distributions to ``dist``, each wheel from the source distribution beside it."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    described = json.loads((ROOT / "docs" / "openapi.json").read_text())["info"]["version"]
    tag = os.environ.get("GITHUB_REF_NAME", f"v{version}")
    if described != version or tag != f"v{version}":
        raise SystemExit(
            f"pyproject.toml has version {version}, docs/openapi.json {described}, and the tag is "
            f"{tag}. Set the version, run `make openapi`, commit, and tag that commit."
        )
    if DIST.exists() and any(DIST.iterdir()):
        raise SystemExit("dist is not empty. Delete it: a release has the files of one build.")
    run(sys.executable, ROOT / "clients" / "generate.py", CLIENT)
    for project in (ROOT, CLIENT):
        run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", DIST, cwd=project)
    for source in sorted(DIST.glob("*.tar.gz")):
        with tempfile.TemporaryDirectory() as name:
            with tarfile.open(source) as archive:
                archive.extractall(name, filter="data")
            (project,) = Path(name).iterdir()
            run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", DIST, cwd=project)


def try_out() -> None:
    """Install the wheels in a fresh environment, and score there.

    Without the extra of the service, so that ``deepfake score`` is known to need none of it. The
    picture is a public-domain portrait that matplotlib ships.
    """
    (service,) = DIST.glob("deepfake_service-*.whl")
    (client,) = DIST.glob("deepfake_client-*.whl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, deepfake = folder / "env/bin/python", folder / "env/bin/deepfake"
        run(sys.executable, "-m", "venv", folder / "env")
        pip = (python, "-m", "pip", "install", "--quiet")
        run(*pip, f"{service}[cpu]", client)
        run(*pip, "--no-deps", "--target", folder / "samples", "matplotlib")
        (picture,) = (folder / "samples").rglob("grace_hopper.jpg")
        run(python, "-c", CLIP, picture, folder / "clip.mp4")
        run(python, "-c", "import deepfake_client")
        run(deepfake, "--version", cwd=folder)
        run(deepfake, "--help", cwd=folder, stdout=subprocess.DEVNULL)
        run(deepfake, "score", picture, "clip.mp4", cwd=folder)
        lines = run(
            deepfake, "score", "--json", picture, "clip.mp4", cwd=folder, stdout=subprocess.PIPE
        ).stdout.splitlines()
        for result in map(json.loads, lines):
            if result["score"] is None or not result["tracks"]:
                raise SystemExit(f"No face was scored: {result}")
            show(f"{Path(result['path']).name}: {result['verdict']}, {result['score']:.3f}")


if __name__ == "__main__":
    {"build": build, "try": try_out}[sys.argv[1]]()
