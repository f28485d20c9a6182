"""Training configs: shipped ones are valid, and errors name the invalid field."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import timm

from deepfake_models.bundle import load_bundle
from deepfake_training.config import REMOVED, load_config, stored_config
from deepfake_training.errors import ConfigError

CONFIGS = Path(str(files("deepfake_training"))) / "configs"
SHIPPED = sorted([*CONFIGS.glob("*.toml"), *CONFIGS.glob("releases/*.toml")])
MINIMAL = '[bundle]\nname = "n"\nversion = "1"\nterms = "t"\n'
HEAD = MINIMAL + '[backbone]\ntune = "head"\nblocks = [1]\n'


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_configs_are_valid(path: Path) -> None:
    config, digest = load_config(path)
    assert config.bundle.crop.size == config.bundle.input.height
    assert len(digest) == 64


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
            MINIMAL + '[backbone]\ntune = "head"\n[bundle.crop]\nfurther_scales = [0.8]\n',
            r"bundle\.crop\.further_scales needs .* backbone\.blocks",
        ),
        (MINIMAL + '[backbone]\ntune = "head"\n', r"tune = .head. needs backbone\.blocks"),
        (MINIMAL + '[probe]\nkinds = ["swap", "other"]\n', r"probe\.kinds needs backbone\.tune"),
        (HEAD + '[probe]\nkinds = ["swap"]\n', r"probe\.kinds: name at least two"),
        (
            HEAD
            + '[probe]\nkinds = ["swap", "x"]\n[cross_validation]\nfamilies = {swap = ["a"]}\n',
            r"probe\.kinds: 'x' is not one of the families",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


@pytest.mark.parametrize("field", sorted(REMOVED))
def test_a_field_that_was_removed_is_named(tmp_path: Path, field: str) -> None:
    section, name = field.split(".")
    path = tmp_path / "old.toml"
    header = "" if section == "bundle" else f"[{section}]\n"
    path.write_text(f"{MINIMAL}{header}{name} = 1\n")
    with pytest.raises(ConfigError, match=rf"^old\.toml: {field} is no longer supported"):
        load_config(path)


def test_saved_configs_keep_removed_fields_only_where_they_had_no_effect() -> None:
    saved = load_config(CONFIGS / "smoke.toml")[0].model_dump(mode="json")
    for field, neutral in REMOVED.items():
        section, name = field.split(".")
        saved[section][name] = neutral
    assert stored_config(json.dumps(saved)) == load_config(CONFIGS / "smoke.toml")[0]
    saved["bundle"]["mirrored"] = True
    with pytest.raises(ConfigError, match=r"bundle\.mirrored is no longer supported"):
        stored_config(json.dumps(saved))


def test_the_shipped_bundle_states_a_config_that_can_be_read() -> None:
    spec = load_bundle().spec
    released, _ = load_config(CONFIGS / "releases" / f"{spec.version}.toml")
    assert stored_config(json.dumps(spec.training["config"])) == released


def test_an_absent_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_configs_name_backbones_that_timm_can_make(path: Path) -> None:
    config, _ = load_config(path)
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
