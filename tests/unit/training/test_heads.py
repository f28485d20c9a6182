"""The arithmetic of fitted heads, and the registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_models.classifier import KIND_LOGITS, LOGIT
from deepfake_training.config import BundleConfig, Config, ProbeConfig
from deepfake_training.errors import ConfigError
from deepfake_training.heads import chosen_heads, fit_heads, heads_of, logits_of, state_of
from deepfake_training.heads.head import Examples, Material
from deepfake_training.heads.kinds import KindHead
from deepfake_training.heads.linear import LinearHead
from tests.support.installed import install

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 2, 3)).astype(np.float16)
LINEAR = LinearHead(RNG.normal(size=(2, 6)), np.array([0.5, -0.5]))
KINDS = KindHead(RNG.normal(size=(2, 6)), np.array([1.0, -1.0]))


def test_logits_read_one_square_after_the_other() -> None:
    expected = [
        LINEAR.weight[:, :3] @ face[0] + LINEAR.weight[:, 3:] @ face[1] + [0.5, -0.5]
        for face in FEATURES.astype(np.float64)
    ]
    assert LINEAR.logits(FEATURES) == pytest.approx(np.array(expected), abs=1e-5)
    kinds = FEATURES.reshape(5, 6).astype(np.float64) @ KINDS.weight.T + [1.0, -1.0]
    assert KINDS.logits(FEATURES) == pytest.approx(kinds, abs=1e-5)


@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 1, 0)])
def test_no_face_has_no_logit(shape: tuple[int, ...]) -> None:
    nothing = np.zeros(shape, np.float16)
    assert LINEAR.logits(nothing).shape == (0, 2)
    assert KINDS.logits(nothing).shape == (0, 2)


def test_the_saved_state_gives_the_same_heads() -> None:
    heads = {"linear": LINEAR, "kinds": KINDS}
    state = state_of(heads)
    assert set(state) == {"linear.weight", "linear.bias", "kinds.weight", "kinds.bias"}
    before, after = (logits_of(made, FEATURES) for made in (heads, heads_of(state)))
    assert set(before) == {LOGIT, KIND_LOGITS}
    for output, values in before.items():
        assert np.array_equal(values, after[output])


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("linear", "forest"), "There is no head 'forest'. Choose from linear, kinds."),
        ((), "Name one head that gives the logit"),
    ],
)
def test_heads_that_make_no_bundle_are_named(names: tuple[str, ...], says: str) -> None:
    bundle = BundleConfig(name="n", version="1", terms="t")
    config = Config(bundle=bundle, probe=ProbeConfig(heads=names))
    with pytest.raises(ConfigError, match=says):
        chosen_heads(config)


def test_a_head_of_an_installed_package_is_fitted_saved_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head that the page on training shows."""
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    code = page.split("```python\n# my_heads/__init__.py\n")[1].split("```")[0]
    install(tmp_path, monkeypatch, "my_heads", code, heads={"a.logistic": "my_heads:LogisticHead"})
    config = Config(
        bundle=BundleConfig(name="n", version="1", terms="t"),
        probe=ProbeConfig(heads=("a.logistic",)),
    )
    features = RNG.normal(size=(40, 2, 3)).astype(np.float32)
    truth = np.arange(40) % 2
    features[truth == 1] += 3.0
    plain = Examples(features, truth, np.full(40, 1 / 40))
    empty = np.zeros(0)
    nothing = Examples(features[:0], truth[:0], empty)
    material = Material(nothing, empty, empty, plain, pd.DataFrame(), np.zeros(40))
    heads = fit_heads(material, config)
    logits = logits_of(heads, features)[LOGIT]
    assert logits.shape == (40, 2)
    assert logits[truth == 1].min() > 0 > logits[truth == 0].max()
    made = heads_of(state_of(heads))
    assert np.array_equal(logits_of(made, features)[LOGIT], logits)
    assert type(made["a.logistic"]).__module__ == "my_heads"


def test_what_is_no_head_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "no_heads", "def fit(): ...", heads={"none": "no_heads:fit"})
    config = Config(
        bundle=BundleConfig(name="n", version="1", terms="t"),
        probe=ProbeConfig(heads=("none",)),
    )
    with pytest.raises(ConfigError, match=r"'none' of no_heads 1.0 is of the wrong type, function"):
        chosen_heads(config)
