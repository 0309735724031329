"""The page of data sets and outlines for GLIMS, for operators: what was made, by whom, and forms to have more made."""

from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.data_set_schemas import serialize_data_set
from al_server.glims_schemas import serialize_submission
from al_server.kept_files import show_kept
from al_server.page_frame import live_mark, render_page
from catalog.records import SceneRole
from imagery.glims import LineType
from imagery.glims_outlines import MIN_AREA_KM2
from services import data_sets
from services.class_scheme import scheme_in_force
from services.data_sets import KnownDataSet
from services.dataset_request import DatasetRequest
from services.scenes import day_of, ready_scenes
from services.submissions import KnownSubmission

page = Blueprint("data_sets_page", __name__)
SHOWN: Final = 25
LICENCES: Final = ("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0", "ODbL-1.0")  # SPDX; others may be written
LINE_TYPES: Final = {
    LineType.GLACIER.value: "glacier",
    LineType.DEBRIS.value: "debris cover",
    LineType.SUPRAGLACIAL_LAKE.value: "lake on a glacier",
    LineType.PROGLACIAL_LAKE.value: "lake before a glacier",
    "none": "left out",
}


@page.get("/data-sets")
def show() -> Response:
    """Return the page; its script has data sets and outlines made and removed by the API."""
    mark, catalog = live_mark(), current_catalog()
    settings = catalog.settings
    with catalog.read() as session:
        known_sets, sets_pager = show_kept(session, KnownDataSet, "data-sets", SHOWN)
        known_outlines, submissions_pager = show_kept(session, KnownSubmission, "submissions", SHOWN)
        made = [serialize_data_set(known) for known in known_sets]
        outlined = [serialize_submission(known) for known in known_outlines]
        channels, channel_sets = data_sets.channels_on_offer(session)
        scenes = [(scene, day_of(scene)) for scene in ready_scenes(session, tuple(SceneRole))]
        class_names = scheme_in_force(session, settings).names[1:]
    return render_page(
        "data_sets.html",
        live=mark,
        data_sets=made,
        data_sets_pager=sets_pager,
        submissions=outlined,
        submissions_pager=submissions_pager,
        channels=channels,
        channel_sets=channel_sets,
        licences=LICENCES,
        title=DatasetRequest.title,
        scenes=scenes,
        class_names=class_names,
        line_types=LINE_TYPES,
        min_area_km2=MIN_AREA_KM2,
        smoothing_px=settings.outline_smoothing_px,
        has_inventory=settings.glacier_inventory is not None,
    )
