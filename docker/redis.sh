#!/bin/sh
# Starts Redis with its password from a file and on no command line. Runs as root until Redis' own script steps down.
set -eu
umask 077
{
    echo "requirepass $(cat /run/secrets/redis_password)"
    echo "dir /data"
    echo "appendonly yes"
    echo 'save ""'
} >/tmp/redis.conf
chown redis /tmp/redis.conf
exec docker-entrypoint.sh redis-server /tmp/redis.conf
