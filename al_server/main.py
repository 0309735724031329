"""``python -m al_server.main``: serve the API and the status page."""

import argparse
from urllib.parse import urlsplit

import waitress

from al_server.app import create_app
from catalog.context import Catalog
from catalog.logs import configure_logging
from catalog.settings import Settings
from catalog.start import readable_faults
from services.strategies import check_settings

THREADS = 8


@readable_faults()
def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve the API and the status page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    arguments = parser.parse_args()
    configure_logging()
    settings = Settings()
    check_settings(settings)
    port = urlsplit(settings.api_url).port or 80
    waitress.serve(
        create_app(Catalog(settings)),
        host=arguments.host,
        port=port,
        threads=THREADS,
        max_request_body_size=settings.webhook_max_bytes,
        clear_untrusted_proxy_headers=not settings.trusted_proxies,  # `al_server.safety` reads them
        ident=None,
    )


if __name__ == "__main__":
    main()
