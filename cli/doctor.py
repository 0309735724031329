"""What the checks of ``glacier-al doctor`` find, and how it is shown."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. Only a fault makes the exit code 3."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

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
    level: Level
    found: str
    expected: str = ""
    remedy: str = ""
    fix: Callable[[], str] | None = field(default=None, repr=False)
    fixed: str | None = None

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        parts = [f"{self.level.value:<8}{self.check}: found {self.found}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.fixed:
            parts.append(f"mended: {self.fixed}")
        elif self.remedy:
            parts.append(self.remedy + (" (--fix does it)" if self.fix else ""))
        return "; ".join(parts)

    def to_json(self) -> dict[str, object]:
        """Return the finding for programs."""
        shown = {name: getattr(self, name) for name in ("check", "found", "expected", "remedy", "fixed")}
        return {"level": self.level.value, **shown, "can_be_fixed": self.fix is not None}


def ok(check: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, expected: str, remedy: str, fix: Callable[[], str] | None = None) -> Finding:
    """Return something that a person should know, but that stops nothing."""
    return Finding(check, Level.WARNING, found, expected, remedy, fix)


def fault(check: str, found: str, expected: str, remedy: str, fix: Callable[[], str] | None = None) -> Finding:
    """Return something that keeps a part of the loop from working."""
    return Finding(check, Level.FAULT, found, expected, remedy, fix)


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return names joined by commas, the first of many only."""
    texts = list(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def mended(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Mend what can be mended safely; yield each finding with what was done, or with why it failed."""
    for finding in findings:
        if finding.fix is None or finding.level is Level.OK:
            yield finding
            continue
        try:
            yield replace(finding, level=Level.OK, fixed=finding.fix())
        except Exception as error:
            yield replace(finding, remedy=f"{finding.remedy}; mending failed: {error}", fix=None)
