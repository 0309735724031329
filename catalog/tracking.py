"""A client that writes runs, live metrics and model versions to MLflow. The only module that imports mlflow."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

# By default MLflow retries seven times with growing pauses; meanwhile the job would look dead for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException

from catalog.errors import CatalogError, RegistryError, ServiceDownError
from catalog.records import now
from catalog.registry import BUNDLE

_CLIENT_VARIABLES: Final = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@dataclass(frozen=True)
class Point:
    """Metrics at one step of a run. NaN values are not sent, because MLflow would plot them as zero."""

    step: int
    metrics: Mapping[str, float]
    moment: datetime = field(default_factory=now)


class Tracking:
    """One experiment and one registered model.

    Args:
        url: the tracking server, or an MLflow database (``sqlite:///...``).
        experiment: name of the experiment.
        model_name: name of the registered model.
        artifacts: artifact location of a new experiment; the server's default if None.
        log_in: user and password of the server, if it asks for them. MLflow's client takes them from the environment
            only, so that they hold for the whole process.
    """

    def __init__(
        self,
        url: str,
        experiment: str,
        model_name: str,
        artifacts: str | None = None,
        log_in: tuple[str, str] | None = None,
    ) -> None:
        if log_in is not None:
            os.environ |= dict(zip(_CLIENT_VARIABLES, log_in, strict=True))
        self.url = url
        self.experiment = experiment
        self.model_name = model_name
        self._artifacts = artifacts
        self._client = MlflowClient(tracking_uri=url, registry_uri=url)

    def start_run(self, name: str, parameters: Mapping[str, object], tags: Mapping[str, str]) -> str:
        """Start a run and return its id. The tags are set in the same call, so that a run left by a crash can be found.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            run = self._client.create_run(self._experiment_id(), run_name=name, tags=dict(tags))
            self._client.log_batch(
                run.info.run_id, params=[Param(key, str(value)) for key, value in parameters.items()]
            )
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error
        run_id: str = run.info.run_id
        return run_id

    def runs_tagged(self, tag: str, value: str) -> list[str]:
        """Return the ids of the runs of the experiment with this tag. The value may hold letters and digits only.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            found = self._client.search_runs([self._experiment_id()], f"tags.{tag} = '{value}'")
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error
        return [run.info.run_id for run in found]

    def running(self, tag: str) -> dict[str, str]:
        """Return the runs of the experiment that have not ended, as id and the value of a tag (empty without it).

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            found = self._client.search_runs([self._experiment_id()], "attributes.status = 'RUNNING'")
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error
        return {run.info.run_id: run.data.tags.get(tag, "") for run in found}

    def versions_of_run(self, run_id: str) -> list[int]:
        """Return the numbers of the versions that `register` made of a run, in ascending order.

        Those that somebody registered in MLflow's page have no tags, and are not ours to keep or delete.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            found = self._client.search_model_versions(f"run_id = '{run_id}'")
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error
        return sorted(int(version.version) for version in found if version.name == self.model_name and version.tags)

    def delete_unnamed(self, versions: Iterable[int]) -> None:
        """Delete versions, but for those that an alias names: somebody has chosen them. One that is gone is no error.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            named = set(self._client.get_registered_model(self.model_name).aliases.values())
            for version in versions:
                if str(version) not in named:
                    with _unless_done("RESOURCE_DOES_NOT_EXIST"):
                        self._client.delete_model_version(self.model_name, str(version))
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def set_run_status(self, run_id: str, status: str) -> None:
        """Set the status of a run that has not ended: RUNNING, or SCHEDULED while it is interrupted.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            self._client.update_run(run_id, status=status)
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at a step.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        self.log_points(run_id, [Point(step, metrics)])

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Log several points in one call, which takes no longer than a call with one point.

        Args:
            run_id: the run.
            points: at most a thousand metrics in all, or MLflow refuses.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        metrics = [
            Metric(key, value, int(point.moment.timestamp() * 1000), point.step)
            for point in points
            for key, value in point.metrics.items()
            if value == value  # noqa: PLR0124 - NaN differs from itself
        ]
        try:
            self._client.log_batch(run_id, metrics=metrics)
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def log_files(self, run_id: str, files: Iterable[Path]) -> None:
        """Upload files to a run.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            for file in files:
                self._client.log_artifact(run_id, str(file))
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def register(self, run_id: str, bundle: Path, tags: Mapping[str, str], description: str) -> int:
        """Upload a bundle and register it as the next version of the model; return its number.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            self._client.log_artifacts(run_id, str(bundle), BUNDLE)
            # MLflow accepts a source that does not exist, so check the upload first.
            uploaded = {Path(item.path).name for item in self._client.list_artifacts(run_id, BUNDLE)}
            expected = {file.name for file in bundle.iterdir()}
            if uploaded != expected:
                raise ServiceDownError(
                    "MLflow", self.url, f"holds the files {sorted(uploaded)} of the bundle, expected {sorted(expected)}"
                )
            self._ensure_model()
            version = self._client.create_model_version(
                self.model_name,
                source=f"runs:/{run_id}/{BUNDLE}",
                run_id=run_id,
                tags=dict(tags),
                description=description,
            )
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error
        return int(version.version)

    def amend(self, version: int, tags: Mapping[str, str], description: str) -> None:
        """Set tags and the description of a registered version.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            for name, value in tags.items():
                self._client.set_model_version_tag(self.model_name, str(version), name, value)
            self._client.update_model_version(self.model_name, str(version), description)
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def end_run(self, run_id: str, status: str) -> None:
        """Close a run as FINISHED, FAILED or KILLED.

        Raises:
            ServiceDownError: MLflow does not answer.
        """
        try:
            self._client.set_terminated(run_id, status=status)
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def has_ended(self, run_id: str) -> bool:
        """Return whether a run is finished, failed or killed.

        Raises:
            RegistryError: there is no such run.
            ServiceDownError: MLflow does not answer.
        """
        try:
            return bool(RunStatus.is_terminated(RunStatus.from_string(self._client.get_run(run_id).info.status)))
        except (MlflowException, requests.RequestException) as error:
            raise self._translate(error) from error

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        with _unless_done("RESOURCE_ALREADY_EXISTS"):
            return str(self._client.create_experiment(self.experiment, self._artifacts))
        return self._experiment_id()

    def _ensure_model(self) -> None:
        with _unless_done("RESOURCE_ALREADY_EXISTS"):
            self._client.create_registered_model(self.model_name)

    def _translate(self, error: MlflowException | requests.RequestException) -> CatalogError:
        """Return ServiceDownError for an outage, which a retry may overcome, and RegistryError for a refusal."""
        status = 0
        if isinstance(error, MlflowException):
            status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        elif error.response is not None:
            status = error.response.status_code
        if status in {0, requests.codes.too_many_requests} or status >= requests.codes.server_error:
            return ServiceDownError("MLflow", self.url, str(error)[:300])
        return RegistryError(f"MLflow at {self.url} refused (status {status}): {str(error)[:300]}")


@contextmanager
def _unless_done(code: str) -> Iterator[None]:
    """Ignore MLflow's refusal to do in the block what is done already: by others, or by this very call.

    A network may deliver a call twice, and then answers with what the second one found.

    Args:
        code: MLflow's error code of that refusal.
    """
    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise
