"""The autoencoder that redraws faces: what it does to a crop, and where its weights come from."""

from __future__ import annotations

import functools
import hashlib
import http.server
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from deepfake_training.data import autoencoder
from deepfake_training.data.autoencoder import Autoencoder, fetch_autoencoder
from deepfake_training.errors import WeightsMissing
from tests.support.loopback import serving

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def face() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.astronaut()[40:200, 150:310])


def test_redraws_a_crop_as_the_generator_of_numbers_says(
    face: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder, "SIDES", (64, 96))
    torch.manual_seed(0)
    redraw, before = Autoencoder(trained=False), face.copy()
    first, again, other = (redraw(face, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == face.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(face, before)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_both_halves_have_the_shapes_of_the_published_weights() -> None:
    net = Autoencoder(trained=False)
    sizes = [sum(p.numel() for p in half.parameters()) for half in (net.encoder, net.decoder)]
    assert sizes == [1_338_528, 1_338_499]
    latent = net.encoder(torch.zeros(1, 3, 64, 96))
    assert latent.shape == (1, 32, 8, 12)
    assert net.decoder(latent).shape == (1, 3, 64, 96)


def test_weights_that_are_missing_or_others_say_what_to_do(checkpoints: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"taef2_encoder\.pth does not exist. Run deepfake-tr"):
        Autoencoder()
    checkpoints.mkdir(parents=True)
    (checkpoints / "taef2_encoder.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(WeightsMissing, match="This is another file"):
        Autoencoder()


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served on loopback in the place of the weights' origin."""
    served = tmp_path / "origin"
    served.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        monkeypatch.setattr(autoencoder, "ORIGIN", f"http://127.0.0.1:{server.server_port}/")
        yield served


def test_fetches_each_half_once(
    origin: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(autoencoder.FILES)
    with pytest.raises(WeightsMissing, match=r"could not be downloaded. Put the file from http://"):
        fetch_autoencoder()
    for name in names:
        (origin / name).write_bytes(name.encode())
    with pytest.raises(WeightsMissing, match="invalid hash value"):
        fetch_autoencoder()
    assert not list(checkpoints.glob("taef2_*.pth"))
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    monkeypatch.setattr(autoencoder, "FILES", digests)
    assert [path.read_bytes() for path in fetch_autoencoder()] == [n.encode() for n in names]
    for name in names:
        (origin / name).unlink()
    assert fetch_autoencoder() == [checkpoints / name for name in names]
