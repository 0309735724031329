"""Programs that ask the API again and again: a web tool that uses the served version, and Prometheus."""

import threading
from abc import abstractmethod
from collections import Counter

import requests
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 30.0


class Client(threading.Thread):
    """Asks until `stopped` is set.

    Args:
        api_url: Address of the API.
        token: Of a reader.
        every_s: Seconds between two calls.

    Attributes:
        counts: How often each kind of answer came.
    """

    def __init__(self, api_url: str, token: str, every_s: float) -> None:
        super().__init__(name=type(self).__name__, daemon=True)
        self.stopped = threading.Event()
        self.counts: Counter[str] = Counter()
        self._url = api_url
        self._every_s = every_s
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {token}"

    def run(self) -> None:
        """Ask, wait, and ask again."""
        while not self.stopped.wait(self._every_s):
            try:
                self.counts[self.ask()] += 1
            except (requests.RequestException, ValueError):
                self.counts["failed"] += 1

    @abstractmethod
    def ask(self) -> str:
        """Make one call; return the kind of its answer.

        Raises:
            requests.RequestException: There was no answer, or an error.
            ValueError: The answer cannot be read.
        """

    def _get(self, path: str, etag: str | None = None) -> requests.Response:
        headers = {} if etag is None else {"If-None-Match": etag}
        return self._http.get(f"{self._url}/{path}", headers=headers, timeout=_TIMEOUT_S)


class WebTool(Client):
    """Polls for the served version with its ETag, and downloads the network whenever it is another one."""

    etag: str | None = None

    def ask(self) -> str:
        """Poll once."""
        answer = self._get("api/v1/models/latest", self.etag)
        if answer.status_code == requests.codes.not_found:
            return "no version yet"
        if answer.status_code == requests.codes.not_modified:
            return "unchanged"
        answer.raise_for_status()
        self._get("api/v1/models/latest/onnx").raise_for_status()
        self.etag = answer.headers["ETag"]
        return "new version, downloaded"


class Scraper(Client):
    """Reads all metrics, as Prometheus does."""

    def ask(self) -> str:
        """Scrape once."""
        answer = self._get("metrics")
        answer.raise_for_status()
        return "scraped" if list(text_string_to_metric_families(answer.text)) else "empty"
