"""Outlines for GLIMS and RGI that operators have made in the browser, with all that the command line lets them state.

They are kept as `services.made_files` says. Only operators see them: they may name annotators by their
accounts, and hold labels of patches that wait for an annotator. Without being asked to, they leave such labels to the
model, as packages of the map do (`services.glims_packages`).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, StringConstraints

from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.errors import ConflictError, InvalidInputError, NotFoundError
from catalog.records import JobKind, Label, Scene
from catalog.registry import ModelVersion
from imagery.errors import ExportError, StoreError
from imagery.glaciers import read_inventory
from imagery.glims_findings import Finding
from imagery.glims_outlines import MIN_AREA_KM2
from imagery.store import RasterStore
from services import made_files, raster_keys
from services.class_scheme import class_scheme
from services.delivery import delivery_options
from services.glims_lineage import standing_labels
from services.glims_packages import request_of
from services.glims_request import GlimsRequest, class_mapping, image_of, read_analysts
from services.made_files import KnownFile
from services.predictions import check_ready
from services.request_types import Body, Integer
from services.scenes import find_scene, source_of
from services.version_figures import figures_of

_Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$"),
]
_LineType = Literal["glac_bound", "debris_cov", "supra_lake", "pro_lake", "none"]


class SubmissionOptions(Body):
    """Of which scene outlines for GLIMS are made, and what is stated beside it."""

    scene: Integer = Field(description="id of the scene")
    simulated: bool = Field(False, description="labels of a simulated annotator count, too; they are marked as such")
    labels_only: bool = Field(False, description="only what experts drew; the rest of the scene counts as unknown")
    waiting: bool = Field(
        False, description="labels of patches that wait for an annotator count, too: then keep the file from annotators"
    )
    analysts: list[_Text] = Field(
        default=[],
        max_length=100,
        description="'Surname, Given names, Affiliation'; after 'ACCOUNT=', of this account alone; none: pseudonyms",
    )
    line_types: dict[_Text, _LineType] = Field(
        default={}, max_length=100, description="line type by name of a class, where the name does not tell it"
    )
    min_area_km2: float = Field(MIN_AREA_KM2, ge=0, le=1e6, description="smallest glacier")
    smoothing_px: float | None = Field(
        None, ge=0, le=1000, description="smoothing of outlines in pixels; null: the setting outline_smoothing_px"
    )
    geolocation_error_m: float | None = Field(
        None, ge=0, le=100_000, description="of the image; null: as its provider states it"
    )
    image_id: _Text | None = Field(
        None, description="identifier of the image by its provider; null: found in the names of the scene's files"
    )
    instrument: _Text | None = Field(None, description="null: that of the scene's sensor")
    acquired: date | None = Field(None, description="day of the image; null: that of the scene")
    inventory: bool = Field(
        False,
        description="divide connected ice along the inventory of the setting glacier_inventory, and keep its ids; one "
        "that is sent counts instead",
    )
    inventory_layer: _Text | None = Field(
        None, description="layer of the inventory that is sent; needed only if the file has several"
    )
    glacier_id: _Text | None = Field(
        None, description="field of the inventory that is sent with the ids; null: rgi_id, RGIId or glac_id"
    )


class SentInventory(BaseModel):
    """The file of an inventory that was sent, kept until the submission is made.

    Attributes:
        name: What it was called where it came from.
        ending: Ending of its name in the raster store.
    """

    name: _Text
    ending: Literal[".gpkg", ".zip"]


class Asked(BaseModel):
    """What was asked for.

    Attributes:
        options: What the operator stated.
        scene: Name of the scene.
        version: The version whose map counts where no expert judged; None: only what experts drew.
        inventory: The inventory that was sent; None: none.
    """

    options: SubmissionOptions
    scene: str
    version: int | None
    inventory: SentInventory | None = None


class Contents(BaseModel):
    """What a submission that is made holds.

    Attributes:
        glaciers: Their number.
        area_km2: Their area.
        of_inventory: How many of them have an id of the inventory.
        intervals: How many of them have an interval of the area.
        image_id: Identifier of the image.
        image_is_named: Whether it is one by its provider; if not, it is the scene's name.
        labels: Number of labels that it is made of.
        simulated_labels: How many of them a simulated annotator drew.
        layers: Number of features by layer.
        findings: What the check found.
        left_out: Labels that are not in it, and why.
        size_bytes: Size of its zip.
    """

    glaciers: int
    area_km2: float
    of_inventory: int
    intervals: int
    image_id: str
    image_is_named: bool
    labels: int
    simulated_labels: int
    layers: dict[str, int]
    findings: list[Finding]
    left_out: list[str]
    size_bytes: int


class KnownSubmission(KnownFile):
    """A submission with its job; the file that may be sent for it is an inventory."""

    KIND = JobKind.EXPORT_SUBMISSION
    WHAT = "submission"

    @property
    def asked(self) -> Asked:
        """What was asked for."""
        return Asked.model_validate(self.row.request)

    @property
    def contents(self) -> Contents | None:
        """What it holds; None until its file is stored."""
        return None if self.row.contents is None else Contents.model_validate(self.row.contents)

    @property
    def file_name(self) -> str:
        """Name of its file, without the ending."""
        return f"{self.asked.scene}-glims-{self.row.asked_at:%Y-%m-%d}"

    @property
    def sent_file(self) -> str | None:
        """Key of the inventory that was sent; None: none was."""
        file = self.asked.inventory
        return None if file is None else _inventory_key(self.row.uid, file)


@dataclass(frozen=True)
class ReadInventory:
    """An inventory that was sent, and found to be one.

    Attributes:
        file: Its name and kind.
        content: The file.
    """

    file: SentInventory
    content: bytes


def ask(
    catalog: Catalog,
    options: SubmissionOptions,
    served: ModelVersion | None,
    by: str,
    store: RasterStore,
    inventory: ReadInventory | None = None,
) -> KnownSubmission:
    """Enqueue the job that writes outlines, which predicts the scene first if that was not done.

    Args:
        catalog: The catalog.
        options: What the operator states.
        served: The version that is served; None before the first.
        by: Name of the person who asks.
        store: Keeps the inventory until the job is done.
        inventory: An inventory that was sent; None: none.

    Raises:
        NotFoundError: There is no such scene.
        ConflictError: It is not ready, or there is neither a version nor a label.
        InvalidInputError: An option does not fit; the message names it.
        StoreError: The store takes no file.
    """
    version = None if options.labels_only else served
    with catalog.read() as session:
        scene = find_scene(session, options.scene)
        check_ready(scene)
        labels = standing_labels(session, scene.id, simulated=options.simulated, waiting=options.waiting)
    if version is None and not labels:
        raise ConflictError(f"{scene.name}: found neither a served version nor a label that counts; expected one")
    _check(catalog, scene, options, version, labels, is_sent=inventory is not None)
    file = None if inventory is None else inventory.file
    number = None if version is None else version.version
    asked = Asked(options=options, scene=scene.name, version=number, inventory=file)
    uid = uuid4().hex
    row = DataSet(uid=uid, request=asked.model_dump(mode="json"), with_model=version is not None, asked_by=by)
    with ExitStack() as stack:
        if inventory is not None:
            stack.enter_context(store.putting(_inventory_key(uid, inventory.file), inventory.content))
        session = stack.enter_context(catalog.write())
        return made_files.enqueue(session, KnownSubmission, row)


def _inventory_key(uid: str, file: SentInventory) -> str:
    return raster_keys.sent_inventory(uid, file.ending)


def request_by(catalog: Catalog, store: RasterStore, scene: Scene, known: KnownSubmission) -> GlimsRequest:
    """Return what is asked of `services.glims_export.export_glims` for a submission.

    Raises:
        InvalidInputError: No inventory is set, but one is asked for.
        NotFoundError: The inventory that was sent is not in the raster store, or damaged.
        OutlineError: The inventory cannot be read.
    """
    asked, key = known.asked, known.sent_file
    options = asked.options
    if key is None or asked.inventory is None:
        inventory = _inventory(catalog) if options.inventory else None
        return _with_options(request_of(catalog, scene, None, inventory), options)
    request = _with_options(request_of(catalog, scene, None, None), options)
    with TemporaryDirectory() as folder:
        file = Path(folder, f"inventory{asked.inventory.ending}")
        try:
            store.fetch(key, file)
        except StoreError as error:
            raise NotFoundError(
                f"the inventory {asked.inventory.name} that was sent is damaged, or not in the raster store any more; "
                "ask for the outlines anew, and send it again"
            ) from error
        grid = source_of(scene).grid
        glaciers = read_inventory(str(file), options.inventory_layer, grid, options.glacier_id)
    return replace(request, inventory=glaciers, inventory_name=asked.inventory.name)


def _with_options(request: GlimsRequest, options: SubmissionOptions) -> GlimsRequest:
    people, of_account = read_analysts(options.analysts)
    return replace(
        request,
        simulated=options.simulated,
        waiting=options.waiting,
        analysts=people,
        of_account=of_account,
        line_types=dict(options.line_types),
        min_area_km2=options.min_area_km2,
        smoothing_px=request.smoothing_px if options.smoothing_px is None else options.smoothing_px,
        geolocation_m=options.geolocation_error_m,
        image_id=options.image_id,
        instrument=options.instrument,
        acquired=options.acquired,
    )


def _check(
    catalog: Catalog,
    scene: Scene,
    options: SubmissionOptions,
    version: ModelVersion | None,
    labels: Sequence[Label],
    *,
    is_sent: bool,
) -> None:
    """Refuse options that would make the job fail, or be ignored.

    Raises:
        InvalidInputError: There is one; the message begins with its name.
    """
    try:
        request = _with_options(GlimsRequest(), options)
    except InvalidInputError as error:
        raise InvalidInputError(f"analysts: {error}") from error
    known = sorted({label.annotator.lower() for label in labels})
    for account in sorted((request.of_account or {}).keys() - known):
        expected = f"one of {', '.join(known)}" if known else "none: no label counts"
        raise InvalidInputError(
            f"analysts: found the account {account!r}, of which no label counts; expected {expected}"
        )
    try:
        image_of(scene, request)
    except ExportError as error:
        raise InvalidInputError(str(error)) from error
    try:
        class_mapping(class_scheme(catalog), figures_of(version).class_names if version else (), options.line_types)
    except ExportError as error:
        raise InvalidInputError(f"line_types: {error}") from error
    for name in () if is_sent else ("inventory_layer", "glacier_id"):
        if (found := getattr(options, name)) is not None:
            raise InvalidInputError(
                f"{name}: found {found!r}, but no inventory was sent; expected one, or leave it out"
            )
    if options.inventory and not is_sent:
        _inventory(catalog)


def _inventory(catalog: Catalog) -> str:
    found = delivery_options(catalog.settings).glacier_inventory
    if found is None:
        raise InvalidInputError("inventory: found none, as the setting glacier_inventory names no file; expected one")
    return found
