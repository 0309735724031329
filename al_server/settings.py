"""Settings in force, and changes of those that may change while the system runs."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor, has_role
from al_server.context import current_catalog, json_response
from al_server.paging import cut_of, last_key, page_response
from al_server.problems import problem
from al_server.schemas import ListOf
from al_server.setting_schemas import (
    ChangePage,
    SettingAnswer,
    SettingChangeAnswer,
    SettingsChange,
    serialize_change,
    serialize_settings,
)
from catalog import setting_changes
from catalog.access_records import Role
from services.changing_settings import SettingsRefusedError, change

api = APIBlueprint("settings", __name__, url_prefix="/api/v1/settings", abp_tags=[Tag(name="settings")])


@api.get("", responses={200: ListOf[SettingAnswer]})
def list_settings() -> Response:
    """List the settings in force, with where each comes from, what it means, and what is allowed.

    Readers are told those that may change while the system runs; operators all, with passwords masked.
    """
    catalog = current_catalog()
    catalog.refresh_settings()
    with catalog.read() as session:
        found = serialize_settings(session, catalog, only_run_time=not has_role(Role.OPERATOR))
    return json_response(found)


@api.patch("", responses={200: ListOf[SettingAnswer]})
def change_settings(body: SettingsChange) -> Response:
    """Change settings, all of them or none; null: back to the default. The answer lists them as they are then.

    All processes use them within seconds: jobs from their start, the clock from its next tick. A setting that the file
    or the environment gives is refused, and so is what would be refused at a start; ``errors`` names each fault.
    """
    catalog = current_catalog()
    try:
        change(catalog, body.settings, actor())
    except SettingsRefusedError as error:
        faults = [{"field": name, "fault": fault} for name, fault in error.faults.items()]
        return problem(422, str(error), errors=faults)
    with catalog.read() as session:
        found = serialize_settings(session, catalog, only_run_time=True)
    return json_response([item for item in found if item.name in body.settings])


@api.get("/changes", responses={200: ListOf[SettingChangeAnswer]})
def list_changes(query: ChangePage) -> Response:
    """List changes of settings, newest first.

    The record is append-only. If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = setting_changes.history(session, cut_of(query), query.name)
    answers = [serialize_change(item) for item in found]
    return page_response(answers, query, last_key(found, query, lambda item: item.id))
