"""``glacier-al export``: a data set of labels and windows; outlines for GLIMS and RGI, and their check."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from catalog.context import Catalog
from catalog.errors import InvalidInputError, ServiceDownError
from catalog.records import Scene, SceneRole
from catalog.registry import registry_of
from cli.errors import FoundError
from cli.installation import installed_catalog
from cli.output import as_json, json_option, print_json, print_table, tell
from cli.prediction_wait import wait_for_prediction
from cli.progress import QUIET_S, progress
from imagery.errors import ExportError
from imagery.glaciers import InventoryPart, read_inventory
from imagery.glims_check import check_submission
from imagery.glims_findings import Finding, has_errors
from imagery.glims_outlines import MIN_AREA_KM2
from services.dataset_export import export_dataset
from services.dataset_model import ServedModel, served_model
from services.dataset_request import DatasetRequest, Form
from services.glims_export import Submission, delivered_prediction, export_glims
from services.glims_request import GlimsRequest, Prediction, read_analysts
from services.scenes import scene_by_name, source_of

LABELS = click.option(
    "--labels",
    type=click.Choice(["human", "all"]),
    default="human",
    show_default=True,
    help="all: those of a simulated annotator, too, marked as such",
)
FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def export() -> None:
    """Write labels and outlines as files that others can use."""


@export.command()
@FOLDER
@LABELS
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in SceneRole]),
    multiple=True,
    help="scenes of this role; repeatable; default: all. pool becomes the split train",
)
@click.option("--channel", "channels", multiple=True, help="a channel, or a set of a paper (baraka); repeatable")
@click.option("--form", "forms", type=click.Choice([form.value for form in Form]), multiple=True, help="default: all")
@click.option(
    "--licence", default="other", show_default=True, help="SPDX identifier that you give the labels: CC-BY-4.0"
)
@click.option("--title", default=DatasetRequest.title, show_default=True, help="title of the data set")
@click.option("--model/--no-model", default=True, show_default=True, help="add the served model, if there is one")
@json_option
def dataset(
    folder: Path,
    labels: str,
    roles: tuple[str, ...],
    channels: tuple[str, ...],
    forms: tuple[str, ...],
    licence: str,
    title: str,
    model: bool,
) -> None:
    """Write labels, image windows and masks into FOLDER, which is new, empty, or an earlier data set."""
    from workers.code_version import software

    request = DatasetRequest(
        roles=tuple(SceneRole(role) for role in roles) or tuple(SceneRole),
        simulated=labels == "all",
        channels=channels,
        forms=tuple(Form(form) for form in forms) or tuple(Form),
        licence=licence,
        title=title,
    )
    with installed_catalog() as catalog:
        _check_labels(catalog)
        served = _served_model(catalog) if model and Form.STAC in request.forms else None
        with progress("the data set", QUIET_S) as told:
            tally = export_dataset(
                catalog, folder, request, software(), served, lambda done, total: told(done / total, None)
            )
    windows = ", ".join(f"{count} {split}" for split, count in tally.windows.items())
    simulated = f" ({tally.simulated} simulated)" if tally.simulated else ""
    tell(
        f"{folder}: {windows} windows, {len(tally.labels)} labels{simulated} by {len(tally.analysts)} analysts.",
        folder=folder,
        windows=dict(tally.windows),
        labels=len(tally.labels),
        simulated=tally.simulated,
        analysts=len(tally.analysts),
    )


@export.command()
@click.argument("scene")
@FOLDER
@LABELS
@click.option("--labels-only", is_flag=True, help="only what experts drew; the rest of the scene counts as unknown")
@click.option(
    "--analyst",
    "analysts",
    multiple=True,
    help="'Surname, Given names, Affiliation', or ACCOUNT=... with an annotator's e-mail address; repeatable",
)
@click.option(
    "--line-type", "line_types", multiple=True, help="CLASS=LINE_TYPE, where the class's name does not tell it"
)
@click.option(
    "--min-area", type=click.FloatRange(0), default=MIN_AREA_KM2, show_default=True, help="smallest glacier, km2"
)
@click.option("--smoothing", type=click.FloatRange(0), help="in pixels; default: the setting outline_smoothing_px")
@click.option(
    "--geolocation-error", type=click.FloatRange(0), help="of the image, metres; default: as its provider states it"
)
@click.option("--image-id", help="identifier of the image by its provider; default: found in the names of its files")
@click.option("--instrument", help="default: that of the scene's sensor")
@click.option("--acquired", type=click.DateTime(["%Y-%m-%d"]), help="day of the image; default: that of the scene")
@click.option(
    "--glaciers",
    type=click.Path(exists=True, dir_okay=False),
    help="divide connected ice along the polygons of an inventory, e.g. RGI, and keep its ids",
)
@click.option("--layer", help="the layer of --glaciers; needed only if the file has several")
@click.option("--glacier-id", help="the field of --glaciers with the id; by default rgi_id, RGIId or glac_id")
@json_option
def glims(
    scene: str,
    folder: Path,
    labels: str,
    labels_only: bool,
    analysts: tuple[str, ...],
    line_types: tuple[str, ...],
    min_area: float,
    smoothing: float | None,
    geolocation_error: float | None,
    image_id: str | None,
    instrument: str | None,
    acquired: datetime | None,
    glaciers: str | None,
    layer: str | None,
    glacier_id: str | None,
) -> None:
    """Write the outlines of SCENE into FOLDER as GLIMS and RGI take them, and check them.

    What experts drew counts where they judged, the served model's prediction elsewhere.
    """
    from workers.code_version import software
    from workers.relief import relief_of

    try:
        people, of_account = read_analysts(analysts)
    except InvalidInputError as error:
        raise click.UsageError(str(error)) from error
    with installed_catalog() as catalog:
        _check_labels(catalog)
        with catalog.read() as session:
            row = scene_by_name(session, scene)
        request = GlimsRequest(
            simulated=labels == "all",
            analysts=people,
            of_account=of_account,
            line_types=dict(_pair(text, "CLASS=LINE_TYPE") for text in line_types),
            min_area_km2=min_area,
            smoothing_px=catalog.settings.outline_smoothing_px if smoothing is None else smoothing,
            geolocation_m=geolocation_error,
            image_id=image_id,
            instrument=instrument,
            acquired=acquired.date() if acquired else None,
            inventory=read_inventory(glaciers, layer, source_of(row).grid, glacier_id) if glaciers else InventoryPart(),
            inventory_name=Path(glaciers).name if glaciers else "",
        )
        prediction = None if labels_only else _prediction(catalog, row)
        terrain = relief_of(source_of(row))
        done = export_glims(catalog, row, folder, request, software(), prediction, terrain)
    making = done.making
    if not as_json():
        _describe(folder, done)
    _judge(
        folder,
        done.findings,
        glaciers=making.glaciers,
        area_km2=making.area_km2,
        of_inventory=making.of_inventory,
        intervals=making.intervals,
        image_id=making.image_id,
        layers=done.layers,
    )


@export.command()
@FOLDER
@json_option
def check(folder: Path) -> None:
    """Check whether the shapefiles in FOLDER, of any program, keep GLIMS's published requirements."""
    _judge(folder, check_submission(folder))


def _check_labels(catalog: Catalog) -> None:
    """Make damaged masks of labels whole; say which labels are left out because that is impossible."""
    from workers.label_repair import check_standing

    for label_id, reason in sorted(check_standing(catalog).items()):
        click.echo(f"Label {label_id} is left out: {reason}", err=True)


def _served_model(catalog: Catalog) -> ServedModel | None:
    """Return the served model; None without one, or if MLflow does not answer, which is said."""
    try:
        return served_model(catalog)
    except ServiceDownError as error:
        click.echo(f"The model is left out: {error}. Start the system with `glacier-al up` to add it.", err=True)
        return None


def _prediction(catalog: Catalog, scene: Scene) -> Prediction | None:
    """Return the map of a scene by the champion, which is made first if it is not stored; None without a champion.

    Raises:
        ExportError: MLflow does not answer, so that the champion is not known.
        ConflictError: The scene is not ready, or its prediction failed or was cancelled.
    """
    try:
        version = registry_of(catalog.settings).champion()
    except ServiceDownError as error:
        raise ExportError(
            f"{error}: the served model is not known. Start the system with `glacier-al up`, or export only what "
            "experts drew, with --labels-only"
        ) from error
    if version is None:
        return None
    wait_for_prediction(catalog, scene, version.version)
    return delivered_prediction(catalog, scene, version)


def _pair(text: str, form: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"found {text!r}; expected {form}")
    return key.strip(), value.strip()


def _describe(folder: Path, done: Submission) -> None:
    making = done.making
    kinds = ", ".join(f"{name} is {kind or 'left out'}" for name, kind in making.mapping.line_types.items())
    click.echo(f"{folder}: {making.glaciers} glaciers, {making.area_km2:.3f} km2; {kinds}.")
    if making.inventory:
        unnamed = f", {making.without_id} of polygons of it without an id" if making.without_id else ""
        click.echo(
            f"{making.of_inventory} of them are glaciers of {making.inventory}{unnamed}; the others lie outside these."
        )
        for note in making.inventory_notes:
            click.echo(f"{making.inventory}: {note}.")
    click.echo(f"{making.intervals} of them have a 95 % interval of the area.")
    if making.is_name:
        click.echo(f"No identifier of the image was found: {making.image_id} is the scene's name (see --image-id).")
    print_table(("layer", "features"), [(name, str(count)) for name, count in done.layers.items()])


def _judge(folder: Path, findings: list[Finding], **written: Any) -> None:
    """Print the findings, and what was written if that is given.

    Raises:
        FoundError: There are errors among them.
    """
    fit = not has_errors(findings)
    if as_json():
        print_json({"folder": folder, "fit": fit, "findings": findings, **written})
    else:
        for finding in findings:
            click.echo(str(finding))
        if fit:
            end = ", with these warnings." if findings else "."
            click.echo(f"{folder}: keeps GLIMS's published requirements{end}")
    if not fit:
        raise FoundError(f"{folder}: not fit for GLIMS yet; see the errors above")
