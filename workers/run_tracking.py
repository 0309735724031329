"""The client by which runs are written to MLflow, and the tag by which one is found again; without torch."""

from typing import Final

from catalog.context import Catalog
from catalog.mlflow_log_in import log_in_of
from catalog.tracking import Tracking

UID_TAG: Final = "training_run_uid"


def tracking_of(catalog: Catalog) -> Tracking:
    """Return a client that writes to MLflow."""
    settings = catalog.settings
    return Tracking(settings.mlflow_url, settings.experiment, settings.registered_model, log_in=log_in_of(settings))
