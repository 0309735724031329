"""The page of settings: what each means and where it comes from, and, for operators, fields to change them."""

import re
from itertools import groupby
from typing import Any, Final

from flask import Blueprint, Response
from markupsafe import Markup

from al_server.auth import has_role
from al_server.context import current_catalog
from al_server.page_frame import render_page
from al_server.paging import show_page
from al_server.setting_schemas import SettingAnswer, serialize_change, serialize_settings
from catalog import setting_changes
from catalog.access_records import Role
from catalog.settings_guide import toml

page = Blueprint("settings_page", __name__)
CHANGES_SHOWN: Final = 50
_CODE: Final = re.compile(r"`([^`]+)`")


@page.app_template_filter("setting_value")
def in_words(value: Any) -> str:
    """Return a value of a setting as people read it."""
    if value is None:
        return "not set (null)"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else toml(value).removesuffix(".0")


@page.app_template_filter("marked")
def marked(text: str) -> Markup:
    """Return a text in which words between backticks are marked as code."""
    parts = _CODE.split(text)  # every second one is code
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


@page.get("/settings")
def show() -> Response:
    """Return the page; its script changes settings by the API."""
    catalog, is_operator = current_catalog(), has_role(Role.OPERATOR)
    catalog.refresh_settings()
    with catalog.read() as session:
        settings = serialize_settings(session, catalog, only_run_time=not is_operator)
        changed, pager = show_page(
            "changes", CHANGES_SHOWN, lambda cut: setting_changes.history(session, cut), lambda item: item.id
        )
        changes = [serialize_change(item) for item in changed]
    return render_page(
        "settings.html",
        groups=_grouped([item for item in settings if item.run_time]),
        others=_grouped([item for item in settings if not item.run_time]),
        changes=changes,
        changes_pager=pager,
        may_change=is_operator,
    )


def _grouped(settings: list[SettingAnswer]) -> list[tuple[str, list[SettingAnswer]]]:
    return [(title, list(items)) for title, items in groupby(settings, lambda item: item.group)]
