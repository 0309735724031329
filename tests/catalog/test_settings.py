import json
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from catalog.settings import Settings, Strategy
from catalog.settings_guide import groups, is_run_time
from catalog.settings_sources import PREFIX, SettingsError

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
DERIVED = {  # what a default that follows from another setting looks like in the table
    "database_url": "SQLite in `var_dir`",
    "raster_store": "`var_dir`/store",
    "scene_root": "`var_dir`/scenes",
    "secrets_file": "`var_dir`/secrets.json",
    "channels": "`[]`",
}


def row(name: str, field: FieldInfo) -> str:
    default = field.default.value if isinstance(field.default, Strategy) else field.default
    written = default if isinstance(default, str) else json.dumps(default, default=str).strip('"')
    may_change = "yes" if is_run_time(Settings, name) else ""
    return f"| `{PREFIX}{name.upper()}` | {DERIVED.get(name, f'`{written}`')} | {field.description} | {may_change} |"


def test_the_page_of_settings_lists_every_setting_with_default_and_meaning() -> None:
    expected = [row(name, field) for name, field in Settings.model_fields.items()]
    found = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{PREFIX}")]
    assert found == expected


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_defaults_follow_the_variable_folder(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/catalog.sqlite"
    assert settings.raster_store == f"{tmp_path}/store"
    assert settings.scene_root == tmp_path / "scenes"
    assert settings.secrets_file == tmp_path / "secrets.json"


def test_a_relative_folder_is_fixed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(var_dir=Path("here")).var_dir == tmp_path / "here"
    assert Settings().scene_root == tmp_path / "var" / "scenes"


def test_another_process_reads_the_very_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        var_dir=tmp_path, channels=["red", "ndsi"], auto_rounds=True, mc_passes=7, round_strategy=Strategy.RANDOM
    )
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_MC_PASSES", "31")
    monkeypatch.setenv("GLACIER_AL_CHANNELS", '["red", "nir"]')
    settings = Settings()
    assert settings.mc_passes == 31
    assert settings.channels == ["red", "nir"]


def test_a_misspelt_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_MC_PASES", "31")
    with pytest.raises(
        SettingsError, match=r"GLACIER_AL_MC_PASES names no setting; did you mean GLACIER_AL_MC_PASSES\?"
    ):
        Settings()


def test_the_variable_of_set_up_is_no_misspelt_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_LABEL_STUDIO", "/opt/label-studio")
    Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mc_passes", 1),
        ("unet_dropout", 0.0),
        ("control_share", 0.6),
        ("round_strategy", "margin"),
        ("min_valid_share", -0.1),
        ("nonsense", 1),
        ("api_url", "127.0.0.1:8000"),
        ("mlflow_url", "http://host:port"),
        ("mlflow_public_url", "ftp://host"),
        ("redis_url", "http://127.0.0.1"),
        ("database_url", "/var/catalog.sqlite"),
        ("database_url", "nosuchbase://host/name"),
        ("scene_root", ""),
        ("scene_root", "~nobody-of-that-name/scenes"),
        ("raster_store", ""),
    ],
)
def test_nonsense_is_refused(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_url", "https://glacier.example.org"),
        ("mlflow_public_url", ""),
        ("redis_url", "unix:///run/redis.sock"),
        ("redis_url", "rediss://:word@queue:6380/0"),
        ("database_url", "sqlite://"),
        ("raster_store", "s3://bucket/store"),
    ],
)
def test_addresses_are_kept_as_they_are(name: str, value: str) -> None:
    assert getattr(Settings(**{name: value}), name) == value


def test_one_message_lists_all_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_CHANNELS", "red")
    monkeypatch.setenv("GLACIER_AL_MC_PASES", "31")
    monkeypatch.setenv("GLACIER_AL_ROUND_SIZE", "many")
    with pytest.raises(SettingsError) as caught:
        Settings(mc_seed=-1)
    assert str(caught.value).splitlines() == [
        "the settings have 4 faults:",
        '  GLACIER_AL_CHANNELS: channels is "red", expected a list of texts, written as JSON',
        "  mc_seed is -1, expected a whole number, at least 0 and at most 1,000,000,000",
        '  GLACIER_AL_ROUND_SIZE: round_size is "many", expected a whole number, at least 1 and at most 10,000',
        "  GLACIER_AL_MC_PASES names no setting; did you mean GLACIER_AL_MC_PASSES?",
        "docs/settings.md lists all settings.",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "nosuchbase://al:geheim@host/al"),
        ("database_url", "geheim"),
        ("redis_url", "rdis://:geheim@host"),
    ],
)
def test_no_error_shows_a_password(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(**{name: value})
    shown = "".join(traceback.format_exception(caught.value))
    assert name in shown
    assert "geheim" not in shown


def test_every_setting_belongs_to_a_named_group() -> None:
    assert "" not in groups(Settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().mc_passes = 5


def test_no_log_shows_a_password() -> None:
    settings = Settings(redis_url="redis://:geheim@localhost/0", database_url="postgresql://al:geheim@localhost/al")
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings)
