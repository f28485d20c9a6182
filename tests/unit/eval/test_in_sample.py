"""Test that media on which a bundle was fitted are found by digests, whatever they are called."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.in_sample import in_sample, in_sample_sentence
from deepfake_eval.cli import app as cli
from deepfake_eval.inference.fitted_media import FITTED, FittedMedia, write_fitted
from deepfake_models.bundle.bundle import Bundle, load_bundle, seal
from deepfake_models.media.decoder import InProcessDecoder
from tests.support import evaluation, footage, judging

DECODER = InProcessDecoder()


def fitted_on(directory: Path, *media: Path) -> Bundle:
    """Seal a tiny bundle that lists ``media``."""
    evaluation.tiny_bundle(directory)
    digests = [(hashlib.sha256(path.read_bytes()).hexdigest(), path) for path in media]
    write_fitted(directory, digests, DECODER)
    return seal(directory, judging.bundle_fields())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Write four pictures and a clip of each class."""
    root = tmp_path / "own"
    for label in ("real", "fake"):
        (root / label).mkdir(parents=True)
        for number in range(4):
            picture = footage.picture(evaluation.portrait(label, number), "PNG")
            (root / label / f"{number}.png").write_bytes(picture)
        (root / label / "clip.mp4").write_bytes(evaluation.clip(label, 3))
    return root


def test_a_copy_is_found_by_its_bytes_or_its_first_picture(own: Path, tmp_path: Path) -> None:
    fitted = FittedMedia.of(fitted_on(tmp_path / "b", own / "real/0.png", own / "real/clip.mp4"))
    assert fitted is not None
    renamed = tmp_path / "renamed.bin"
    renamed.write_bytes((own / "real/0.png").read_bytes())
    assert fitted.find(renamed, DECODER) == "file"
    coded = tmp_path / "coded.jpg"
    coded.write_bytes(footage.picture(evaluation.portrait("real", 0, size=96), "JPEG", quality=50))
    assert fitted.find(coded, DECODER) == "picture"
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0001.png").write_bytes(footage.picture(evaluation.portrait("real", 3), "PNG"))
    assert fitted.find(frames, DECODER) == "picture"
    assert fitted.find(own / "real/2.png", DECODER) == "no"
    assert fitted.find(tmp_path / "absent.png", DECODER) == "no"


def test_plain_first_frames_are_not_taken_for_each_other(tmp_path: Path) -> None:
    black, grey = tmp_path / "black.png", tmp_path / "grey.png"
    for path, level in ((black, 0), (grey, 3)):
        path.write_bytes(footage.picture(np.full((64, 64, 3), level, np.uint8), "PNG"))
    fitted = FittedMedia.of(fitted_on(tmp_path / "b", black))
    assert fitted is not None
    assert fitted.pictures == frozenset()
    assert fitted.find(black, DECODER) == "file"
    assert fitted.find(grey, DECODER) == "no"


def test_the_list_has_neither_names_nor_hashes_and_differs_between_bundles(
    own: Path, tmp_path: Path
) -> None:
    path = own / "real/0.png"
    lists = [fitted_on(tmp_path / name, path).read(FITTED).decode() for name in ("a", "b")]
    assert json.loads(lists[0])["files"] != json.loads(lists[1])["files"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert not any(digest[:20] in text or "0.png" in text for text in lists)


def test_a_bundle_without_a_list_knows_of_none(tmp_path: Path) -> None:
    assert FittedMedia.of(evaluation.tiny_bundle(tmp_path)) is None


@pytest.mark.parametrize("route", ["folders", "csv"])
def test_a_run_says_on_every_route_which_media_are_in_sample(
    own: Path, tmp_path: Path, route: str
) -> None:
    bundle, out = tmp_path / "bundle", tmp_path / "out"
    fitted_on(bundle, own / "real/0.png", own / "real/1.png")
    dataset = f"folders:{own}"
    if route == "csv":
        dataset = f"csv,title=own:{own.parent / 'media.csv'}"
        with (own.parent / "media.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["media", "label"])
            writer.writerows(
                [p.relative_to(own.parent), p.parent.name] for p in sorted(own.rglob("*.*"))
            )
    given = ["--bundle", bundle, "--out", out, "--dataset", dataset, "--draws", 5]
    result = CliRunner().invoke(cli.app, ["run", *map(str, given)])
    assert result.exit_code == 0, result.output
    # A fake of one of the two pictures is still like it.
    sentence = (
        "In sample: 3 of 10 media. The weights were fitted on 2 of the files, and 1 more begin"
    )
    assert sentence in result.output
    assert "Without these: AUC" in result.output
    assert sentence in (out / "report.html").read_text()
    assert sentence in (out / "tables" / "figures.tex").read_text()
    metrics = json.loads((out / "metrics.json").read_text())
    (entry,) = metrics["in_sample"]["datasets"]
    assert entry == {"dataset": "own", "media": 10, "same_file": 2, "same_picture": 1}
    rest = [e for e in metrics["levels"]["item"] if e["scope"] == "not fitted"]
    assert (rest[0]["real"]["scored"], rest[0]["fake"]["scored"]) == (3, 4)
    scores = pd.read_csv(out / "scores.csv")
    assert scores["fitted"].value_counts().to_dict() == {"no": 7, "file": 2, "picture": 1}
    # The scores of the run carry what it knows.
    table = ["detector", out / "scores.csv", "--out", tmp_path / "t", "--draws", 5]
    assert sentence in CliRunner().invoke(cli.app, [*map(str, table)]).output


def test_what_is_not_known_is_said_and_never_counted_as_none() -> None:
    rows = pd.DataFrame({"dataset": ["a", "b"], "fitted": ["no", None]})
    assert in_sample_sentence(in_sample(rows)).startswith("In sample: not known")
    assert in_sample_sentence(in_sample(rows[:1])) == "In sample: none of 1 media."


def test_the_list_of_a_bundle_is_sealed(own: Path, tmp_path: Path) -> None:
    fitted_on(tmp_path / "b", own / "real/0.png")
    assert FITTED in load_bundle(tmp_path / "b").spec.files
