"""``glacier-al doctor``: check an installation, and mend what can be mended safely."""

from collections.abc import Callable, Iterable, Iterator

import click

from catalog.context import Catalog
from catalog.errors import CatalogError
from catalog.settings import Settings
from cli.doctor import Finding, Level, fault, mended
from cli.doctor_files import check_bundles, check_files, check_scene_files
from cli.doctor_machine import check_machine
from cli.doctor_records import check_rows, check_schema
from cli.doctor_services import check_label_studio, check_mlflow
from cli.errors import NotRunningError, StartError
from cli.exit_codes import ExitCode
from cli.output import as_json, json_option, print_json
from cli.running import local_settings, running_settings
from labeling.errors import LabelStudioError


@click.command()
@click.option("--fix", "is_fixing", is_flag=True, help="mend what can be mended safely, and say what was done")
@json_option
def doctor(is_fixing: bool) -> None:
    """Check this installation: versions, parts, disk, permissions, database, checksums of all files, orphans.

    The exit code is 3 if a fault is left. Nothing that an annotator drew is ever deleted.
    """
    found = []
    for finding in examine(is_fixing=is_fixing):
        found.append(finding)
        if not as_json():
            click.echo(finding.line)
    faults = sum(finding.level is Level.FAULT for finding in found)
    warnings = sum(finding.level is Level.WARNING for finding in found)
    if as_json():
        print_json([finding.to_json() for finding in found])
    else:
        click.echo(f"{faults} faults, {warnings} warnings, {len(found)} checks.")
    if faults:
        raise SystemExit(ExitCode.FOUND)


def examine(*, is_fixing: bool) -> Iterator[Finding]:
    """Yield what is found, check by check; mend it at once if that is asked for."""
    settings, is_running = _settings()
    mend: Callable[[Iterable[Finding]], Iterable[Finding]] = mended if is_fixing else iter
    if not settings.var_dir.exists():
        raise StartError(
            f"{settings.var_dir} does not exist; name the folder of the installation in GLACIER_AL_VAR_DIR"
        )
    yield from mend(check_machine(settings, is_running))
    catalog = Catalog(settings)
    try:
        schema = list(mend([check_schema(catalog)]))
        yield from schema
        if any(finding.level is Level.FAULT for finding in schema):
            return  # rows of another schema cannot be read
        catalog.refresh_settings()
        for check in (check_rows, check_scene_files, check_files):
            yield from mend(check(catalog))
        if is_running:
            for name, of_service in (
                ("MLflow", check_mlflow),
                ("MLflow", check_bundles),
                ("Label Studio", check_label_studio),
            ):
                yield from mend(_answering(name, of_service(catalog)))
    finally:
        catalog.close()


def _settings() -> tuple[Settings, bool]:
    try:
        return running_settings(), True
    except NotRunningError:
        return local_settings(), False


def _answering(name: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings; a service that does not answer is one of them."""
    try:
        yield from findings
    except (CatalogError, LabelStudioError) as error:
        yield fault(name, str(error), "an answer", "see its log in the folder `logs`")
