#!/bin/sh
# Starts MLflow with the password of its one user from a file, on no command line.
set -eu
umask 077
MLFLOW_AUTH_ADMIN_PASSWORD=$(cat /run/secrets/mlflow_password)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat /run/secrets/mlflow_session_key)
export MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
exec "$@"
