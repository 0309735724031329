#!/usr/bin/env bash
# Finds or installs a Chromium for the browser tests: tests/install-chromium.sh BIN_OF_THE_VIRTUAL_ENVIRONMENT
# Debian's package comes first, since it brings the libraries that the browser needs.
set -euo pipefail
bin=$1

if command -v chromium >/dev/null; then
    exit 0
fi
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo -n)
if command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null; then
    echo "Installing chromium with apt-get"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    exit 0
fi
echo "No right to use apt-get here; installing Playwright's chromium"
if "$bin/python" -m playwright install chromium; then
    exit 0
fi
if [ "${CI:-}" = true ]; then
    echo "No chromium could be installed, and under CI the browser tests may not be skipped." >&2
    exit 1
fi
echo "No chromium could be installed: the browser tests will be skipped." >&2
