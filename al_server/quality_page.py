"""The page of the quality of labels, for operators: agreement, labels that count as the truth, and withdrawals."""

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import live_mark, render_page
from catalog.withdrawals import annotators
from services import label_quality
from services.withdrawals import list_withdrawals

page = Blueprint("quality_page", __name__)


@page.get("/quality")
def show() -> Response:
    """Return the page; its script withdraws and releases labels by the API."""
    mark, catalog = live_mark(), current_catalog()
    with catalog.read() as session:
        withdrawn = list_withdrawals(session)
        names = annotators(session)
    return render_page(
        "quality.html", live=mark, quality=label_quality.assess(catalog), withdrawals=withdrawn, annotators=names
    )
