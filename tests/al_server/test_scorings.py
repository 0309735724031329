from datetime import timedelta

from flask.testing import FlaskClient

from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind, Shard, ShardKind, now
from tests.catalog_fixtures import add_round, add_scene, add_scoring, as_role

SCORINGS = "/api/v1/scorings"


def test_before_the_first_there_is_none(client: FlaskClient, catalog: Catalog) -> None:
    assert client.get(SCORINGS, headers=as_role(catalog, "reader")).json == []


def test_progress_of_all_workers_is_one_number(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        scoring = add_scoring(session, 3, {})
        scoring.completed_at = None
        alike = {"scoring_id": scoring.id, "scene_id": scene.id, "kind": ShardKind.MONTE_CARLO, "patch_count": 5}
        done, running, waiting = (Shard(first_row=row, last_row=row, **alike) for row in (0, 32, 64))
        done.done_at, done.seconds = now(), 10.0
        session.add_all([done, running, waiting])
        session.flush()
        job = jobs.enqueue(session, JobKind.SCORE_SHARD, str(running.id), shard_id=running.id)
        claimed = jobs.claim(session, job.id)
        jobs.report_progress(session, job.id, claimed.attempt, 3, 5, "scoring")
        claimed.started_at = now() - timedelta(seconds=6)
        jobs.enqueue(session, JobKind.SCORE_SHARD, str(waiting.id), shard_id=waiting.id)
    (told,) = client.get(SCORINGS, headers=as_role(catalog, "reader")).json
    assert (told["model_version"], told["patches"], told["progress"]) == (3, 15, 8 / 15)
    assert 13.5 < told["eta_s"] < 60  # seven patches at two seconds each, by one worker, on a busy machine
    page = client.get("/", headers=as_role(catalog, "reader")).text
    assert "by version 3, 15 patches" in page
    assert "53 %" in page
    assert "score shard" not in page
    assert f"glacier_al_scoring_progress {8 / 15}" in client.get("/metrics", headers=as_role(catalog, "reader")).text


def test_every_ranking_says_how_steady_it_is(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = add_scoring(session, 3, {patch.id: 0.5 for patch in patches})
        scoring.agreement = {"entropy_top10": 0.93, "entropy_mean": 0.9, "mutual_information": None}
        of_round, _ = add_round(session, patches[:2])
        of_round.scoring_id, of_round.strategy, of_round.measure = scoring.id, "entropy_top10", "entropy_top10"
    headers = as_role(catalog, "reader")
    (told,) = client.get(SCORINGS, headers=headers).json
    assert (told["share"], told["removed_at"]) == (1.0, None)
    assert told["agreement"] == {"entropy_top10": 0.93, "entropy_mean": 0.9, "mutual_information": None}
    round_told = client.get("/api/v1/rounds/1", headers=headers).json
    assert (round_told["measure"], round_told["ranking_agreement"]) == ("entropy_top10", 0.93)
    assert "93 %" in client.get("/", headers=headers).text
    metrics = client.get("/metrics", headers=headers).text
    assert 'glacier_al_ranking_agreement{measure="entropy_top10"} 0.93' in metrics
    assert "mutual_information" not in metrics  # not known


def test_a_scoring_of_an_older_release_has_no_agreement(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scoring(session, 3, {patch.id: 0.5 for patch in patches})
    headers = as_role(catalog, "reader")
    (told,) = client.get(SCORINGS, headers=headers).json
    assert (told["agreement"], told["progress"]) == ({}, None)
    assert client.get("/", headers=headers).status_code == 200
