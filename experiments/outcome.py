"""What a simulation or an experiment leaves: tables, a figure, an MLflow run. Same for command line and job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.settings import Settings
from experiments.findings import Findings, write
from experiments.record import record


@dataclass(frozen=True)
class Outcome:
    """Findings, and how they were made.

    Attributes:
        findings: The results.
        conditions: How the results were made, a line each.
        parameters: Parameters of the MLflow run.
        folder: Folder of the files, one for each ground and set of options.
    """

    findings: Findings
    conditions: Sequence[str]
    parameters: Mapping[str, object]
    folder: Path


@dataclass(frozen=True)
class Delivered:
    """Where results are.

    Attributes:
        files: Markdown, CSV, PNG, and windows as GeoJSON.
        mlflow: Tracking URI that holds the MLflow run.
    """

    files: tuple[Path, ...]
    mlflow: str


def home(settings: Settings) -> Path:
    """Return the folder of all experiments: stored parts, examples and results."""
    return settings.var_dir / "experiments"


def deliver(outcome: Outcome, settings: Settings) -> Delivered:
    """Write the files of results, and record them as an MLflow run: in a database file if MLflow does not answer."""
    files = write(outcome.findings, outcome.folder, outcome.conditions)
    tracked = record(outcome.findings, files, outcome.parameters, settings, home(settings))
    return Delivered(files, tracked)
