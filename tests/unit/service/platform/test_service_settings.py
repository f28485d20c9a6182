from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_service.platform.errors import SettingsError
from deepfake_service.platform.settings import (
    CREDENTIALS,
    PREFIX,
    Settings,
    load_settings,
    settings_markdown,
    unknown_variables,
)

DOCS = Path(__file__).resolve().parents[4] / "docs" / "settings.md"
STRONG = "0123456789abcdefghij"


def test_the_page_on_settings_is_the_one_that_the_settings_write() -> None:
    assert DOCS.read_text(encoding="utf-8") == settings_markdown()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_default_and_says_what_it_is_for(name: str) -> None:
    field = Settings.model_fields[name]
    assert not field.is_required()
    assert field.description
    assert len(field.description) > 30
    assert f"`{PREFIX}{name.upper()}`" in DOCS.read_text(encoding="utf-8")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", "/somewhere")
    monkeypatch.setenv("DEEPFAKE_PORT", "9001")
    monkeypatch.setenv("DEEPFAKE_ADMIN_KEY", STRONG)
    settings = load_settings()
    assert settings.data_dir == Path("/somewhere")
    assert settings.port == 9001
    assert settings.admin_key is not None
    assert STRONG not in repr(settings)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0123456789abcdefghi", "at least 20 characters"),
        ("a" * 40, "different characters"),
        ("0123456789 abcdefghij", "without spaces"),
        ("0123456789abcdefghi\N{LATIN SMALL LETTER E WITH ACUTE}", "ASCII"),
    ],
)
def test_a_weak_admin_key_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, value: str, says: str
) -> None:
    monkeypatch.setenv("DEEPFAKE_ADMIN_KEY", value)
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings()
    assert caught.value.message.startswith("DEEPFAKE_ADMIN_KEY: must ")
    assert value not in caught.value.message


def test_one_port_cannot_have_two_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFAKE_OPERATIONS_PORT", "8000")
    with pytest.raises(SettingsError, match="another port than DEEPFAKE_PORT"):
        load_settings()


def test_empty_variables_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_DIR", "BUNDLE_DIR", "PORT"):
        monkeypatch.setenv(PREFIX + name, "")
    settings = load_settings()
    assert settings.data_dir == Path("var")
    assert settings.bundle_dir is None
    assert settings.port == 8000


def test_an_empty_admin_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFAKE_ADMIN_KEY", "")
    assert load_settings().admin_key is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("DEVICE", "tpu"),
        ("JOBS_AT_ONCE", "0"),
        ("JOBS_AT_ONCE", "-1"),
        ("CASE_DAYS", "nan"),
        ("READS_PER_ACCOUNT", "often"),
    ],
)
def test_a_value_that_cannot_be_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_URL", "sqlite:////elsewhere/records.sqlite", "unset it and set DEEPFAKE_DATA_D"),
        ("DATABASE_URL", "mysql://host/name", "must be a postgresql:// URL"),
        ("LOOKS_FROM", "kr", "must be two capital letters, as in KR"),
        ("TIMESTAMP_URL", "foo", "must be a URL"),
        ("TIMESTAMP_ROOTS", "missing.pem", "must be a file that can be read"),
        ("CONTENT_CREDENTIAL_ANCHORS", "missing.pem", "must be a file that can be read"),
        ("PINNED_KEYS", "missing", "must be a folder that can be read"),
    ],
)
def test_a_value_that_cannot_work_is_refused_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings()
    assert caught.value.message.startswith(f"{PREFIX}{name}: ")
    assert value not in caught.value.message


def test_misspelt_variables_are_found() -> None:
    names = ["DEEPFAKE_PORT", "DEEPFAKE_PROT", "deepfake_host", "PATH"]
    assert unknown_variables(names) == ["DEEPFAKE_PROT"]


def test_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    (tmp_path / "deepfake_admin_key").write_text(f"{STRONG}\n")
    (tmp_path / "DEEPFAKE_MASTER_KEY").write_text("a-master-key")
    (tmp_path / "deepfake_adminkey").write_text("misspelt")
    (tmp_path / "another-service").write_text("ignored")
    settings = load_settings()
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == STRONG
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == "a-master-key"
    assert "deepfake_adminkey" in unknown_variables()
    assert "another-service" not in unknown_variables()
    monkeypatch.setenv("DEEPFAKE_ADMIN_KEY", STRONG[::-1])
    settings = load_settings()
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == STRONG[::-1]


def test_a_bad_secret_in_a_file_is_named_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    (tmp_path / "deepfake_admin_key").write_text("too-short")
    with pytest.raises(SettingsError, match="DEEPFAKE_ADMIN_KEY: must have") as caught:
        load_settings()
    assert "too-short" not in caught.value.message
    monkeypatch.setenv(CREDENTIALS, str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match=f"{CREDENTIALS}: .*absent: No such file"):
        load_settings()
