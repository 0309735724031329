"""Predictions of an area that somebody names: a window of a registered scene, or a GeoTIFF that was sent.

Each is a job of its own. What it writes is found by its id, and removed when nobody has used it for a while
(`services.unused_predictions`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from uuid import uuid4

from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import NotFoundError
from catalog.records import Job, JobKind, Scene
from imagery.grid import Window
from imagery.store import RasterStore
from services import raster_keys
from services.delivery import delivery_options
from services.predictions import check_ready, check_room
from services.scene_request import BandRequest, SceneRequest
from services.scenes import source_of

FILE = "area.tif"
"""How the request for a GeoTIFF that was sent names it."""


@dataclass(frozen=True)
class AreaPrediction:
    """A prediction that was asked for.

    Attributes:
        uid: Its id.
        name: What its files are called.
        version: Number of the model version.
        job: The job that makes it.
    """

    uid: str
    name: str
    version: int
    job: Job

    @property
    def keys(self) -> Mapping[str, str]:
        """The keys of its files by suffix, in the order in which they are written."""
        return area_keys(self.uid, self.version)


def area_keys(uid: str, version: int) -> Mapping[str, str]:
    """Return the keys of the files of an area by suffix, in the order in which they are written."""
    return {suffix: raster_keys.area_prediction(uid, version, suffix) for suffix in raster_keys.PREDICTION_SUFFIXES}


def predict_window(catalog: Catalog, scene: Scene, window: Window, version: int) -> AreaPrediction:
    """Enqueue the prediction of a window of a scene.

    Args:
        catalog: the catalog.
        scene: the scene.
        window: a window of it.
        version: number of the model version.

    Raises:
        ConflictError: the scene is not ready.
        SceneError: the window is not inside of the scene.
        QueueFullError: as many predictions wait or run as may at once.
    """
    check_ready(scene)
    source_of(scene).grid.check_inside(window)
    name = f"{scene.name}-{window.row_off}-{window.col_off}"
    with catalog.write() as session:
        return _enqueue(session, catalog, uuid4().hex, name, version, scene_id=scene.id, window=asdict(window))


def predict_upload(
    catalog: Catalog, store: RasterStore, content: bytes, request: SceneRequest, version: int
) -> AreaPrediction:
    """Keep a GeoTIFF that was sent, and enqueue its prediction; the job looks into it.

    Args:
        catalog: the catalog.
        store: the raster store.
        content: the file.
        request: what is said of it, from `request_for_upload`.
        version: number of the model version.

    Raises:
        QueueFullError: as many predictions wait or run as may at once.
        StoreError: the store takes no file.
    """
    with catalog.read() as session:  # before anything is stored
        check_room(session, catalog.settings.predictions_at_once)
    uid = uuid4().hex
    key = raster_keys.upload(uid)
    name, stated = request.name or "area", request.model_dump(mode="json", exclude_defaults=True)
    with store.putting(key, content), catalog.write() as session:
        return _enqueue(session, catalog, uid, name, version, upload=stated)


def request_for_upload(
    *, name: str, bands: list[str] | None, sensor: str | None, unit: str | None, level: str | None
) -> SceneRequest:
    """Return the request that describes a GeoTIFF that was sent.

    Args:
        name: what its files are to be called.
        bands: names of its bands in order; None: those that the file tells.
        sensor: a key of `imagery.sensors.SENSORS`; None: the file tells.
        unit: as in `SceneRequest`.
        level: as in `SceneRequest`.

    Raises:
        ValidationError: one of them is none.
    """
    listed = None
    if bands is not None:
        listed = [BandRequest(name=band, path=FILE, index=index) for index, band in enumerate(bands, start=1)]
    stated = {"name": name, "role": "pool", "sensor": sensor, "unit": unit, "level": level}
    return SceneRequest.model_validate({**stated, "bands": listed} if listed else {**stated, "path": FILE})


def find_area(session: Session, uid: str) -> AreaPrediction:
    """Return a prediction that was asked for.

    Raises:
        NotFoundError: there is none with this id.
    """
    job = jobs.last_of(session, JobKind.PREDICT_AREA, uid)
    if job is None:
        raise NotFoundError(f"there is no prediction {uid!r}")
    return AreaPrediction(uid, job.subject["name"], job.subject["version"], job)


def _enqueue(
    session: Session, catalog: Catalog, uid: str, name: str, version: int, **subject: object
) -> AreaPrediction:
    check_room(session, catalog.settings.predictions_at_once)
    delivery = delivery_options(catalog.settings).model_dump(mode="json")
    job = jobs.enqueue(
        session, JobKind.PREDICT_AREA, uid, uid=uid, name=name, version=version, delivery=delivery, **subject
    )
    return AreaPrediction(uid, name, version, job)
