#!/bin/sh
# Starts Label Studio as labeling/server.py does, with password and token from files.
set -eu
LABEL_STUDIO_PASSWORD=$(cat /run/secrets/label_studio_password)
LABEL_STUDIO_USER_TOKEN=$(cat /run/secrets/label_studio_token)
export LABEL_STUDIO_PASSWORD LABEL_STUDIO_USER_TOKEN
exec label-studio start --no-browser --internal-host 0.0.0.0 --port 8080
