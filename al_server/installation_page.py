"""The page of the installation, for administrators: what its newest check found, and buttons for another one."""

from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.installation_check_schemas import FindingAnswer, describe_checks
from al_server.page_frame import live_mark, render_page
from services.installation_findings import FindingLevel

page = Blueprint("installation_page", __name__)

_GROUPS: Final[Mapping[str, Callable[[FindingAnswer], bool]]] = {
    "fault": lambda finding: finding.level is FindingLevel.FAULT,
    "warning": lambda finding: finding.level is FindingLevel.WARNING,
    "mended": lambda finding: finding.fixed is not None,
    "well": lambda finding: finding.level is FindingLevel.OK and finding.fixed is None,
}
"""The findings of a report by how bad they are, the worst first."""


@page.get("/installation")
def show() -> Response:
    """Return the page; its script has checks made by the API."""
    mark = live_mark()
    with current_catalog().read() as session:
        checks = describe_checks(session)
    findings = [] if checks.last is None else checks.last.findings
    groups = {name: list(filter(belongs, findings)) for name, belongs in _GROUPS.items()}
    return render_page("installation.html", live=mark, newest=checks.newest, last=checks.last, groups=groups)
