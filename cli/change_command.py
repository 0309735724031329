"""``glacier-al change``: compare two scenes of one ground."""

from pathlib import Path

import click

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Scene
from catalog.registry import registry_of
from cli.installation import running_catalog
from cli.output import as_json, json_option, print_json, print_table
from cli.prediction_wait import wait_for_prediction
from imagery.area_interval import AreaInterval
from imagery.change import common_grid
from imagery.glaciers import read_inventory
from services.area_report import EXPERTS, EXPERTS_SOURCE
from services.change import ALL_GLACIERS, Change, ChangeRow, DatedMap, compare
from services.change_files import summary, write_files
from services.change_maps import Subject, maps_to_compare
from services.class_scheme import class_scheme
from services.scenes import scene_by_name


@click.command()
@click.argument("earlier")
@click.argument("later")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="folder to write to")
@click.option("--glaciers", type=click.Path(exists=True, dir_okay=False), help="polygons of the glaciers, e.g. RGI")
@click.option("--layer", help="the layer of --glaciers; needed only if the file has several")
@click.option("--glacier-id", help="the field of --glaciers with the id; by default rgi_id, RGIId or glac_id")
@click.option(
    "--of",
    "subject",
    type=click.Choice([subject.value for subject in Subject]),
    default=Subject.PREDICTION.value,
    show_default=True,
    help="what to compare: maps of the served model version; the outlines registered with the scenes; or the prior "
    "outlines of EARLIER with what the model confidently shows on LATER, which may be the same scene",
)
@json_option
def change(
    earlier: str,
    later: str,
    output: Path,
    glaciers: str | None,
    layer: str | None,
    glacier_id: str | None,
    subject: str,
) -> None:
    """Compare the scenes EARLIER and LATER, which show the same ground at two dates.

    With --of priors both may be one scene: what has changed since its prior outlines, or was wrong in them. Writes
    change.csv (areas of each glacier and class, with errors), change.gpkg (gained, lost and converted ground; no file
    if nothing changed), change.json (totals and method) and change.png (map).
    """
    with running_catalog() as catalog:
        scheme = class_scheme(catalog)
        with catalog.read() as session:
            scenes = [scene_by_name(session, name) for name in (earlier, later)]
        first, second = _maps(catalog, scenes, Subject(subject))
    known = None
    if glaciers is not None:
        known = read_inventory(glaciers, layer, common_grid(first.source.grid, second.source.grid), glacier_id)
    found = compare(first, second, scheme, known)
    output.mkdir(parents=True, exist_ok=True)
    written = write_files(output, found)
    if as_json():
        print_json(summary(found) | {"folder": output})
    else:
        _print(found)
        click.echo(f"Written to {output}: {', '.join(written)}")


def _maps(catalog: Catalog, scenes: list[Scene], subject: Subject) -> tuple[DatedMap, DatedMap]:
    """Return the maps of the scenes; those that do not exist yet are predicted first."""
    earlier, later = scenes
    if subject is not Subject.PREDICTION:
        return maps_to_compare(catalog, earlier, later, subject, None)
    champion = registry_of(catalog.settings).champion()
    if champion is None:
        raise ConflictError(
            "no model version has been promoted yet: label a round first, or compare the outlines that came with the "
            "scenes (--of outlines)"
        )
    for scene in scenes:
        wait_for_prediction(catalog, scene, champion.version)
    return maps_to_compare(catalog, earlier, later, subject, champion)


def _print(found: Change) -> None:
    shift = found.shift
    click.echo(
        f"The images are displaced by {shift.length_m:.1f} ± {1.96 * shift.error_m:.1f} m ({shift.channel}, "
        f"{shift.blocks} blocks of ground); nothing was moved."
        if shift
        else "The displacement of the images could not be estimated: they have no band in common, or are not alike."
    )
    totals = [row for row in found.rows if row.glacier == ALL_GLACIERS]
    rows = [
        (
            row.class_name,
            _interval(row.areas.before_interval),
            _interval(row.areas.after_interval),
            _interval(row.areas.change_interval, sign="+"),
            "yes" if row.areas.is_significant else "no, within the error",
            row.areas.method,
        )
        for row in totals
    ]
    for note in found.notes:
        click.echo(f"The polygons of the glaciers: {note}.")
    columns = ("class", "before, km²", "after, km²", "change, km²", "significant", "error by")
    print_table(columns, rows, caption=_caption(totals))


def _interval(interval: AreaInterval, sign: str = "") -> str:
    return f"{interval.best:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def _caption(totals: list[ChangeRow]) -> str:
    """Return what the intervals are, and the errors of classes beside the differences between experts."""
    lines = ["Best estimates and 95 % intervals."]
    for row in totals:
        if row.class_name in EXPERTS:
            ours = (row.areas.before_interval.relative_error, row.areas.after_interval.relative_error)
            texts = ["undefined" if error is None else f"±{error:.0%}" for error in ours]
            lines.append(
                f"{row.class_name}: {' and '.join(texts)}; experts differ by up to {EXPERTS[row.class_name]:.0%}."
            )
    return "\n".join(lines if len(lines) == 1 else [*lines, EXPERTS_SOURCE])
