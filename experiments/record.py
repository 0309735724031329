"""The MLflow run of an experiment, in the MLflow of the running system or else in a database file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from catalog.errors import ServiceDownError
from catalog.mlflow_log_in import log_in_of
from catalog.registry import registry_of
from catalog.settings import Settings
from catalog.tracking import Tracking
from experiments.findings import Findings, values_by_name

EXPERIMENT: Final = "glacier-experiments"
_PROBE_S: Final = 2.0
_REFUSED = re.compile(r"[^\w.\- :/]")  # characters that MLflow refuses in the name of a metric


def record(
    findings: Findings, files: Sequence[Path], parameters: Mapping[str, object], settings: Settings, folder: Path
) -> str:
    """Log the results of an experiment as a finished MLflow run; return the tracking URI that holds it.

    Args:
        findings: The results.
        files: Tables and plots to store as artifacts.
        parameters: How the results were made.
        settings: The settings, with the address of MLflow.
        folder: Gets a database file for MLflow if it does not answer at that address.
    """
    tracking = _tracking(settings, folder)
    run_id = tracking.start_run(findings.experiment, parameters, {"experiment": findings.experiment})
    values = {_REFUSED.sub("_", name): value for name, value in values_by_name(findings).items()}
    state = "FAILED"
    try:
        tracking.log_metrics(run_id, values, step=0)
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
    return Tracking(settings.mlflow_url, EXPERIMENT, settings.registered_model, log_in=log_in_of(settings))
