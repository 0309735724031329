"""The log-in of MLflow: made at first start, unless the environment names that of an MLflow of your own.

The variables have names of ours. Those of MLflow's own client (``MLFLOW_TRACKING_USERNAME``) may be set for another
server, in the shell of anybody who uses one, and would lock the system out of its own.
"""

import os

from catalog.secrets import load_or_create
from catalog.settings import Settings
from catalog.settings_sources import MLFLOW_LOG_IN, SettingsError

USER = "glacier-al"
USER_VARIABLE, PASSWORD_VARIABLE = MLFLOW_LOG_IN


def log_in_of(settings: Settings) -> tuple[str, str]:
    """Return user and password: those of the environment, or ours.

    Raises:
        SettingsError: the environment names only one of the two.
        SecretsError: the file of secrets cannot be used.
    """
    user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if user is not None and password is not None:
        return user, password
    if user is not None or password is not None:
        raise SettingsError(f"found only one of {USER_VARIABLE} and {PASSWORD_VARIABLE}, expected both or neither")
    return USER, load_or_create(settings.secrets_file).mlflow_password
