"""Each call to MLflow in fine-tunes and decisions of people is damaged in turn; the end state is right after each."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import select

from catalog import registry_copy
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.decision_records import DecisionRequest, Promotion, PromotionIntent
from catalog.records import JobKind, JobState, RunState, TrainingRun
from catalog.registry import ModelRegistry, registry_of
from catalog.settings import Settings
from chaos.fault_proxy import Choose, Damage, FaultProxy, fault_proxy
from services import promotion, users
from services.decision_requests import ask_for_promotion, ask_for_roll_back, find_request
from services.registry_watch import RegistryWatcher
from services.users import Identity
from tests.chaos.installation import cases, do, with_labels
from workers.run_recovery import recover
from workers.run_tracking import tracking_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PATIENCE_S = 3  # of our clients in these tests
SAMPLE = 8
LOOKS = 5  # of the clock, after which a decision must be made
ANNA = Identity("anna", Role.OPERATOR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy that all calls to MLflow go through; MLflow's client does not pause between retries."""
    with fault_proxy(lambda _: None, late_s=1.3 * PATIENCE_S) as running:
        monkeypatch.setenv("http_proxy", running.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        monkeypatch.setattr(promotion, "SETTLE_AFTER", timedelta(0))
        yield running


@pytest.fixture
def settings(settings: Settings, mlflow_server: str, tmp_path: Path) -> Settings:
    changes = {
        "mlflow_url": mlflow_server,
        "registered_model": tmp_path.name,
        "experiment": tmp_path.name,
        "unet_depth": 1,
        "unet_width": 2,
        "fine_tune_steps": 2,
        "fine_tune_batch_size": 2,
        "map_orientations": "one",
        "gate_margin": 1.0,
        "gate_class_margin": 1.0,
        "torch_threads": 1,
    }
    return Settings(**{**settings.model_dump(), **changes})


def faults_in(catalog: Catalog, proxy: FaultProxy, versions_before: set[int]) -> list[str]:
    """Return what is wrong after a fine-tune that was to register and promote one version."""
    proxy.choose = lambda _: None
    proxy.wait_for_late()
    time.sleep(0.05)  # the server has the late request, and answers
    mlflow = MlflowClient(catalog.settings.mlflow_url)
    registry = registry_of(catalog.settings)
    promotion.settle_intents(catalog, registry)  # the clock
    recover(catalog, tracking_of(catalog))  # the next fine-tune begins with this
    with catalog.read() as session:
        runs = list(session.scalars(select(TrainingRun).order_by(TrainingRun.id)))
        decisions = list(session.scalars(select(Promotion).order_by(Promotion.id)))
        intents = list(session.scalars(select(PromotionIntent)))
    found = []
    registered = {version.version for version in registry.versions(1000)}
    new = registered - versions_before
    finished = [run for run in runs if run.state is RunState.FINISHED]
    if len(new) != 1 or finished[-1].model_version not in new:
        found.append(f"new versions {sorted(new)}, the last finished run has {finished[-1].model_version}")
    aliases = registry.aliases()
    if {aliases.get("champion"), aliases.get("learner")} != {finished[-1].model_version}:
        found.append(f"aliases {aliases}, expected {finished[-1].model_version}")
    if [run.state for run in runs if run.state in (RunState.OPEN, RunState.INTERRUPTED)]:
        found.append("a run is left open")
    about = [item for item in decisions if item.model_version == finished[-1].model_version]
    if [(item.verdict, item.actor) for item in about] != [("promoted", "gate")] or intents:
        found.append(f"decisions {[(item.verdict, item.actor) for item in about]}, {len(intents)} intents")
    experiment = mlflow.get_experiment_by_name(catalog.settings.experiment)
    known = {run.mlflow_run_id: run.state for run in runs}
    for run in mlflow.search_runs([experiment.experiment_id]):
        state = known.get(run.info.run_id)
        if run.info.status == "RUNNING":
            found.append(f"run {run.info.run_id} is left RUNNING, our state {state}")
        if state is RunState.FINISHED and run.info.status != "FINISHED":
            found.append(f"run {run.info.run_id} is {run.info.status}, our state {state}")
    return found


def fine_tune(catalog: Catalog) -> list[str]:
    """Do a fine-tune with impatient clients; return what went wrong with its job."""
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE_S))
        impatient.setattr(ModelRegistry.__init__, "__defaults__", (PATIENCE_S,))
        ended = do(catalog, JobKind.FINE_TUNE, trigger="by hand")
    return [] if ended.state is JobState.FINISHED else [f"the job is {ended.state.value}: {ended.error}"]


def test_each_call_of_a_fine_tune(catalog: Catalog, proxy: FaultProxy, tmp_path: Path) -> None:
    with_labels(catalog, tmp_path)
    registry = registry_of(catalog.settings)
    assert fine_tune(catalog) == []
    start = len(proxy.calls)
    assert fine_tune(catalog) == []
    calls = [call for call, _ in proxy.calls[start:]]
    assert faults_in(catalog, proxy, {1}) == []
    wrong = []
    for damage, number in cases(calls, SAMPLE):
        before = {version.version for version in registry.versions(1000)}
        start = len(proxy.calls)
        proxy.choose = lambda call, at=start + number, damage=damage: damage if call.number == at else None
        found = fine_tune(catalog)
        wrong += [
            f"{damage} of call {number}, {calls[number]}: {text}" for text in found + faults_in(catalog, proxy, before)
        ]
    assert wrong == []


def test_every_call_of_a_first_and_a_second_fine_tune_is_done_twice(
    catalog: Catalog, proxy: FaultProxy, tmp_path: Path
) -> None:
    """What is made twice is removed, and the removal is done twice, too."""
    with_labels(catalog, tmp_path)
    before: set[int] = set()
    for _ in ("first", "second"):
        proxy.choose = lambda _: Damage.DOUBLE
        assert fine_tune(catalog) + faults_in(catalog, proxy, before) == []
        before = {version.version for version in registry_of(catalog.settings).versions(1000)}


def decided(catalog: Catalog, proxy: FaultProxy, watcher: RegistryWatcher, request: DecisionRequest) -> list[str]:
    """Have the clock carry out a request of a person; return what went wrong."""
    for _ in range(LOOKS):
        watcher.look()
        proxy.wait_for_late()
        time.sleep(0.05)  # the server has the late request, and answers
        with catalog.read() as session:
            looked_at = find_request(session, request.id)
        if looked_at.ended_at is not None:
            return [] if looked_at.decision_id else [f"request {request.id} was refused: {looked_at.fault}"]
    return [f"request {request.id} still waits: {looked_at.fault}"]


def test_each_call_of_a_promotion_and_of_a_roll_back_by_a_person(
    catalog: Catalog, proxy: FaultProxy, tmp_path: Path
) -> None:
    with_labels(catalog, tmp_path)
    assert fine_tune(catalog) + fine_tune(catalog) == []
    with catalog.database.write() as session:
        users.add(session, ANNA.name, ANNA.role, "correct horse battery")
    watcher, registry = RegistryWatcher(catalog), registry_of(catalog.settings)
    watcher.look()

    def case(choose: Choose) -> list[str]:
        """Serve version 1 instead of version 2, and take that back; return what is wrong afterwards."""
        with catalog.read() as session:
            known = {item.id for item in session.scalars(select(Promotion))}
        proxy.choose = choose
        wrong = decided(catalog, proxy, watcher, ask_for_promotion(catalog, 1, "better on Khumbu", ANNA))
        wrong += decided(catalog, proxy, watcher, ask_for_roll_back(catalog, "it was not", ANNA))
        proxy.choose = lambda _: None
        watcher.look()
        with catalog.read() as session:
            new = session.scalars(select(Promotion).where(Promotion.id.not_in(known)).order_by(Promotion.id)).all()
            intents, copied = len(session.scalars(select(PromotionIntent)).all()), registry_copy.aliases_of(session)
        made = [(item.model_version, item.verdict, item.actor) for item in new]
        if made != [(1, "promoted", ANNA.name), (2, "rolled back", ANNA.name)] or intents:
            wrong.append(f"decisions {made}, {intents} intents")
        for place, aliases in (("MLflow", registry.aliases()), ("the copy", copied)):
            if {aliases.get("champion"), aliases.get("learner")} != {2}:
                wrong.append(f"aliases in {place} {aliases}, expected 2")
        return wrong

    start = len(proxy.calls)
    assert case(lambda _: None) == []
    calls = [call for call, _ in proxy.calls[start:]]
    assert case(lambda _: Damage.DOUBLE) == []
    for damage, number in cases(calls, SAMPLE):  # each begins where the one before should have ended
        at = len(proxy.calls) + number
        found = case(lambda call, at=at, damage=damage: damage if call.number == at else None)
        assert found == [], f"{damage} of call {number}, {calls[number]}"
