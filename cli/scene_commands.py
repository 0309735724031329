"""``glacier-al scene``: register, list and remove scenes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from cli.everest import everest_scenes
from cli.installation import installed_catalog
from cli.output import print_table
from cli.synthetic_commands import synthetic
from services.registration import register
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, replace
from services.scene_request import SceneRequest
from services.scenes import registered_scenes, scene_by_name, source_of

BAND_HELP = "NAME=FILE[:INDEX], e.g. nir=B4.TIF or red=rgb.tif:1; repeatable"
BORDER_HELP = "FILE[:LAYER] of polygons; pixels outside them count as unknown, e.g. country.gpkg:border"
OUTLINES_HELP = (
    "CLASS=FILE[:LAYER], e.g. 'clean ice=outlines.gpkg:clean_ice'; or FILE[:LAYER], whose classes --class-field and "
    "--map tell, or else are recognised; repeatable"
)
MAP_HELP = "VALUE=CLASS: the class of a value of --class-field, e.g. 'Debris covered=debris-covered ice'; repeatable"


def _description_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a scene to a command."""
    options = (
        click.argument("name"),
        click.option(
            "--role",
            type=click.Choice(["pool", "validation", "test"]),
            required=True,
            help="pool: to label and learn from; validation: to judge versions; test: to report. Cannot be changed",
        ),
        click.option("--file", "file", help="one GeoTIFF with all bands"),
        click.option("--band", "bands", multiple=True, help=BAND_HELP),
        click.option("--sensor", help="sensor, which names the bands of --file by their order, e.g. landsat-7-etm+"),
        click.option("--acquired", help="when the image was taken: 2000-10-30, or 2000-10-30T04:41:00Z"),
        click.option("--outlines", multiple=True, help=OUTLINES_HELP),
        click.option("--class-field", help="attribute field that tells the class of outlines named without one"),
        click.option("--map", "classes", multiple=True, help=MAP_HELP),
        click.option(
            "--region", nargs=4, type=int, metavar="ROW COL HEIGHT WIDTH", help="a part of the files, in pixels"
        ),
        click.option("--nodata", type=float, help="value that means no data, besides what the files declare"),
        click.option("--dem", help="elevation in metres as GeoTIFF, any resolution and CRS; gives elevation and slope"),
        click.option("--border", help=BORDER_HELP),
        click.option("--patch-size", type=int, help="side of a patch in pixels"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def scene() -> None:
    """Register, list and remove scenes."""


scene.add_command(synthetic)


@scene.command("add")
@_description_options
def add(name: str, **described: Any) -> None:
    """Register the scene NAME. Its files stay where they are; nothing is copied.

    The first band decides the scene's grid; files of another resolution or CRS are resampled onto it when read.
    """
    register_here(_request(name, **described))


@scene.command("replace")
@_description_options
@click.option(
    "--labels",
    "fate",
    type=click.Choice(list(LabelFate)),
    help="what becomes of labels: keep (only if the scene's pixels stay where they are) or discard. Must be named if "
    "there are any",
)
def replace_with(name: str, fate: LabelFate | None, **described: Any) -> None:
    """Replace the scene NAME by a new description of it, as for `add`: other outlines, files or terrain.

    Its patches, truth and scores are made anew. Versions that learnt from its labels stay as they are.
    """
    request = _parsed(_request(name, **described))
    with installed_catalog() as catalog:
        done = replace(catalog, request, _existing, fate)
        click.echo(
            f"Scene {done.scene.name} ({done.scene.role.value}) is replaced and has the number {done.scene.id}: "
            f"{done.kept} labels are kept, {done.superseded} do not count any more."
        )
        if done.learnt_from:
            click.echo(f"Versions that learnt from its labels stay: {', '.join(map(str, done.learnt_from))}.")


@scene.command("everest")
def add_everest() -> None:
    """Register the example: Mount Everest on 30 October 2000, as a pool, a validation and a test region."""
    with installed_catalog() as catalog:
        requests = everest_scenes(catalog.settings.scene_root / "everest")
    for request in requests:
        register_here(request)


@scene.command("list")
def list_all() -> None:
    """List all scenes."""
    rows = []
    with installed_catalog() as catalog, catalog.read() as session:
        for row in registered_scenes(session):
            source = source_of(row)
            size, bands = f"{source.grid.width} × {source.grid.height}", ", ".join(source.band_names)
            rows.append((row.name, row.role, row.state, size, str(row.patch_count), bands, row.error or ""))
    print_table(("name", "role", "state", "size, px", "patches", "bands", "error"), rows)


@scene.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove the scene NAME, which must not have labels. Its files are kept."""
    with installed_catalog() as catalog:
        with catalog.write() as session:
            remove_scene(session, scene_by_name(session, name).id)
        click.echo(f"Scene {name} is removed. Its name and its ground are free again; its files are untouched.")


def register_here(request: dict[str, Any]) -> None:
    """Register a scene from the command line, with any file that the user can read, and print its number."""
    parsed = _parsed(request)
    with installed_catalog() as catalog:
        registered, _ = register(catalog, parsed, _existing)
        click.echo(f"Scene {registered.name} ({registered.role.value}) is registered as number {registered.id}.")


def _request(
    name: str,
    *,
    role: str,
    file: str | None,
    bands: tuple[str, ...],
    sensor: str | None,
    acquired: str | None,
    outlines: tuple[str, ...],
    class_field: str | None,
    classes: tuple[str, ...],
    region: tuple[int, int, int, int] | None,
    nodata: float | None,
    dem: str | None,
    border: str | None,
    patch_size: int | None,
) -> dict[str, Any]:
    """Turn the options that describe a scene into a request, as the API takes it."""
    return {
        "name": name,
        "role": role,
        "path": file,
        "bands": [_parse(text, "index") for text in bands] or None,
        "sensor": sensor,
        "acquired": acquired,
        "outlines": [_outline(text, class_field, classes) for text in outlines],
        "region": dict(zip(("row_off", "col_off", "height", "width"), region, strict=True)) if region else None,
        "nodata": nodata,
        "dem": {"path": dem} if dem else None,
        "border": _file(border, "layer") if border else None,
        "patch_size_px": patch_size,
    }


def _parsed(request: dict[str, Any]) -> SceneRequest:
    try:
        return SceneRequest.model_validate(request)
    except ValidationError as error:
        raise click.UsageError(str(error)) from error


def _existing(name: str) -> str:
    path = Path(name).resolve()
    if not path.is_file():
        raise click.UsageError(f"found no file {name}")
    return str(path)


def _outline(text: str, class_field: str | None, classes: tuple[str, ...]) -> dict[str, Any]:
    """Read ``CLASS=FILE[:LAYER]``, or ``FILE[:LAYER]`` with the field and the classes of its values."""
    if "=" in text and not Path(text).is_file():
        return _parse(text, "layer")
    mapped = [item.rpartition("=") for item in classes]
    if any(not equals for _, equals, _ in mapped):
        raise click.UsageError(f"found {', '.join(classes)}; expected {MAP_HELP}")
    return {
        **_file(text, "layer"),
        "class_field": class_field,
        "classes": {value: class_name for value, _, class_name in mapped},
    }


def _parse(text: str, third: str) -> dict[str, Any]:
    """Read ``KEY=FILE[:THIRD]`` of a band or an outline."""
    key, equals, rest = text.partition("=")
    if not equals:
        raise click.UsageError(f"found {text!r}, expected {BAND_HELP if third == 'index' else OUTLINES_HELP}")
    return {"name" if third == "index" else "class": key, **_file(rest, third)}


def _file(text: str, second: str) -> dict[str, Any]:
    """Read ``FILE[:SECOND]``. If TEXT as a whole is an existing file, its colon belongs to the name."""
    file, colon, last = text.rpartition(":")
    if Path(text).is_file() or not colon or "/" in last or "\\" in last:
        return {"path": text}
    if second == "layer" and last:
        return {"path": file, "layer": last}
    if second == "index" and last.isascii() and last.isdecimal():
        return {"path": file, "index": int(last)}
    if not Path(file).is_file():
        return {"path": text}
    expected = "a name of a layer" if second == "layer" else "the number of a band"
    raise click.UsageError(f"found {last!r} after the file {file} and a colon; expected {expected}")
