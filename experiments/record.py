"""The MLflow run of an experiment: in the system that runs here, or in a file of its own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from catalog.errors import ServiceDownError
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.tracking import Tracking
from experiments.findings import Findings, figures_of

EXPERIMENT: Final = "glacier-experiments"
_PROBE_S: Final = 2.0
_REFUSED = re.compile(r"[^\w.\- :/]")  # what MLflow takes in no name of a metric


def record(
    findings: Findings, files: Sequence[Path], parameters: Mapping[str, object], settings: Settings, folder: Path
) -> str:
    """Log a finished run with all figures and files.

    Args:
        findings: What was found.
        files: Tables and pictures to keep with it.
        parameters: How it was found.
        settings: Where MLflow should be.
        folder: Gets a database of MLflow's own if it does not answer there.

    Returns:
        The tracking URI that holds the run.
    """
    tracking = _tracking(settings, folder)
    run_id = tracking.start_run(findings.experiment, parameters, {"experiment": findings.experiment})
    figures = {_REFUSED.sub("_", name): value for name, value in figures_of(findings).items()}
    state = "FAILED"
    try:
        tracking.log_metrics(run_id, figures, step=0)
        tracking.log_files(run_id, files)
        state = "FINISHED"
    finally:
        tracking.end_run(run_id, state)
    return tracking.url


def _tracking(settings: Settings, folder: Path) -> Tracking:
    try:
        registry_of(settings).check(_PROBE_S)
    except ServiceDownError:
        folder.mkdir(parents=True, exist_ok=True)
        database, artifacts = folder / "mlflow.sqlite", folder / "mlflow-artifacts"
        return Tracking(f"sqlite:///{database}", EXPERIMENT, settings.registered_model, artifacts.as_uri())
    return Tracking(settings.mlflow_url, EXPERIMENT, settings.registered_model)
