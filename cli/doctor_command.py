"""``glacier-al doctor``: check an installation, and mend what can be mended safely."""

from collections.abc import Iterator

import click

from catalog.context import Catalog
from catalog.settings import Settings
from cli.doctor_start import check_api, check_ports, check_program
from cli.errors import NotRunningError
from cli.exit_codes import ExitCode
from cli.output import as_json, json_option, print_json
from cli.running import check_folder, local_settings, running_settings
from services.installation_findings import Finding, FindingLevel, count
from workers.installation_checks import MACHINE, MIGRATING, SERVICES, Check, of_contents


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
            click.echo(line_of(finding))
    faults, warnings = count(found, FindingLevel.FAULT), count(found, FindingLevel.WARNING)
    if as_json():
        print_json([finding.to_json() for finding in found])
    else:
        click.echo(f"{faults} faults, {warnings} warnings, {len(found)} checks.")
    if faults:
        raise SystemExit(ExitCode.FOUND)


def line_of(finding: Finding) -> str:
    """Return a finding as a line of text."""
    parts = [f"{finding.level.value:<8}{finding.check}: found {finding.found}"]
    if finding.expected:
        parts.append(f"expected {finding.expected}")
    if finding.fixed:
        parts.append(f"mended: {finding.fixed}")
    elif finding.remedy:
        parts.append(finding.remedy + (" (--fix does it)" if finding.fix else ""))
    return "; ".join(parts)


def examine(*, is_fixing: bool) -> Iterator[Finding]:
    """Yield what is found, check by check; mend it at once if that is asked for."""
    settings, is_running = _settings()
    check_folder(settings)
    catalog = Catalog(settings)
    try:
        start = Check("API", check_api) if is_running else Check("ports", check_ports)
        for check in (MACHINE, Check("Label Studio's program", check_program), start):
            yield from check.results(catalog, fix=is_fixing)
        schema = list(MIGRATING.results(catalog, fix=is_fixing))
        yield from schema
        if count(schema, FindingLevel.FAULT):
            return  # rows of another schema cannot be read
        catalog.refresh_settings()
        for check in (*of_contents(), *(SERVICES if is_running else ())):
            yield from check.results(catalog, fix=is_fixing)
    finally:
        catalog.close()


def _settings() -> tuple[Settings, bool]:
    try:
        return running_settings(), True
    except NotRunningError:
        return local_settings(), False
