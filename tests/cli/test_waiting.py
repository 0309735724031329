"""Commands that stay until their job has ended, against the real server; a thread does what a worker would."""

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import jobs, labels
from catalog.context import Catalog
from catalog.records import Job, JobState, Round, RoundState
from cli.exit_codes import ExitCode
from cli.main import main
from glacier_al_client import waiting
from tests.catalog_fixtures import add_round, add_scene, label_of
from tests.dashboard_world import run_fine_tune
from tests.served_app import serving


@pytest.fixture
def running(app: Flask, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """The catalog of a system that the environment names, as in containers."""
    monkeypatch.setattr(waiting, "POLL_S", 0.05)
    settings = catalog.settings
    with serving(app) as address:
        for name in ("var_dir", "database_url", "redis_url", "mlflow_url", "patch_size_px"):
            monkeypatch.setenv(f"GLACIER_AL_{name.upper()}", str(getattr(settings, name)))
        monkeypatch.setenv("GLACIER_AL_API_URL", address)
        yield catalog


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def call_while(catalog: Catalog, work: Callable[[Session, Job], None], *arguments: str) -> Result:
    """Call a command; do the work as soon as there is an open job for it."""

    def look() -> None:
        job = None
        while job is None:
            time.sleep(0.05)
            with catalog.database.write() as session:
                job = session.scalar(select(Job).where(Job.state.in_(jobs.OPEN)))
                if job is not None:
                    if job.state is JobState.QUEUED:
                        jobs.claim(session, job.id)
                    work(session, job)

    worker = threading.Thread(target=look)
    worker.start()
    done = call(*arguments)
    worker.join()
    return done


def finish(session: Session, job: Job) -> None:
    jobs.finish(session, job.id, job.attempt)


def test_a_fine_tune_is_waited_for(running: Catalog) -> None:
    with running.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:1])
        labels.store(session, label_of(session, proposals[0], 1))
    done = call_while(running, finish, "train", "--wait", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["kind"], told["state"]) == ("fine_tune", "finished")
    assert done.stderr.startswith(f"Fine-tuning begins: job {told['id']}\nfine tune")


def test_a_round_is_waited_for(running: Catalog) -> None:
    def publish(session: Session, job: Job) -> None:
        finish(session, job)
        session.get_one(Round, job.subject["round_id"]).state = RoundState.OPEN

    with running.database.write() as session:
        add_scene(session)
    done = call_while(running, publish, "round", "--strategy", "random", "--size", "2", "--wait")
    assert done.stdout == "Round 1 (random, 2 patches) is open.\n"


def test_a_round_that_cannot_be_chosen_is_an_error(running: Catalog) -> None:
    def give_up(session: Session, job: Job) -> None:
        finish(session, job)
        of_round = session.get_one(Round, job.subject["round_id"])
        of_round.state, of_round.error = RoundState.FAILED, "no patch is left"

    with running.database.write() as session:
        add_scene(session)
    done = call_while(running, give_up, "round", "--strategy", "random", "--size", "2", "--wait")
    assert done.exit_code == ExitCode.FAILED
    assert "round 1 is failed: no patch is left" in done.stderr


def test_a_job_that_fails_or_goes_on_is_told_apart(running: Catalog) -> None:
    with running.database.write() as session:
        job_id = run_fine_tune(session)
    goes_on = call("jobs", "wait", job_id, "--timeout", "0")
    assert goes_on.exit_code == ExitCode.TIMED_OUT
    assert "fine tune, 50%" in goes_on.stderr

    def fail(session: Session, job: Job) -> None:
        jobs.fail(session, job.id, job.attempt, "out of memory")

    failed = call_while(running, fail, "jobs", "wait", job_id)
    assert failed.exit_code == ExitCode.FAILED
    assert "the job fine_tune is failed: out of memory" in failed.stderr
