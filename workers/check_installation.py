"""Job: check the installation while it runs, and mend what can be mended safely if that was asked for.

It makes the checks of ``glacier-al doctor``, without those that make no sense in a worker of a running system: ports
and programs that only a start needs, and whether the API answers, by which the job was asked for. Nor does it migrate
the database, which other processes are using.
"""

import logging
from typing import Final

from services.installation_findings import Finding, FindingLevel, count, report_of
from workers.installation_checks import MACHINE, SCHEMA, SERVICES, of_contents
from workers.jobs import JobContext

log = logging.getLogger(__name__)

_STEPS: Final = 100  # of each check, so that one that reads all files can tell how far it is


def check_installation(context: JobContext, fix: bool, by: str) -> None:
    """Make the checks one after another, and leave a report (`services.installation_findings.report_of`).

    Args:
        context: The job.
        fix: Whether to mend. Nothing that an annotator drew is ever deleted.
        by: Who asked for it.
    """

    def tell_files(read: int, files: int) -> None:
        context.progress_of_step(
            _STEPS * done + _STEPS * read // files, _STEPS * len(checks), f"reading files: {read} of {files}"
        )

    checks = (MACHINE, SCHEMA, *of_contents(tell_files), *SERVICES)
    findings: list[Finding] = []
    for done, check in enumerate(checks):
        context.progress(_STEPS * done, _STEPS * len(checks), f"checking {check.name}")
        found = list(check.results(context.catalog, fix=fix))
        findings += found
        if check is SCHEMA and count(found, FindingLevel.FAULT):
            break
    for finding in findings:
        if finding.fixed:
            log.warning("%s: %s; mended for %s: %s", finding.check, finding.found, by, finding.fixed)
    context.report(report_of(findings, fix=fix, by=by))
