"""What the checks of an installation find, how it is mended, and the report of a check by a job."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from catalog.told_texts import described, without_keys


class FindingLevel(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        level: How bad it is.
        found: What was found.
        expected: What was expected; empty if that was found.
        remedy: What to do; empty if nothing.
        fix: Mends it safely and returns what was done; None if a person has to.
        fixed: What was done.
    """

    check: str
    level: FindingLevel
    found: str
    expected: str = ""
    remedy: str = ""
    fix: Callable[[], str] | None = field(default=None, repr=False)
    fixed: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the finding for programs: texts are shortened, and URLs have no log-ins and queries."""
        texts = {name: without_keys(getattr(self, name)) for name in ("check", "found", "expected", "remedy")}
        fixed = None if self.fixed is None else without_keys(self.fixed)
        return {"level": self.level.value, **texts, "fixed": fixed, "can_be_fixed": self.fix is not None}


def ok(check: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, FindingLevel.OK, found)


def warning(check: str, found: str, expected: str, remedy: str, fix: Callable[[], str] | None = None) -> Finding:
    """Return something that a person should know, but that stops nothing."""
    return Finding(check, FindingLevel.WARNING, found, expected, remedy, fix)


def fault(check: str, found: str, expected: str, remedy: str, fix: Callable[[], str] | None = None) -> Finding:
    """Return something that keeps a part of the loop from working."""
    return Finding(check, FindingLevel.FAULT, found, expected, remedy, fix)


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return names joined by commas, the first of many only."""
    texts = list(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def count(findings: Iterable[Finding], level: FindingLevel) -> int:
    """Return how many findings are of a level."""
    return sum(finding.level is level for finding in findings)


def mended(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Mend what can be mended safely; yield each finding with what was done, or with why it failed."""
    for finding in findings:
        if finding.fix is None or finding.level is FindingLevel.OK:
            yield finding
            continue
        try:
            yield replace(finding, level=FindingLevel.OK, fixed=finding.fix())
        except Exception as error:
            yield replace(finding, remedy=f"{finding.remedy}; mending failed: {described(error)}", fix=None)


def report_of(findings: Sequence[Finding], *, fix: bool, by: str) -> dict[str, Any]:
    """Return the report that a check by a job leaves.

    Args:
        findings: In the order in which they were found.
        fix: Whether what can be mended safely was mended.
        by: Who asked for the check.
    """
    return {
        "fix": fix,
        "by": by,
        "faults": count(findings, FindingLevel.FAULT),
        "warnings": count(findings, FindingLevel.WARNING),
        "findings": [finding.to_json() for finding in findings],
    }
