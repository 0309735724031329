"""The log-in of MLflow: made at first start, unless the environment names that of an MLflow of your own."""

import os

from catalog.secrets import load_or_create
from catalog.settings import Settings

USER = "glacier-al"
USER_VARIABLE, PASSWORD_VARIABLE = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


def log_in_of(settings: Settings) -> tuple[str, str]:
    """Return user and password: those of the environment, which MLflow's own client reads, or ours.

    Raises:
        SecretsError: the file of secrets cannot be used.
    """
    given = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if given[0] is not None and given[1] is not None:
        return given[0], given[1]
    return USER, load_or_create(settings.secrets_file).mlflow_password
