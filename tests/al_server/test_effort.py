from flask.testing import FlaskClient

from catalog import labels
from catalog.context import Catalog
from catalog.records import Proposal
from tests.catalog_fixtures import add_round, add_scene, as_role, label_of


def test_effort_by_what_was_asked_and_where_annotators_started(client: FlaskClient, catalog: Catalog) -> None:
    headers = as_role(catalog, "reader")
    assert client.get("/api/v1/effort", headers=headers).json == []
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        made, (whole, part) = add_round(session, patches[:2])
        expected = {"model_version": 1, "screening": False, "asked_px": 1024, "from_empty_px": 90.0}
        whole.expected_edits = expected | {"from_proposal_px": 50.0}
        whole.preannotated_by = 1
        part.expected_edits = expected | {"from_proposal_px": None}
        part.region = [24, 256, 1024 - 280]
        labels.store(session, label_of(session, whole, 1, edited_px=40, lead_time_s=20.0))
        labels.store(session, label_of(session, part, 2, edited_px=64))
        round_id = made.id
        # A correction on the map, whose start no task knows, counts neither here nor there.
        correction = Proposal(patch_id=patches[2].id, rank=0, reason="corrected on the map", state="labelled")
        session.add(correction)
        session.flush()
        labels.store(session, label_of(session, correction, 3, edited_px=1))
    found = client.get("/api/v1/effort", headers=headers).json
    parts, whole_patches = found
    assert (parts["asked"], parts["start"], parts["asked_px"], parts["edited_share"]) == (
        "parts",
        "empty mask",
        256,
        0.25,
    )
    assert parts["check"] == {
        "labels": 1,
        "expected_px": 90.0,
        "edited_px": 64,
        "bias_px": 26.0,
        "rank_correlation": None,
    }
    assert (whole_patches["start"], whole_patches["check"]["bias_px"]) == ("proposal", 10.0)
    assert whole_patches["seconds_per_1000_px"] == 20.0 / 1.024
    told = client.get(f"/api/v1/rounds/{round_id}", headers=headers).json
    assert (told["part"], told["expected_edits_px"]) == ("whole", 140.0)
