"""The page of data sets, for operators: what was made, by whom, and a form to have another one made."""

from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.data_set_schemas import serialize_data_set
from al_server.page_frame import live_mark, render_page
from services import data_sets
from services.dataset_request import DatasetRequest

page = Blueprint("data_sets_page", __name__)
LICENCES: Final = ("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0", "ODbL-1.0")  # SPDX; others may be written


@page.get("/data-sets")
def show() -> Response:
    """Return the page; its script has data sets made and removed by the API."""
    mark, catalog = live_mark(), current_catalog()
    with catalog.read() as session:
        made = [serialize_data_set(known) for known in data_sets.listed(session)]
        channels, channel_sets = data_sets.channels_on_offer(session)
    return render_page(
        "data_sets.html",
        live=mark,
        data_sets=made,
        channels=channels,
        channel_sets=channel_sets,
        licences=LICENCES,
        title=DatasetRequest.title,
    )
