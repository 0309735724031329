"""Change settings while the system runs: what may be changed, and what is refused."""

import logging
from collections.abc import Mapping
from typing import Any

from catalog import setting_changes
from catalog.context import Catalog
from catalog.errors import InvalidInputError
from catalog.setting_changes import SettingChange
from catalog.settings import Settings
from catalog.settings_guide import is_run_time
from catalog.settings_in_force import places, short_place
from catalog.settings_sources import Given, SettingsError, nearest, read_value
from services.strategies import check_settings

log = logging.getLogger(__name__)


class SettingsRefusedError(InvalidInputError):
    """A change of settings is refused.

    Attributes:
        faults: What is wrong, by the name of the setting.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(faults.values()))
        self.faults = dict(faults)


def change(catalog: Catalog, asked: Mapping[str, Any], actor: str) -> None:
    """Change settings, all of them or none. Other processes take them in when they next begin work.

    Args:
        catalog: The catalog.
        asked: New values by name; None: back to the default.
        actor: Who asks.

    Raises:
        SettingsRefusedError: a setting may not be changed, or these settings would be refused at a start, too.
    """
    _check_names(catalog.configured, asked)
    fields, folder = Settings.model_fields, catalog.configured.var_dir
    new = {name: read_value(value, fields[name], folder) for name, value in asked.items() if value is not None}
    with catalog.write() as session:
        before = setting_changes.standing(session)
        kept = {name: value for name, value in before.items() if name not in asked}
        try:
            settings = setting_changes.with_values(setting_changes.applied(catalog.configured, kept), new)
            check_settings(settings)
        except SettingsError as error:
            raise SettingsRefusedError(error.faults) from error
        values = settings.model_dump(mode="json", include=set(new))
        for name in asked:
            if values.get(name) != before.get(name):
                session.add(SettingChange(name=name, value=values.get(name), changed_by=actor))
                log.info("%s changed the setting %s to %r", actor, name, values.get(name, "its default"))
    catalog.refresh_settings()


def _check_names(configured: Settings, asked: Mapping[str, Any]) -> None:
    """Refuse names of no setting, of one that needs a restart, and of one that the file or the environment fixes."""
    given = places(configured)
    faults = {name: fault for name in asked if (fault := _fault(name, configured, given))}
    if faults:
        raise SettingsRefusedError(faults)


def _fault(name: str, configured: Settings, given: Mapping[str, Given]) -> str | None:
    if name not in Settings.model_fields:
        meant = nearest(name, Settings.model_fields)
        return f"{name} names no setting" + (f"; did you mean {meant}?" if meant else "")
    if not is_run_time(Settings, name):
        return f"{name} cannot change while the system runs; set it in config.toml and restart `glacier-al up`"
    if name in configured.model_fields_set:
        place = short_place(given[name].place) if name in given else "the start of this server"
        return f"{name} is fixed by {place}; change it there, or remove it there and restart `glacier-al up`"
    return None
