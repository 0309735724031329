#!/bin/sh
# Runs a command with the URLs that carry passwords: read from files, they show in no `docker inspect`.
set -eu
GLACIER_AL_DATABASE_URL="postgresql+psycopg://glacier_al:$(cat /run/secrets/postgres_password)@postgres/glacier_al"
GLACIER_AL_REDIS_URL="redis://:$(cat /run/secrets/redis_password)@redis:6379/0"
export GLACIER_AL_DATABASE_URL GLACIER_AL_REDIS_URL
exec "$@"
