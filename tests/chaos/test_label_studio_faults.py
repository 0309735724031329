"""Each call to Label Studio during publications and a removal is damaged in turn; the end state is right after each."""

import dataclasses
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from catalog.context import Catalog
from catalog.installation import find_installation
from catalog.records import JobKind, JobState, Round
from catalog.secrets import Secrets
from catalog.settings import Settings
from chaos.fault_proxy import Call, Damage, FaultProxy, fault_proxy
from labeling.connection import Connection
from labeling.predictions import score_of
from labeling.project_calls import VIEW_TITLE
from services.label_studio import label_studio
from services.rounds import abandon
from tests.chaos.installation import cases, do
from tests.real_services import LabelStudioServer
from tests.workers.label_studio_desk import LabelStudioDesk, publication_by_newest
from tests.workers.rows import champion, score_pool, tiled
from workers import publish_round

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PATIENCE_S = 10.0  # of our client in these tests: a busy Label Studio takes seconds for a project
SAMPLE = 4


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy that all calls to Label Studio go through; our client is impatient."""
    with fault_proxy(lambda _: None, late_s=1.2 * PATIENCE_S) as running:
        monkeypatch.setenv("http_proxy", running.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setattr(Connection.__init__, "__defaults__", (PATIENCE_S,))
        yield running


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer) -> Settings:
    secrets = Secrets(label_studio_token=label_studio.token)
    settings.secrets_file.write_text(json.dumps(dataclasses.asdict(secrets)))
    return Settings(**{**settings.model_dump(), "label_studio_url": label_studio.url})


def copied(template: Catalog, folder: Path, title: str) -> Catalog:
    """Return a catalog like another one, with a project of its own."""
    folder.mkdir()
    original, copy = (sqlite3.connect(of / "catalog.sqlite") for of in (template.settings.var_dir, folder))
    with closing(original), closing(copy):
        original.backup(copy)
    shutil.copytree(template.settings.raster_store, folder / "store")
    changes = {
        "var_dir": folder,
        "database_url": f"sqlite:///{folder / 'catalog.sqlite'}",
        "raster_store": str(folder / "store"),
        "label_studio_project": title,
    }
    return Catalog(Settings(**{**template.settings.model_dump(), **changes}))


def published(catalog: Catalog, desk: LabelStudioDesk, patches: Sequence[int] = (6, 7)) -> list[str]:
    """Publish a round of patches, given by their numbers; return what went wrong with its job."""
    round_id = desk.choose(*patches)[0].round_id
    ended = do(catalog, JobKind.PUBLISH_ROUND, str(round_id), round_id=round_id)
    return [] if ended.state is JobState.FINISHED else [f"the job {ended.state.value}: {ended.error}"]


def reconciled(catalog: Catalog) -> list[str]:
    """Reconcile; return what went wrong with the job."""
    ended = do(catalog, JobKind.SYNC_LABEL_STUDIO)
    return [] if ended.state is JobState.FINISHED else [f"the reconciliation {ended.state.value}: {ended.error}"]


def faults_in(catalog: Catalog, desk: LabelStudioDesk, round_id: int = 1) -> list[str]:
    """Return what is wrong after the publication of a round and a reconciliation."""
    found = reconciled(catalog)
    title, studio = catalog.settings.label_studio_project, label_studio(catalog)
    with catalog.read() as session:
        installation = find_installation(session)
    assert installation is not None
    project = installation.label_studio_project_id
    assert project is not None
    if studio.find_project(title) != project or studio.doubles(project):
        found.append(f"project {project} is ours, but there are {studio.doubles(project)}, too")
    hooks, views = ask(catalog, f"webhooks/?project={project}"), ask(catalog, f"dm/views/?project={project}")
    if len(hooks) != 1 or not hooks[0]["actions"]:
        found.append(f"there are {len(hooks)} webhooks, expected one with actions")
    if [view["data"].get("title") for view in views].count(VIEW_TITLE) != 1:
        found.append(f"the tabs are {[view['data'].get('title') for view in views]}")
    for proposal in desk.proposals(round_id):
        tasks = desk.tasks(proposal)
        if tasks != [proposal.task_id] or proposal.state.value != "published":
            found.append(f"proposal {proposal.id} is {proposal.state.value} as {proposal.task_id}, its tasks {tasks}")
        for task in tasks:
            predictions = ask(catalog, f"tasks/{task}/")["predictions"]
            if len(predictions) != 1:
                found.append(f"task {task} has {len(predictions)} predictions")
    if desk.round(desk.proposals(round_id)[0]).state.value != "open":
        found.append("the round is not open")
    return found


def undamaged(proxy: FaultProxy) -> None:
    """Damage no further call, and wait for those that are late."""
    proxy.choose = lambda _: None
    proxy.wait_for_late()


def ask(catalog: Catalog, path: str) -> Any:
    headers = {"Authorization": f"Token {catalog.secrets.label_studio_token}"}
    answer = requests.get(f"{catalog.settings.label_studio_url}/api/{path}", headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()


def damaged(case: Callable[[str, Damage, int | None], tuple[list[str], list[Call]]], calls: list[Call]) -> list[str]:
    """Run a case with every call done twice, and with single calls damaged; return what went wrong."""
    found, _ = case("all-twice", Damage.DOUBLE, None)
    wrong = [f"every call is done twice: {text}" for text in found]
    for damage, number in cases(calls, SAMPLE):
        found, _ = case(f"{damage.value.replace(' ', '-')}-{number}", damage, number)
        wrong += [f"{damage} of call {number}, {calls[number]}: {text}" for text in found]
    return wrong


def test_each_call_of_a_publication(catalog: Catalog, proxy: FaultProxy, tmp_path: Path) -> None:
    scene, _ = tiled(catalog, tmp_path / "pool.tif")

    def case(name: str, damage: Any = None, number: int | None = -1) -> tuple[list[str], list[Call]]:
        """Damage the call of this number, or all for None."""
        copy = copied(catalog, tmp_path / name, f"Faults {name}")
        try:
            desk, start = LabelStudioDesk(copy, scene), len(proxy.calls)
            proxy.choose = lambda call: damage if number is None or call.number == start + number else None
            wrong = published(copy, desk)
            calls = [call for call, _ in proxy.calls[start:]]
            if number is None:
                wrong += faults_in(copy, desk)
            undamaged(proxy)
            return wrong + faults_in(copy, desk), calls
        finally:
            copy.close()

    wrong, calls = case("none")
    assert wrong == []
    assert damaged(case, calls) == []


def test_each_call_of_a_second_publication_and_of_its_removal(
    catalog: Catalog, proxy: FaultProxy, tmp_path: Path
) -> None:
    scene, _ = tiled(catalog, tmp_path / "pool.tif")
    desk = LabelStudioDesk(copied(catalog, tmp_path / "copy", "Removals"), scene)
    assert published(desk.catalog, desk) == []

    def case(damage: Damage | None, number: int | None) -> tuple[list[str], list[Call]]:
        """Publish a round, abandon it and remove its tasks; damage the call of this number, or all for None."""
        seen: list[Call] = []

        def choose(call: Call) -> Damage | None:
            seen.append(call)
            return damage if number in {None, len(seen) - 1} else None

        proxy.choose = choose
        wrong = published(desk.catalog, desk, (8, 9))
        undamaged(proxy)
        wrong += faults_in(desk.catalog, desk, round_id := newest_round(desk))
        with desk.catalog.database.write() as session:
            abandon(session, round_id)
        proxy.choose = choose
        wrong += removed(desk, round_id)
        undamaged(proxy)
        return wrong + left_of(desk, round_id), seen

    try:
        wrong, calls = case(None, -1)
        assert wrong == []
        found, _ = case(Damage.DOUBLE, None)
        wrong += [f"every call is done twice: {text}" for text in found]
        for damage, number in cases(calls, SAMPLE):
            found, _ = case(damage, number)
            wrong += [f"{damage} of call {number}, {calls[number]}: {text}" for text in found]
        assert wrong == []
    finally:
        desk.catalog.close()


def test_each_call_that_renews_a_waiting_task(
    catalog: Catalog, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits from before the first version, and is to show what that proposes."""
    scene, _ = tiled(catalog, tmp_path / "pool.tif")

    def case(name: str, damage: Damage | None = None, number: int | None = -1) -> tuple[list[str], list[Call]]:
        """Damage the call of this number among those that change tasks and predictions, or all for None."""
        copy, seen = copied(catalog, tmp_path / name, f"Renewal {name}"), []

        def choose(call: Call) -> Damage | None:
            if call.method != "PATCH" or not re.search("/api/(tasks|predictions)/", call.url):
                return None
            seen.append(call)
            return damage if number in {None, len(seen) - 1} else None

        try:
            desk = LabelStudioDesk(copy, scene)
            wrong = published(copy, desk, (6,))
            score_pool(copy, champion())
            with monkeypatch.context() as learnt:
                learnt.setattr(publish_round, "begin_publication", publication_by_newest)
                proxy.choose = choose
                wrong += published(copy, desk, (7,))
            undamaged(proxy)
            return wrong + faults_in(copy, desk) + unlike_noted(copy, desk), seen
        finally:
            copy.close()

    wrong, calls = case("none")
    assert (wrong, len(calls)) == ([], 2)
    assert damaged(case, calls) == []


def unlike_noted(catalog: Catalog, desk: LabelStudioDesk) -> list[str]:
    """Return what the task of the first round shows that is not what its proposal notes, by the newest version."""
    (proposal,) = desk.proposals(1)
    task = ask(catalog, f"tasks/{proposal.task_id}/")
    (prediction,) = task["predictions"]
    found = [] if proposal.shown_version == "version 1" else [f"the proposal notes {proposal.shown_version}"]
    if prediction["score"] != score_of(task["data"]["priority"]):
        found.append(f"a score of {prediction['score']} beside a priority of {task['data']['priority']}")
    if "uncertainty-1" not in task["data"]["panel"]:
        found.append("the task shows no uncertainty")
    if bool(prediction["result"]) != (proposal.preannotated_by == 1):
        found.append(f"{len(prediction['result'])} regions, drawn by {proposal.preannotated_by}")
    return found


def newest_round(desk: LabelStudioDesk) -> int:
    with desk.catalog.read() as session:
        return session.scalars(select(func.max(Round.id))).one()


def removed(desk: LabelStudioDesk, round_id: int) -> list[str]:
    """Remove the tasks of an abandoned round; return what went wrong with its job."""
    ended = do(desk.catalog, JobKind.REMOVE_TASKS, str(round_id), round_id=round_id)
    return [] if ended.state is JobState.FINISHED else [f"the removal {ended.state.value}: {ended.error}"]


def left_of(desk: LabelStudioDesk, round_id: int) -> list[str]:
    """Return what is left of an abandoned round after a reconciliation, and what else is wrong."""
    found = reconciled(desk.catalog)
    for proposal in desk.proposals(round_id):
        if tasks := desk.tasks(proposal):
            found.append(f"proposal {proposal.id} still has the tasks {tasks}")
        if desk.states(proposal) != ("abandoned", "unlabelled", "abandoned"):
            found.append(f"proposal {proposal.id}, its patch and its round are {desk.states(proposal)}")
    title, studio = desk.catalog.settings.label_studio_project, desk.studio
    project = studio.find_project(title)
    if project is None or studio.doubles(project):
        found.append(f"the project is {project}, and there are {project and studio.doubles(project)}, too")
    return found
