"""``glacier-al scene``: register, replace, list and remove scenes."""

import re
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from catalog.records import Scene
from cli.errors import usage_error
from cli.everest import everest_scenes
from cli.installation import installed_catalog
from cli.job_commands import follow
from cli.output import Columns, as_json, json_option, print_json, print_records, remark, tell
from cli.scene_options import scene_options, to_request
from cli.scene_text import describe
from cli.synthetic_commands import synthetic
from imagery.everest import prepare
from imagery.paths import is_address
from services.registration import check, register
from services.scene_files import AnyFile
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, check_replacement, replace
from services.scene_request import NAME, SceneRequest
from services.scene_summary import SceneSummary
from services.scenes import registered_scenes, scene_by_name, source_of

ROLES = click.Choice(["pool", "validation", "test"])
ROLE_HELP = "pool: to label and learn from; validation: to judge versions; test: to report; `scene replace` changes it"


@click.group()
def scene() -> None:
    """Register, list and remove scenes."""


scene.add_command(synthetic)


@scene.command("add")
@click.argument("what", metavar="PATH|NAME")
@click.option("--role", type=ROLES, required=True, help=ROLE_HELP)
@click.option("--name", help="name of the scene; default: that of the product")
@scene_options
@click.option("--yes", is_flag=True, help="register without asking")
@click.option("--dry-run", is_flag=True, help="show what is understood, and register nothing")
@click.option("--wait", is_flag=True, help="until it is cut into patches, showing how far that is")
@json_option
def add(what: str, role: str, name: str | None, *, yes: bool, dry_run: bool, wait: bool, **given: Any) -> None:
    """Register the scene at PATH: a product's folder, archive or file, or a STAC item.

    What is understood is shown first: read it. Or name the scene (NAME) and give its bands (--band) or file (--file).
    Its files stay where they are; nothing is copied. Files of another resolution or CRS than the first band's are
    resampled onto its grid when read.
    """
    path, name = _place(what, name, given)
    request = _parse(to_request(name, role, path, given))
    with installed_catalog() as catalog:
        checked = check(catalog, request, AnyFile())
        _show(checked.summary)
        if dry_run:
            return
        if not yes:
            click.confirm("Register this scene?", abort=True, err=True)
        scene, job = register(catalog, checked)
        remark(registered(scene))
    if wait:
        follow(job.id)
        remark(f"Scene {scene.name} is ready.")


@scene.command("replace")
@click.argument("name")
@click.argument("path", required=False)
@click.option(
    "--role",
    type=ROLES,
    help="another role, which needs labels to be discarded; not if versions learnt from it; default: the present one",
)
@scene_options
@click.option(
    "--labels",
    "fate",
    type=click.Choice([fate.value for fate in LabelFate]),
    help="what becomes of labels drawn on it: 'keep', if its pixels stay where they are, or 'discard'",
)
@click.option("--yes", is_flag=True, help="replace without asking")
@click.option("--dry-run", is_flag=True, help="show what is understood, and change nothing")
@json_option
def replace_by(
    name: str,
    path: str | None,
    role: str | None,
    fate: str | None,
    *,
    yes: bool,
    dry_run: bool,
    **given: Any,
) -> None:
    """Replace the scene NAME by a new description of it, as for `add`: other files, outlines, DEM or unit.

    What is understood is shown first. Patches, truth and scores are made anew. Versions that learnt from its labels
    stay as they are.
    """
    with installed_catalog() as catalog:
        with catalog.read() as session:
            old = scene_by_name(session, name)
            old_id, role = old.id, role or old.role.value
        request = _parse(to_request(name, role, path or given["file"], given))
        checked = check_replacement(catalog, old_id, request, AnyFile())
        _show(checked.new.summary)
        if dry_run:
            return
        if not yes:
            click.confirm("Replace the scene by this?", abort=True, err=True)
        done = replace(catalog, checked, LabelFate(fate) if fate else None)
        remark(
            f"Scene {name} ({done.scene.role.value}) is replaced and has the number {done.scene.id}: {done.kept} "
            f"labels are kept, {done.superseded} do not count any more."
        )
        if done.learnt_from:
            versions = ", ".join(map(str, done.learnt_from))
            remark(f"Versions that learnt from its labels stay: {versions}.")


@scene.command("everest")
@json_option
def add_everest() -> None:
    """Register the example: Mount Everest on 30 October 2000, as a pool, a validation and a test region."""
    with installed_catalog() as catalog:
        requests = everest_scenes(prepare(catalog.settings.scene_root / "everest"))
    scenes = [register_here(request) for request in requests]
    names = [{"id": row.id, "name": row.name, "role": row.role.value} for row in scenes]
    tell("\n".join(map(registered, scenes)), scenes=names)


@scene.command("list")
@json_option
def list_all() -> None:
    """List all scenes."""
    records = []
    with installed_catalog() as catalog, catalog.read() as session:
        for row in registered_scenes(session):
            source = source_of(row)
            records.append(
                {
                    "id": row.id,
                    "name": row.name,
                    "role": row.role.value,
                    "state": row.state.value,
                    "width": source.grid.width,
                    "height": source.grid.height,
                    "patches": row.patch_count,
                    "bands": list(source.band_names),
                    "error": row.error,
                }
            )
    columns: Columns = {
        "id": "id",
        "name": "name",
        "role": "role",
        "state": "state",
        "size, px": lambda record: f"{record['width']} × {record['height']}",
        "patches": "patches",
        "bands": lambda record: ", ".join(record["bands"]),
        "error": "error",
    }
    print_records(records, columns)


@scene.command("remove")
@click.argument("name")
@json_option
def remove(name: str) -> None:
    """Remove the scene NAME, which must not have labels. Its files are kept."""
    with installed_catalog() as catalog:
        with catalog.write() as session:
            remove_scene(session, scene_by_name(session, name).id)
        text = f"Scene {name} is removed. Its name and its ground are free again; its files are untouched."
        tell(text, name=name, removed=True)


def register_here(request: dict[str, Any]) -> Scene:
    """Register a scene from the command line without asking, with any file that the user can read; return it."""
    with installed_catalog() as catalog:
        return register(catalog, check(catalog, _parse(request), AnyFile()))[0]


def registered(scene: Scene) -> str:
    """Return the sentence that says that a scene is registered."""
    return f"Scene {scene.name} ({scene.role.value}) is registered as number {scene.id}."


def _parse(request: dict[str, Any]) -> SceneRequest:
    try:
        return SceneRequest.model_validate(request)
    except ValidationError as error:
        raise usage_error(error, "the scene") from error


def _place(what: str, name: str | None, given: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return path and name of the scene: the argument is a name if --band or --file say where it is, else a path."""
    if not given["file"] and not given["bands"]:
        if not is_address(what) and not Path(what).exists():
            raise click.UsageError(f"found no file or folder {what}; expected one, or a name with --band or --file")
        return what, name
    if name is not None:
        raise click.UsageError(
            f"found the names {what} and {name}; expected one: with --band or --file the first is it"
        )
    if not re.fullmatch(NAME, what):
        raise click.UsageError(f"found the name {what!r}; expected a-z, 0-9 and -, at most 99")
    return given["file"], what


def _show(summary: SceneSummary) -> None:
    if as_json():
        print_json(summary)
    else:
        click.echo(describe(summary))
