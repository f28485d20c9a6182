"""Training configs: shipped ones are valid, and errors name the invalid field."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import timm

from deepfake_training.config import load_config
from deepfake_training.errors import ConfigError

CONFIGS = Path(str(files("deepfake_training"))) / "configs"
SHIPPED = sorted(CONFIGS.glob("*.toml"))
MINIMAL = '[bundle]\nname = "n"\nversion = "1"\nterms = "t"\n'
HEAD = MINIMAL + '[backbone]\ntune = "head"\nblocks = [1]\n[probe]\n'
BOTH = HEAD + 'heads = ["linear", "kinds"]\n'


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_configs_are_valid(path: Path) -> None:
    config = load_config(path)
    assert config.bundle.crop.size == config.bundle.input.height


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MINIMAL + "[fit]\nstep = 5\n", "fit.step"),
        (MINIMAL + "[fit]\nsteps = 0\n", "fit.steps"),
        (MINIMAL + '[backbone]\nweights = "internet"\n', "backbone.weights"),
        ("[fit]\nsteps = 5\n", "bundle"),
        (
            MINIMAL + "[mix]\nreal_fakes = 0\nself_blended = 0\nswapped = 0\nregenerated = 0\n",
            "mix: .*nothing to learn from",
        ),
        ("steps = = 5", "not valid TOML"),
        (MINIMAL + 'arithmetic = "int8"\n', "bundle.arithmetic needs backbone.tune"),
        (
            MINIMAL + "[bundle.crop]\nfurther_scales = [0.8]\n",
            r"bundle\.crop\.further_scales needs backbone\.blocks",
        ),
        (MINIMAL + '[backbone]\ntune = "head"\n', r'tune = "head" needs backbone\.blocks'),
        (MINIMAL + '[backbone]\nblocks = [1]\nlearnt = "r"\n', r"learnt needs backbone\.tune"),
        (BOTH, r"probe\.kinds and the head .kinds."),
        (MINIMAL + '[probe]\nkinds = ["swap", "other"]\n', r"probe\.kinds needs backbone\.tune"),
        (
            BOTH + 'kinds = ["swap"]\n',
            r"probe\.kinds: Name at least two",
        ),
        (
            BOTH + 'kinds = ["swap", "x"]\n[cross_validation]\nfamilies = {swap = ["a"]}\n',
            r"probe\.kinds: 'x' is not one of the families",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_an_absent_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_configs_name_backbones_that_timm_can_make(path: Path) -> None:
    config = load_config(path)
    backbone, spec = config.backbone, config.bundle.input
    assert timm.is_model(backbone.name)
    if backbone.weights == "timm":
        known = timm.get_pretrained_cfg(backbone.name)
        assert known.hf_hub_id, "timm has weights of it"
        assert known.mean == pytest.approx(spec.mean)
        assert known.std == pytest.approx(spec.std)
        if known.fixed_input_size:
            assert known.input_size == (3, spec.height, spec.width)
    # What is stored must hold the network's view in at least its own resolution.
    view = config.prepare.store_size * config.bundle.crop.scale / config.prepare.store_scale
    assert path.stem == "smoke" or view >= spec.height
