"""A client of the HTTP API: one method for each call that programs make often, and `get` and `post` for all others."""

import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from glacier_al_client.bundle import Bundle, download_bundle
from glacier_al_client.calls import API, PAGE, Calls, model_version, plain, read, read_features
from glacier_al_client.errors import ProblemError
from glacier_al_client.files import PredictionFile, save
from glacier_al_client.live import changed_topics
from glacier_al_client.types import (
    AreaAnswer,
    CorrectionAnswer,
    CorrectionRequest,
    DecisionRequestAnswer,
    EventAnswer,
    EventState,
    JobAnswer,
    JobState,
    ModelAnswer,
    NewSubscription,
    Readiness,
    RegionRequest,
    RoundAccepted,
    RoundAnswer,
    RoundRequest,
    SceneAccepted,
    SceneAnswer,
    SceneRequest,
    SceneRequestAnswer,
    SceneSummary,
    StatusAnswer,
    SubscriptionAnswer,
    UploadAnswer,
)
from glacier_al_client.waiting import Progress, wait_for_decision, wait_for_job

REMEMBERED_S: Final = 0.5
"""The server may go on telling the version from before for 0.2 s, longer than it takes to tell that it changed."""
FILE_SILENCE_S: Final = 130.0
"""The server may take 60 s to start the process that reads a file, and 60 s to read it."""
SCENE_SILENCE_S: Final = 310.0
"""The server may take 300 s to understand the files of a scene (its setting ``scene_check_timeout_s``)."""


class Client(Calls):
    """Calls one server; close it at the end, or use it in a ``with`` statement.

    Every method raises `glacier_al_client.errors.ProblemError` if the server refuses, and `UnreachableError` if it does
    not answer. An instance is for one thread.

    Args:
        url: Address of the server, e.g. ``http://localhost:8000``.
        token: A token; its role decides what may be called.
        timeout_s: How long to wait for a connection, and between bytes of an answer, seconds. The answer to a file of
            labels is waited for at least `FILE_SILENCE_S`, that to a scene at least `SCENE_SILENCE_S`.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        super().__init__(url, token, timeout_s)
        self._file_silence_s, self._scene_silence_s = max(timeout_s, FILE_SILENCE_S), max(timeout_s, SCENE_SILENCE_S)
        self._latest: tuple[str, ModelAnswer] | None = None  # with its ETag

    # The server

    def ready(self) -> Readiness:
        """Return whether all parts of the system are ready, and to readers what each of them lacks."""
        try:
            return read(Readiness, self.transport.request("GET", "/readyz", attempts=1))
        except ProblemError as problem:
            if "ready" not in problem.body:
                raise
            return Readiness.model_validate(problem.body)

    def status(self) -> StatusAnswer:
        """Return what the dashboard says: health, the next step, what is served, what runs."""
        return self.get("status", StatusAnswer)

    def live(self) -> Iterator[frozenset[str]]:
        """Yield the topics that changed, for ever: models, rounds, jobs, labels, scenes, trouble.

        All of them come first, and what an interruption hid comes after it: `glacier_al_client.live.changed_topics`.
        """
        return changed_topics(self.transport)

    # Models

    def latest(self) -> ModelAnswer:
        """Return the version that is served; while it is the same, the server only confirms that (``ETag``).

        Raises:
            ProblemError: No version has been promoted yet (404).
        """
        headers = {"If-None-Match": self._latest[0]} if self._latest else {}
        response = self.transport.request("GET", f"{API}/models/latest", headers=headers)
        if response.status_code == HTTPStatus.NOT_MODIFIED and self._latest:
            return self._latest[1]
        found = read(ModelAnswer, response)
        self._latest = (response.headers["ETag"], found) if "ETag" in response.headers else None
        return found

    def served(self) -> Iterator[ModelAnswer]:
        """Yield the version that is served, now and whenever another one is, for ever."""
        known: int | None = None
        for topics in self.live():
            if "models" not in topics:
                continue
            if known is not None:
                time.sleep(REMEMBERED_S)
            try:
                found = self.latest()
            except ProblemError as problem:
                if problem.status != HTTPStatus.NOT_FOUND:
                    raise
                continue  # nothing is served yet
            if found.version != known:
                known = found.version
                yield found

    def download_latest(self, folder: Path, files: tuple[str, ...] = ("model.onnx", "card.json")) -> Bundle:
        """Have the files of the served version in ``folder/v<version>``, and return where; see `download_bundle`."""
        return download_bundle(self.transport, self.latest, folder, files)

    def versions(self) -> Iterator[ModelAnswer]:
        """Yield all versions, newest first."""
        yield from self.pages("models", ModelAnswer, "before", lambda version: version.version)

    def promote(self, version: int, reason: str, from_version: int | None = None) -> DecisionRequestAnswer:
        """Have a version served; return how that ended.

        Args:
            version: The version.
            reason: Why; stored with your name.
            from_version: The version that it is to replace: refused if another one is served by then. None replaces
                whichever is served.

        Raises:
            ProblemError: There is no such version (404); or it is served already, or another one than `from_version`
                is served (409).
            RefusedDecisionError: It was refused after all, e.g. because a file of it was changed.
            TimedOutError: MLflow has not answered for a minute; the request still waits.
        """
        return self._decide(f"models/{version}/promote", reason, from_version)

    def roll_back(self, reason: str, from_version: int | None = None) -> DecisionRequestAnswer:
        """Have the version served again that was served before the present one, `from_version`; as `promote`."""
        return self._decide("models/rollback", reason, from_version)

    def _decide(self, path: str, reason: str, from_version: int | None) -> DecisionRequestAnswer:
        body = {"reason": reason} if from_version is None else {"reason": reason, "from_version": from_version}
        return wait_for_decision(self._decision, self.post(path, DecisionRequestAnswer, body))

    # Scenes, and what is predicted of them

    def scenes(self) -> list[SceneAnswer]:
        """Return all scenes."""
        return list(self.pages("scenes", SceneAnswer, "after", lambda scene: scene.id))

    def scene(self, scene_id: int) -> SceneAnswer:
        """Return one scene."""
        return self.get(f"scenes/{scene_id}", SceneAnswer)

    def describe_scene(self, request: SceneRequest) -> SceneSummary:
        """Return what the server understands of a scene, which is not registered.

        If its files lie on another machine, a job reads them, which is waited for.

        Raises:
            ProblemError: The server refuses it, or the job did: status 422.
            JobFailedError: The job failed.
        """
        body = plain(request.model_copy(update={"dry_run": True}))
        response = self.transport.request("POST", f"{API}/scenes", body=body, silence_s=self._scene_silence_s)
        if response.status_code != HTTPStatus.ACCEPTED:
            return read(SceneSummary, response)
        asked = read(SceneAccepted, response)
        self.wait_for_job(asked.job.id)
        number = "none" if asked.request is None else asked.request.id
        told = self.get(f"scenes/requests/{number}", SceneRequestAnswer)
        if told.summary is None:
            refused = HTTPStatus.UNPROCESSABLE_ENTITY
            raise ProblemError(refused, refused.phrase, told.fault or "the scene was not described", {})
        return told.summary

    def register_scene(self, request: SceneRequest) -> SceneAccepted:
        """Register a scene; return it with the job that cuts it into patches."""
        body = plain(request.model_copy(update={"dry_run": False}))
        accepted = self.transport.request("POST", f"{API}/scenes", body=body, silence_s=self._scene_silence_s)
        return read(SceneAccepted, accepted)

    def patches(self, scene_id: int) -> Iterator[dict[str, Any]]:
        """Yield the patches of a scene as GeoJSON features, with ``state`` and ``scores`` among the properties."""
        query: dict[str, Any] = {"after": 0, "limit": PAGE}
        while True:
            page = self.transport.request("GET", f"{API}/scenes/{scene_id}/patches", query)
            features, has_more = read_features(page)
            yield from features
            if not has_more:
                return
            query["after"] = features[-1]["id"]

    def save_prediction(
        self,
        scene_id: int,
        target: Path,
        file: PredictionFile = "tif",
        version: int | None = None,
        progress: Progress | None = None,
        timeout_s: float | None = None,
        bbox: tuple[float, float, float, float] | None = None,
    ) -> int:
        """Write the map of a scene to a file, which the server makes first if it must; return by which version it is.

        Args:
            scene_id: The scene.
            target: The file, which is replaced only by a whole one.
            file: What to write.
            version: The version; by default the one that is served.
            progress: Gets the job while the map is being made.
            timeout_s: How long to wait for it.
            bbox: West, south, east and north in degrees: the file is cut to this view.

        Raises:
            JobFailedError: It could not be made.
            TimedOutError: It was not made in time; ask again later.
        """
        box = None if bbox is None else ",".join(f"{value:.7f}" for value in bbox)
        while True:
            path, query = f"{API}/scenes/{scene_id}/prediction.{file}", {"version": version, "bbox": box}
            with self.transport.stream("GET", path, query) as response:
                if response.status_code != HTTPStatus.ACCEPTED:
                    made_by = model_version(response)
                    save(response, target)
                    return made_by
                response.read()
                job = read(JobAnswer, response)
            self.wait_for_job(job.id, progress, timeout_s)

    def map_file(
        self,
        file: Path,
        *,
        version: int | None = None,
        name: str = "area",
        bands: Sequence[str] = (),
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> AreaAnswer:
        """Send a GeoTIFF, have it mapped, and return the prediction, whose files `save_area` writes.

        Args:
            file: The GeoTIFF, with the channels of the version in its units.
            version: The version; by default the one that is served.
            name: What its files are to be called.
            bands: Names of its bands in order; none: it tells them itself.
            progress: Gets the job while it is being mapped.
            timeout_s: How long to wait for it.

        Raises:
            JobFailedError: It could not be mapped.
            TimedOutError: It was not mapped in time; `area` tells later.
        """
        query = {"version": version, "name": name, "bands": ",".join(bands) or None}
        headers = {"Content-Type": "image/tiff"}
        asked = self.transport.request("POST", f"{API}/predict", query, file.read_bytes(), headers)
        return self._mapped(read(AreaAnswer, asked), progress, timeout_s)

    def map_window(
        self,
        scene_id: int,
        window: RegionRequest,
        *,
        version: int | None = None,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> AreaAnswer:
        """Have a window of a scene mapped; as `map_file`."""
        body = {"scene_id": scene_id, "window": plain(window)}
        asked = self.transport.request("POST", f"{API}/predict", {"version": version}, body)
        return self._mapped(read(AreaAnswer, asked), progress, timeout_s)

    def area(self, area_id: str) -> AreaAnswer:
        """Return a prediction of a file or a window, with its job."""
        return self.get(f"predict/{area_id}", AreaAnswer)

    def save_area(self, area_id: str, target: Path, file: PredictionFile = "tif") -> None:
        """Write the map of a file or a window to a file, which is replaced only by a whole one."""
        with self.transport.stream("GET", f"{API}/predict/{area_id}/{file}") as response:
            save(response, target)

    def correct(self, scene_id: int, request: CorrectionRequest) -> CorrectionAnswer:
        """Submit a corrected window as labels; what is sent twice under one id is one correction."""
        path = f"{API}/scenes/{scene_id}/corrections"
        return read(CorrectionAnswer, self.transport.request("POST", path, body=plain(request), may_repeat=True))

    def upload_labels(
        self,
        scene_id: int,
        file: bytes,
        *,
        dry_run: bool = False,
        version: int | None = None,
        seconds: float | None = None,
    ) -> UploadAnswer:
        """Send polygons drawn in a GIS as labels; the same file twice is one correction.

        Args:
            scene_id: Number of the scene.
            file: A GeoPackage, or a zip archive with one or with shapefiles.
            dry_run: Only tell what is recognised in it.
            version: The version whose prediction was edited; None if nothing was.
            seconds: Working time, if it was measured.
        """
        query = {"dry_run": dry_run or None, "version": version, "seconds": seconds}
        path, headers = f"{API}/scenes/{scene_id}/labels", {"Content-Type": "application/geopackage+sqlite3"}
        silence_s = self._file_silence_s
        sent = self.transport.request("POST", path, query, file, headers, may_repeat=True, silence_s=silence_s)
        return read(UploadAnswer, sent)

    # Rounds

    def rounds(self) -> list[RoundAnswer]:
        """Return all rounds, newest first."""
        return list(self.pages("rounds", RoundAnswer, "before", lambda item: item.id))

    def round(self, round_id: int) -> RoundAnswer:
        """Return one round."""
        return self.get(f"rounds/{round_id}", RoundAnswer)

    def open_round(self, request: RoundRequest | None = None) -> RoundAccepted:
        """Open a round; return it with the job that chooses its patches."""
        return self.post("rounds", RoundAccepted, request or RoundRequest())

    def abandon_round(self, round_id: int) -> RoundAnswer:
        """End a round early; what was drawn stays."""
        return self.post(f"rounds/{round_id}/abandon", RoundAnswer)

    def train(self) -> JobAnswer:
        """Fine-tune on all labels now, without waiting for more; return the job. One that is open is not doubled."""
        return self.post("fine-tunes", JobAnswer)

    # Jobs

    def jobs(self, state: JobState | None = None, limit: int = 100) -> list[JobAnswer]:
        """Return the newest jobs."""
        return self.get_list("jobs", JobAnswer, state=state, limit=limit)

    def job(self, job_id: str) -> JobAnswer:
        """Return one job."""
        return self.get(f"jobs/{job_id}", JobAnswer)

    def cancel_job(self, job_id: str) -> JobAnswer:
        """Cancel a job: at once if it is queued, else when it next notes its progress."""
        return self.post(f"jobs/{job_id}/cancel", JobAnswer)

    def retry_job(self, job_id: str) -> JobAnswer:
        """Queue a failed or cancelled job again."""
        return self.post(f"jobs/{job_id}/retry", JobAnswer)

    def wait_for_job(self, job_id: str, progress: Progress | None = None, timeout_s: float | None = None) -> JobAnswer:
        """Wait until a job is finished, and return it.

        Raises:
            JobFailedError: It failed or was cancelled.
            TimedOutError: It has not ended after ``timeout_s`` seconds; it goes on.
        """
        return wait_for_job(self.job, job_id, progress, timeout_s)

    # Label events, and subscriptions to events of the server

    def label_events(self, state: EventState | None = None, after: int = 0) -> Iterator[EventAnswer]:
        """Yield the ledger of label events, oldest first, beginning behind the id ``after``."""
        yield from self.pages("label-events", EventAnswer, "after", lambda event: event.id, after, state=state)

    def replay_label_event(self, event_id: int) -> EventAnswer:
        """Apply a failed label event again."""
        return self.post(f"label-events/{event_id}/replay", EventAnswer)

    def subscribe(self, url: str) -> NewSubscription:
        """Have events posted to an address; return the subscription with its secret, which is not shown again."""
        return self.post("subscriptions", NewSubscription, {"url": url})

    def subscriptions(self) -> list[SubscriptionAnswer]:
        """Return who is told of events."""
        return list(self.pages("subscriptions", SubscriptionAnswer, "after", lambda item: item.id))

    def unsubscribe(self, subscription_id: int) -> SubscriptionAnswer:
        """Stop telling an address."""
        return read(SubscriptionAnswer, self.transport.request("DELETE", f"{API}/subscriptions/{subscription_id}"))

    def _mapped(self, asked: AreaAnswer, progress: Progress | None, timeout_s: float | None) -> AreaAnswer:
        self.wait_for_job(asked.job.id, progress, timeout_s)
        return self.area(asked.id)

    def _decision(self, request_id: int) -> DecisionRequestAnswer:
        return self.get(f"models/requests/{request_id}", DecisionRequestAnswer)
