"""Settings that are changed while the system runs: what they override, what overrides them, and the record of them."""

import logging
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from catalog import setting_changes
from catalog.context import Catalog
from catalog.paging import Cut
from catalog.setting_changes import SettingChange, applied, with_values
from catalog.settings import Settings
from catalog.settings_guide import is_run_time
from catalog.settings_in_force import in_force
from catalog.settings_sources import SettingsError


def record(catalog: Catalog, name: str, value: object, actor: str = "olga") -> None:
    with catalog.database.write() as session:
        session.add(SettingChange(name=name, value=value, changed_by=actor))


def test_environment_overrides_file_overrides_page_overrides_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("mc_passes = 31\nround_size = 5\n")
    monkeypatch.setenv("GLACIER_AL_ROUND_SIZE", "6")
    configured = Settings(var_dir=tmp_path)
    changed = {"mc_passes": 40, "round_size": 41, "keep_scorings": 4}
    settings = applied(configured, changed)
    assert (settings.round_size, settings.mc_passes, settings.keep_scorings, settings.mc_seed) == (6, 31, 4, 0)
    found = in_force(configured, settings, ["round_size", "mc_passes", "keep_scorings", "mc_seed", "raster_store"])
    assert {name: (item.source, item.place) for name, item in found.items()} == {
        "round_size": ("environment", "GLACIER_AL_ROUND_SIZE"),
        "mc_passes": ("file", f"{tmp_path}/config.toml, line 1"),
        "keep_scorings": ("page", ""),
        "mc_seed": ("default", ""),
        "raster_store": ("derived", "var_dir"),
    }


def test_another_process_is_told_which_settings_the_file_fixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("# ours\nmc_passes = 31\n")
    first = Settings(var_dir=tmp_path)
    for name, value in first.as_environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config.toml").write_text("round_size = 5\n")  # edited meanwhile
    handed_on = Settings()
    settings = applied(handed_on, {"mc_passes": 40, "round_size": 41})
    assert (settings.mc_passes, settings.round_size) == (31, 41)
    assert in_force(handed_on, settings, ["mc_passes"])["mc_passes"].place == f"{tmp_path}/config.toml, line 2"
    assert Settings().as_environment() == first.as_environment()  # and so may a third one be


def test_a_setting_that_needs_a_restart_is_never_taken_from_the_record(tmp_path: Path) -> None:
    assert applied(Settings(var_dir=tmp_path), {"patch_size_px": 64, "no_setting": 1}).patch_size_px == 512


def test_values_are_validated_as_at_a_start(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path)
    with pytest.raises(SettingsError) as caught:
        with_values(settings, {"mc_passes": 1, "round_size": 0})
    assert caught.value.faults == {
        "mc_passes": "mc_passes is 1, expected a whole number, at least 2 and at most 1,000",
        "round_size": "round_size is 0, expected a whole number, at least 1 and at most 10,000",
    }
    with pytest.raises(SettingsError, match="clicks cannot mend polygons"):
        with_values(settings, {"preannotation": "polygon", "interactive_clicks": True})
    both = with_values(settings, {"preannotation": "none", "interactive_clicks": True})
    assert (both.preannotation, both.interactive_clicks) == ("none", True)


def test_a_change_that_does_not_fit_any_more_is_left_out_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file was given polygons after somebody had switched clicks on."""
    (tmp_path / "config.toml").write_text('preannotation = "polygon"\n')
    with caplog.at_level(logging.WARNING):
        settings = applied(Settings(var_dir=tmp_path), {"interactive_clicks": True, "round_size": 7})
    assert (settings.interactive_clicks, settings.round_size) == (False, 7)
    assert "a change of the setting interactive_clicks is not used" in caplog.text


def test_every_setting_that_may_change_is_bounded_so_that_no_column_overflows() -> None:
    unbounded = []
    for name, schema in Settings.model_json_schema()["properties"].items():
        for kind in schema.get("anyOf", [schema]):
            is_figure = kind.get("type") in ("integer", "number") and is_run_time(Settings, name)
            if is_figure and kind.get("maximum", kind.get("exclusiveMaximum", 2**31)) >= 2**31:
                unbounded.append(name)
    assert unbounded == []


def test_every_setting_that_may_change_goes_back_by_null() -> None:
    """Null in the record means the default, so that null as a value must be the default, too."""
    schemas = Settings.model_json_schema()["properties"]
    optional = [name for name, schema in schemas.items() if {"type": "null"} in schema.get("anyOf", [])]
    assert [name for name in optional if is_run_time(Settings, name) and schemas[name]["default"] is not None] == []


def test_the_newest_change_of_each_setting_stands(catalog: Catalog) -> None:
    record(catalog, "round_size", 7)
    record(catalog, "round_size", 8)
    record(catalog, "auto_rounds", True)
    record(catalog, "mc_passes", 30)
    record(catalog, "mc_passes", None, "rita")
    with catalog.read() as session:
        assert setting_changes.standing(session) == {"round_size": 8, "auto_rounds": True}
        assert setting_changes.last_changes(session)["mc_passes"].changed_by == "rita"
        assert [row.value for row in setting_changes.history(session, Cut(10), name="round_size")] == [8, 7]
        assert [row.name for row in setting_changes.history(session, Cut(2, before=4))] == ["auto_rounds", "round_size"]


def test_a_catalog_takes_changes_in_when_it_is_told_to(catalog: Catalog) -> None:
    record(catalog, "round_size", 7)
    assert catalog.settings.round_size == 20
    catalog.refresh_settings()
    assert catalog.settings.round_size == 7
    record(catalog, "round_size", None)
    catalog.refresh_settings()
    assert catalog.settings == catalog.configured


@pytest.mark.parametrize(
    "statement",
    [update(SettingChange).values(value=9), delete(SettingChange), text("UPDATE setting_changes SET name = 'other'")],
)
def test_the_database_refuses_to_change_the_record(catalog: Catalog, statement: object) -> None:
    record(catalog, "round_size", 7)
    with pytest.raises(DBAPIError, match="append-only"), catalog.database.write() as session:
        session.execute(statement)
    with catalog.read() as session:
        assert setting_changes.standing(session) == {"round_size": 7}
