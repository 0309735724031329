"""A client of MLflow's model registry that uses its REST API without importing MLflow.

Importing MLflow takes seconds and 170 MB, and the server needs few of its calls. ``catalog.tracking`` writes runs and
versions; only workers and experiments import it.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import requests

from catalog.errors import NotFoundError, ServiceDownError
from catalog.mlflow_log_in import log_in_of
from catalog.settings import Settings

log = logging.getLogger(__name__)

CHAMPION = "champion"  # the version that is served
CHALLENGER = "challenger"  # the last version that the gate kept back
LEARNER = "learner"  # the newest trained version, from which training goes on
Track = Literal["learner", "champion"]
BUNDLE = "bundle"  # artifact folder of a version, below its run
_UNAVAILABLE = frozenset({502, 503, 504})  # sent by a proxy in front of MLflow
_LEAST_PAGE = 50  # smallest page of versions that is requested


@dataclass(frozen=True)
class ModelVersion:
    """A model version in MLflow; its ``tags`` hold its metrics (`services.version_figures`)."""

    version: int
    run_id: str
    created_at: datetime
    tags: dict[str, str]


@dataclass(frozen=True)
class Overview:
    """The aliases of the registered model, and the number of its newest version; 0 before the first."""

    aliases: dict[str, int]
    newest: int


class ModelRegistry:
    """Reads versions and moves aliases."""

    def __init__(
        self, url: str, model_name: str, timeout_s: float = 10.0, log_in: tuple[str, str] | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.model_name = model_name
        self.timeout_s = timeout_s
        self._http = requests.Session()
        self._http.auth = log_in

    def champion(self) -> ModelVersion | None:
        """Return the version that has the alias ``champion``; None before the first.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        return self._by_alias(CHAMPION)

    def learner(self) -> ModelVersion | None:
        """Return the version from which training goes on; the champion if no version has the alias ``learner``.

        Installations of earlier releases have no such alias before their next fine-tune, and deleting a version in
        MLflow deletes its aliases.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        return self._by_alias(LEARNER) or self._by_alias(CHAMPION)

    def scoring(self, track: Track) -> ModelVersion | None:
        """Return the version of a track, which scores the pool and draws pre-annotations; None before the first.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        return self.learner() if track == LEARNER else self.champion()

    def get(self, version: int) -> ModelVersion:
        """Fetch a version.

        Raises:
            NotFoundError: there is no such version.
            ServiceDownError: MLflow does not answer.
        """
        answer = self._call(
            "GET", "model-versions/get", {"name": self.model_name, "version": str(version)}, missing_is_none=True
        )
        if answer is None:
            raise NotFoundError(f"there is no version {version} of the model {self.model_name!r}")
        return _parse(answer["model_version"])

    def versions(self, limit: int, before: int | None = None) -> list[ModelVersion]:
        """Return the newest versions, newest first.

        A thousand versions take seconds, because MLflow loads the tags of each version separately.

        Args:
            limit: How many at most.
            before: Only versions with smaller numbers than this.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        found: list[ModelVersion] = []
        query = {"filter": f"name='{self.model_name}'", "order_by": "version_number DESC"}
        page: dict[str, str] = {}
        while len(found) < limit:
            size = {"max_results": str(max(_LEAST_PAGE, limit))}
            answer = self._call("GET", "model-versions/search", {**query, **size, **page}) or {}
            listed = [_parse(item) for item in answer.get("model_versions", [])]
            found += [item for item in listed if before is None or item.version < before]
            if not answer.get("next_page_token"):
                break
            page = {"page_token": answer["next_page_token"]}
        return found[:limit]

    def aliases(self) -> dict[str, int]:
        """Return the version of each alias. Read from the model, because MLflow's search omits aliases.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        found = self.overview()
        return found.aliases if found else {}

    def overview(self) -> Overview | None:
        """Return the aliases and the number of the newest version, in one request; None if there is no such model.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        answer = self._call("GET", "registered-models/get", {"name": self.model_name}, missing_is_none=True)
        if answer is None:
            return None
        model = answer["registered_model"]
        aliases = {entry["alias"]: int(entry["version"]) for entry in model.get("aliases", [])}
        return Overview(aliases, max((int(entry["version"]) for entry in model.get("latest_versions", [])), default=0))

    def move_alias(self, alias: str, version: int) -> None:
        """Assign an alias to a version, atomically.

        Raises:
            NotFoundError: there is no such version.
            ServiceDownError: MLflow does not answer.
        """
        self.get(version)
        body = {"name": self.model_name, "alias": alias, "version": str(version)}
        self._call("POST", "registered-models/alias", body)

    def remove_alias(self, alias: str) -> None:
        """Remove an alias, if it exists.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        self._call("DELETE", "registered-models/alias", {"name": self.model_name, "alias": alias}, missing_is_none=True)

    def set_tag(self, version: int, name: str, value: str) -> None:
        """Set a tag of a version; do nothing if the version was deleted.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        body = {"name": self.model_name, "version": str(version), "key": name, "value": value}
        self._call("POST", "model-versions/set-tag", body, missing_is_none=True)

    def artifact(self, version: ModelVersion, name: str) -> bytes:
        """Download one file of a version's bundle.

        Raises:
            NotFoundError: the version has no such file.
            ServiceDownError: MLflow does not answer.
        """
        path = f"{BUNDLE}/{name}"
        response = self._request("GET", f"{self.url}/get-artifact", params={"run_uuid": version.run_id, "path": path})
        if response.status_code == requests.codes.ok:
            return response.content
        # MLflow answers 500 for a missing file, and also where its database or its artifacts' disk fails.
        if response.status_code in _UNAVAILABLE or self._lists(version.run_id, path):
            raise ServiceDownError("MLflow", self.url, f"get-artifact gave status {response.status_code}")
        raise NotFoundError(
            f"version {version.version} has no file {path} in MLflow (status {response.status_code}); its artifacts "
            "may have been deleted"
        )

    def _lists(self, run_id: str, path: str) -> bool:
        """Return whether MLflow lists a file among those of the bundle of a run."""
        answer = self._call("GET", "artifacts/list", {"run_id": run_id, "path": BUNDLE}, missing_is_none=True)
        return any(entry["path"] == path for entry in (answer or {}).get("files", []))

    def check(self, timeout_s: float) -> None:
        """Raise ServiceDownError if MLflow does not answer in time."""
        response = self._request("GET", f"{self.url}/health", timeout=timeout_s)
        if response.status_code != requests.codes.ok:
            raise ServiceDownError("MLflow", self.url, f"status {response.status_code}")

    def _by_alias(self, alias: str) -> ModelVersion | None:
        answer = self._call(
            "GET", "registered-models/alias", {"name": self.model_name, "alias": alias}, missing_is_none=True
        )
        return _parse(answer["model_version"]) if answer else None

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            response = self._http.request(method, url, **{"timeout": self.timeout_s, **options})
        except requests.RequestException as error:
            log.info("MLflow: %s", error)
            slow = isinstance(error, requests.Timeout)
            raise ServiceDownError("MLflow", self.url, "it takes too long" if slow else "no connection") from error
        if response.status_code == requests.codes.unauthorized:
            raise ServiceDownError("MLflow", self.url, "it refuses our log-in (docs/operations.md, MLflow)")
        return response

    def _call(
        self, method: str, path: str, values: dict[str, str], *, missing_is_none: bool = False
    ) -> dict[str, Any] | None:
        options = {"params": values} if method == "GET" else {"json": values}
        response = self._request(method, f"{self.url}/api/2.0/mlflow/{path}", **options)
        if response.status_code == requests.codes.ok:
            try:
                answer: dict[str, Any] = response.json()
            except requests.JSONDecodeError as error:
                raise ServiceDownError("MLflow", self.url, "what answers is not MLflow") from error
            return answer
        if missing_is_none and _says_missing(response):
            return None
        log.warning("MLflow answered %s with status %d: %s", path, response.status_code, response.text[:500])
        raise ServiceDownError("MLflow", self.url, f"{path} gave status {response.status_code}")


def registry_of(settings: Settings, timeout_s: float = 10.0) -> ModelRegistry:
    """Open the registry that the settings name, with our log-in."""
    return ModelRegistry(settings.mlflow_url, settings.registered_model, timeout_s, log_in_of(settings))


def _says_missing(response: requests.Response) -> bool:
    """Return whether MLflow says that something does not exist; a 404 of anything else at its address is a fault.

    A missing model or version is RESOURCE_DOES_NOT_EXIST, a missing alias INVALID_PARAMETER_VALUE.
    """
    try:
        code = response.json()["error_code"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        return False
    return code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def _parse(item: dict[str, Any]) -> ModelVersion:
    return ModelVersion(
        version=int(item["version"]),
        run_id=item["run_id"],
        created_at=datetime.fromtimestamp(item["creation_timestamp"] / 1000, UTC),
        tags={tag["key"]: tag.get("value", "") for tag in item.get("tags", [])},
    )
