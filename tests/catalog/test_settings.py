import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from catalog.settings import PREFIX, Settings, Strategy

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
    return f"| `{PREFIX}{name.upper()}` | {DERIVED.get(name, f'`{written}`')} | {field.description} |"


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
    with pytest.raises(ValidationError, match=r"GLACIER_AL_MC_PASES.*docs/settings\.md"):
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
    ],
)
def test_nonsense_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().mc_passes = 5


def test_no_log_shows_a_password() -> None:
    settings = Settings(redis_url="redis://:geheim@localhost/0", database_url="postgresql://al:geheim@localhost/al")
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings)
