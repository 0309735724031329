"""One running system for all tests of this folder, and the stages that its loop passes through.

A stage is a fixture: it drives the loop on from the stage before and says what it saw, so that a test may look at a
stage after the loop has gone on.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, sync_playwright

from catalog import jobs
from catalog.records import JobKind, Proposal, ProposalState, Round, RoundState
from catalog.secrets import Secrets
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.everest import EverestScene, prepare
from imagery.masks import rasterize_outlines
from tests.real_services import LabelStudioServer, free_port
from tests.system.loop_system import LoopSystem
from tests.system.our_pages import ARGUMENTS

ROUND_SIZE = 6


@pytest.fixture(scope="package")
def system(
    tmp_path_factory: pytest.TempPathFactory, label_studio: LabelStudioServer, mlflow_server: str, redis_server: str
) -> Iterator[LoopSystem]:
    """The whole system with the Everest scene registered and tiled."""
    var_dir = tmp_path_factory.mktemp("loop") / "var"
    mark = uuid4().hex[:8]  # Label Studio and MLflow keep what other modules have done
    settings = Settings(
        var_dir=var_dir,
        api_url=f"http://127.0.0.1:{free_port()}",
        redis_url=redis_server.replace("/0", "/1"),  # apart from the queues of other tests
        mlflow_url=mlflow_server,
        label_studio_url=label_studio.url,
        label_studio_project=f"The loop {mark}",
        registered_model=f"the-loop-{mark}",
        patch_size_px=64,
        unet_depth=3,
        unet_width=8,
        fine_tune_steps=60,
        fine_tune_after_labels=ROUND_SIZE,
        round_size=ROUND_SIZE,
        random_start_rounds=1,
        control_share=0.17,
        pool_control_share=0.0,  # the one control comes from the shortlist
        mc_passes=6,
        gate_margin=1.0,  # whether six more labels help is not what these tests are about
        gate_class_margin=1.0,
        interactive_clicks=True,
        sweep_interval_s=1.0,
        torch_threads=1,
    )
    secrets = Secrets(
        label_studio_email=label_studio.email,
        label_studio_password=label_studio.password,
        label_studio_token=label_studio.token,
    )
    everest = prepare(settings.scene_root / "everest")
    truth = rasterize_outlines(everest.outlines, describe(everest.bands, everest.regions["pool"]).grid, GLACIER_SCHEME)
    running_system = LoopSystem(settings, secrets, truth)
    try:
        running_system.start()
        for request in _registrations(everest, settings.scene_root):
            running_system.post("scenes", request)
        running_system.wait_until_idle()
        yield running_system
    finally:
        running_system.stop()
        running_system.catalog.close()


def _registrations(everest: EverestScene, scene_root: Path) -> list[dict[str, Any]]:
    """The three regions as requests to the API, their files copied to where it looks for them."""
    folder = scene_root / "everest"
    for path in {band.path for band in everest.bands}:
        shutil.copy(path, folder)
    bands = [
        {"name": band.name, "path": f"everest/{Path(band.path).name}", "index": band.index} for band in everest.bands
    ]
    outlines = [
        {"path": f"everest/{Path(item.path).name}", "layer": item.layer, "class": item.class_name}
        for item in everest.outlines
    ]
    return [
        {
            "name": f"everest-{role}",
            "role": role,
            "sensor": "landsat-7-etm+",
            "bands": bands,
            "outlines": [] if role == "pool" else outlines,
            "region": vars(region),
        }
        for role, region in everest.regions.items()
    ]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for the tests of a module, whose pages share nothing."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()


@dataclass(frozen=True)
class Stage:
    """What was seen when a stage was reached.

    Attributes:
        round: The round as the API described it.
        proposals: Its proposals.
        models: All versions as the API listed them, newest first.
    """

    round: dict[str, Any]
    proposals: list[Proposal]
    models: list[dict[str, Any]]

    @classmethod
    def of(cls, system: LoopSystem, number: int) -> "Stage":
        return cls(system.get(f"rounds/{number}"), system.proposals(number), system.get("models"))


@pytest.fixture(scope="package")
def random_round(system: LoopSystem) -> Stage:
    """The first round, open in Label Studio."""
    return Stage.of(system, system.open_round())


@pytest.fixture(scope="package")
def published_twice(system: LoopSystem, random_round: Stage) -> tuple[dict[str, int], dict[str, int]]:
    """The tasks of the first round by proposal; and again after its publication was repeated.

    As if the first publication had been cut off when its tasks were in Label Studio, but our rows did not know.
    """
    project_id = random_round.proposals[0].project_id
    proposals = [proposal.uid for proposal in random_round.proposals]
    assert project_id is not None
    once = system.administrator.find_tasks(project_id, proposals)
    tasks_before = {tag.id for tag in system.administrator.list_tags(project_id)}
    with system.catalog.write() as session:
        session.get_one(Round, random_round.round["id"]).state = RoundState.PUBLISHING
        jobs.enqueue(session, JobKind.PUBLISH_ROUND, round_id=random_round.round["id"])
    system.wait_until_idle()
    assert {tag.id for tag in system.administrator.list_tags(project_id)} == tasks_before
    return once, system.administrator.find_tasks(project_id, proposals)


@pytest.fixture(scope="package")
def first_version(system: LoopSystem, random_round: Stage, published_twice: object) -> Stage:
    """The first round, labelled by the expert; the first model version, trained and in charge; the pool, scored."""
    system.finish_round(random_round.round["id"])
    return Stage.of(system, random_round.round["id"])


@pytest.fixture(scope="package")
def uncertain_round(system: LoopSystem, first_version: Stage) -> Stage:
    """The second round, chosen by uncertainty, open in Label Studio with pre-annotations by the first version."""
    return Stage.of(system, system.open_round())


@pytest.fixture(scope="package")
def second_version(system: LoopSystem, uncertain_round: Stage) -> Stage:
    """The second round, labelled; the second version, fine-tuned from the first."""
    system.finish_round(uncertain_round.round["id"])
    return Stage.of(system, uncertain_round.round["id"])


@dataclass(frozen=True)
class Interruption:
    """What happened in Label Studio while our server was down, and what the server made of it.

    Attributes:
        round_id: The third round, which was open meanwhile.
        drawn: A proposal that was labelled meanwhile.
        erased: One whose annotation was deleted meanwhile.
        removed: One whose task was deleted meanwhile.
        new_address: Where the server came up again.
        recovered: What became of the three proposals.
    """

    round_id: int
    drawn: Proposal
    erased: Proposal
    removed: Proposal
    new_address: str
    recovered: dict[str, str]


@pytest.fixture(scope="package")
def interruption(system: LoopSystem, second_version: Stage) -> Interruption:
    """A third round, during which the server goes down and comes up at another address, with automatic rounds."""
    round_id = system.open_round()
    drawn, erased, removed = system.proposals(round_id)[:3]
    annotation = system.label(erased)
    system.wait_for_state(erased, ProposalState.LABELLED)
    system.stop()
    system.label(drawn)
    system.delete_annotation(annotation)
    system.delete_task(removed)
    new_address = f"http://127.0.0.1:{free_port()}"
    # One task is gone: fewer labels will come.
    system.start(api_url=new_address, auto_rounds=True, fine_tune_after_labels=ROUND_SIZE - 1, reconcile_interval_s=5.0)
    system.wait_for_state(drawn, ProposalState.LABELLED)
    system.wait_for_state(erased, ProposalState.PUBLISHED)
    system.wait_for_state(removed, ProposalState.WITHDRAWN)
    system.wait_until_idle()
    recovered = {
        name: system.state_of(proposal).value
        for name, proposal in (("drawn", drawn), ("erased", erased), ("removed", removed))
    }
    return Interruption(round_id, drawn, erased, removed, new_address, recovered)
