"""``python -m al_server.main``: serve the API and the dashboard."""

import argparse
import gc
import os
import sys
from typing import Final
from urllib.parse import urlsplit

from flask import Flask

from al_server.app import create_app
from al_server.http_server import serve
from catalog.context import Catalog
from catalog.logs import configure_logging
from catalog.settings import Settings
from catalog.start import readable_faults
from services.strategies import check_settings

SWITCH_S: Final = 0.0005
"""How long a thread that wants Python's lock waits before it asks the one that has it. A transaction gives the lock
away at each statement; with Python's 5 ms it came back late every time, and all other writers waited for that one
(docs/benchmarks.md)."""


def application(settings: Settings) -> Flask:
    """Return the application as it is served: with a catalog for request threads, which wait for no other service."""
    return create_app(Catalog(settings, answers_requests=True))


@readable_faults()
def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve the API and the dashboard.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    arguments = parser.parse_args()
    settings = Settings()
    configure_logging(settings.log_format)
    check_settings(settings)
    os.environ |= settings.as_environment()  # to tell where each was given, even if config.toml is edited meanwhile
    port = urlsplit(settings.api_url).port or 80
    app = application(settings)
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()  # what is there to stay is not looked through again while requests wait
    serve(app, arguments.host, port, app.extensions["body_limits"], shares_port=settings.api_processes > 1)


if __name__ == "__main__":
    main()
