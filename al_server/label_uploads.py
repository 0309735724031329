"""Labels that people drew in a GIS: a GeoPackage comes back, and enters the loop as corrections of the map do."""

import hashlib
from uuid import NAMESPACE_URL, UUID, uuid5

from flask import Response, request
from flask_openapi3.models import RawModel
from pydantic import BaseModel, Field

from al_server.auth import actor
from al_server.context import allow_large_body, current_catalog, json_response
from al_server.correction_schemas import ShownMap
from al_server.corrections import shown_map
from al_server.map_schemas import VersionChoice
from al_server.scene_labels import api
from al_server.schemas import SceneId
from al_server.sent_files import ending_of, read_sent
from imagery.classes import UNKNOWN, ClassScheme
from imagery.grid import Grid
from imagery.label_polygons import DrawnLabels, read_label_polygons
from services import corrections
from services.class_scheme import scheme_in_force
from services.corrections import Correction, Shown
from services.map_layers import PREDICTION
from services.request_types import MAX_INTEGER
from services.scenes import find_scene, source_of

__all__ = ["api"]  # one with the list of labels: the OpenAPI document keeps one blueprint for each path


class UploadQuery(VersionChoice):
    """How a file is taken."""

    version: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="the version whose prediction was edited; none: drawn anew"
    )
    seconds: float | None = Field(None, ge=0, le=864_000, description="working time, if it was measured")
    dry_run: bool = Field(False, description="only tell what is recognised")


class UploadBody(RawModel):
    """A GeoPackage, or a zip archive; which of them it is, its first bytes tell."""

    mimetypes: list[str] = ["application/geopackage+sqlite3", "application/zip"]  # noqa: RUF012 - as the library does


class UploadedLayer(BaseModel):
    """A layer of the file."""

    name: str
    crs: str
    features: dict[str, int] = Field(description="by class; of the layer 'judged' by its name")
    notes: list[str] = Field(description="what was repaired, or left out")


class UploadAnswer(BaseModel):
    """What was recognised in a file, and what became of it."""

    id: UUID = Field(description="of the correction; the same for the same file")
    layers: list[UploadedLayer]
    row_off: int = Field(description="first row of the window that holds all polygons")
    col_off: int
    height: int
    width: int
    classes_px: dict[str, int] = Field(description="judged pixels by class")
    judged_px: int
    edited_px: int = Field(description="judged pixels whose class differs from the prediction that was edited")
    label_events: list[int] = Field(description="one for each patch; empty with dry_run")
    sent_before: bool = Field(False, description="this very file was taken in before, and nothing was done now")


@api.post("/<int:scene_id>/labels", responses={200: UploadAnswer, 202: UploadAnswer})
def upload(path: SceneId, query: UploadQuery, raw: UploadBody) -> Response:
    """Take polygons drawn in a GIS as labels: 202, the labels follow; 200 with dry_run, or if it was sent before.

    The body is a GeoPackage, or a zip archive with one or with shapefiles.
    """
    catalog = current_catalog()
    allow_large_body()
    content = request.get_data(cache=False)
    with catalog.read() as session:
        scene = find_scene(session, path.scene_id)
        scheme = scheme_in_force(session, catalog.settings)
    grid = source_of(scene).grid
    corrections.check_may_correct(scene, grid.window)
    drawn = _read(content, grid, scheme)
    asked = None if query.version is None else ShownMap(layer=PREDICTION, version=query.version)
    shown, version = shown_map(scene, asked, drawn.window, must_exist=True)
    correction = Correction(
        id=uuid5(NAMESPACE_URL, f"{scene.id} {hashlib.sha256(content).hexdigest()}"),
        row_off=drawn.window.row_off,
        col_off=drawn.window.col_off,
        height=drawn.window.height,
        width=drawn.window.width,
        shown=None if asked is None else Shown(layer=asked.layer, version=version),
        seconds=query.seconds,
        annotator=actor(),
    )
    judged = drawn.classes != UNKNOWN
    answer = UploadAnswer(
        **correction.model_dump(include={"id", "row_off", "col_off", "height", "width"}),
        layers=[
            UploadedLayer(
                name=layer.name, crs=layer.crs, features=layer.features, notes=[*layer.notes, *_journal_notes(content)]
            )
            for layer in drawn.layers
        ],
        classes_px={item.name: int((drawn.classes == item.value).sum()) for item in scheme.classes},
        judged_px=int(judged.sum()),
        edited_px=int((judged & (drawn.classes != shown)).sum()),
        label_events=[],
    )
    if query.dry_run:
        return json_response(answer)
    events, is_new = corrections.record(catalog, scene, correction, drawn.classes, shown)
    answer.label_events, answer.sent_before = [event.id for event in events], not is_new
    return json_response(answer, 202 if is_new else 200)


def _journal_notes(content: bytes) -> list[str]:
    """Return a note if a GeoPackage was sent whose last edits may lie in another file.

    It is no error: a program that closes the file may leave this mode set (https://sqlite.org/fileformat.html, bytes 18
    and 19 of the header).
    """
    if ending_of(content) == ".gpkg" and content[18:20] == b"\2\2":
        return ["edits may be missing if QGIS still had the file open; then close the project, and send it again"]
    return []


def _read(content: bytes, grid: Grid, scheme: ClassScheme) -> DrawnLabels:
    """Read a file of labels.

    Raises:
        InvalidInputError: It is no file of a kind that is taken.
        OutlineError, SceneError, ServiceUnavailable: As `read_sent`.
    """
    expected = "a plain GeoPackage: export the layer with QGIS"
    return read_sent(content, ending_of(content), expected, read_label_polygons, grid, scheme)
