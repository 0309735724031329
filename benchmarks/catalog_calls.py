"""The frequent reads of the catalog: API pages and lists, the start page, metrics, and the queries of the clock."""

from collections.abc import Callable
from typing import Final

from flask.testing import FlaskClient
from sqlalchemy.orm import Session

import services.rounds
from al_server.app import create_app
from catalog import candidates, jobs, scorings, training
from catalog.context import Catalog
from catalog.records import JobKind
from catalog.settings import Strategy

TOP10: Final = Strategy.ENTROPY_TOP10.value


def calls(catalog: Catalog, patches: int) -> dict[str, Callable[[], object]]:
    """Return a call by name for each request to the API and for each database query of the clock."""
    client = create_app(catalog).test_client()
    header = {"Authorization": f"Bearer {catalog.secrets.reader_token}"}
    near_end = patches - patches // 100
    paths = [
        "/",
        "/metrics",
        "/api/v1/scenes",
        "/api/v1/scenes/40/patches",
        f"/api/v1/scenes/40/patches?after={near_end}",
        f"/api/v1/scenes/40/patches?after={near_end}&limit=1000",
        "/api/v1/scorings",
        "/api/v1/rounds",
        "/api/v1/rounds/50",
        "/api/v1/jobs",
        "/api/v1/jobs?state=failed",
        "/api/v1/label-events",
        "/api/v1/label-events?after=4000",
        "/api/v1/label-events?state=failed",
    ]
    settings = catalog.settings
    share = settings.min_valid_share
    queries: dict[str, Callable[[Session], object]] = {
        "clock: is the pool scored?": lambda session: scorings.enqueue_if_unscored(session, 3, settings),
        "clock: is a fine-tune due?": lambda session: training.enqueue_if_due(session, settings),
        "clock: is a round due?": lambda session: services.rounds.open_next_automatically(session, settings),
        "clock: which jobs are due?": jobs.due,
        "clock: which jobs are stale?": lambda session: jobs.stale(session, settings.job_stale_after_s),
        "is a patch left?": lambda session: candidates.count(session, share, 1),
        "is a scored patch left?": lambda session: candidates.count(session, share, 1, 3, TOP10),
        "last job of a kind": lambda session: jobs.last_of(session, JobKind.SCORE_POOL),
    }
    return {
        **{f"GET {path}": _request(client, path, header) for path in paths},
        **{name: _query(catalog, ask) for name, ask in queries.items()},
    }


def _request(client: FlaskClient, path: str, header: dict[str, str]) -> Callable[[], object]:
    def send() -> None:
        response = client.get(path, headers=header)
        if response.status_code != 200:
            raise RuntimeError(f"GET {path} answered {response.status_code}: {response.text}")

    return send


def _query(catalog: Catalog, ask: Callable[[Session], object]) -> Callable[[], object]:
    def read() -> None:
        with catalog.read() as session:
            ask(session)

    return read
