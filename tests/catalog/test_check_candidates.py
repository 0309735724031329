"""What may be asked for again, on both databases."""

import pytest

from catalog import check_candidates, labels, references, set_aside
from catalog.check_candidates import NOT_INDEPENDENT
from catalog.context import Catalog
from catalog.records import Proposal, ProposalReason, RoundState
from catalog.set_aside import Kind
from tests.catalog_fixtures import add_round, add_scene, label_of


def test_each_labelled_patch_is_asked_for_again_as_far_as_it_makes_sense(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        scene.outlines = [{"path": "/truth.gpkg", "layer": None, "class_name": "clean ice"}]
        opened, proposals = add_round(session, patches[:5])
        plain, _, honeypot, reference, _ = (patch.id for patch in patches[:5])
        proposals[0].region = None  # as the worker stores it: JSON's null, not the database's
        proposals[1].region = [0, 512, 512]
        proposals[2].reason = ProposalReason.KNOWN_TRUTH
        for number, proposal in enumerate(proposals[:4]):
            labels.store(session, label_of(session, proposal, number, number))
        opened.state = RoundState.COMPLETE
        references.accept(session, labels.current(session, reference)[0].id)
        assert check_candidates.to_label_twice(session) == [plain]
        assert check_candidates.to_ask_again(session) == {honeypot: 1, reference: 0}
        assert [label.patch_id for label in check_candidates.to_look_at_again(session)] == [plain]
        assert check_candidates.scenes_with_truth(session) == {scene.id}

        _, (again,) = add_round(session, [patches[0]])
        again.reason = ProposalReason.SECOND_LABEL
        assert check_candidates.to_label_twice(session) == []  # its task waits
        labels.store(session, label_of(session, again, 9, 9))
        assert check_candidates.to_label_twice(session) == []
        assert len(check_candidates.to_look_at_again(session)) == 2  # both teach
        session.get_one(Proposal, again.id).reason = ProposalReason.SECOND_LOOK
        assert check_candidates.to_look_at_again(session) == []
        labels.current(session, reference)[0].superseded_at = opened.created_at
        assert check_candidates.to_ask_again(session) == {honeypot: 1}


def test_nothing_is_asked_again_of_a_scene_that_is_set_aside(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        scene.outlines = [{"path": "/truth.gpkg", "layer": None, "class_name": "clean ice"}]
        _, proposals = add_round(session, patches[:2])
        proposals[1].reason = ProposalReason.KNOWN_TRUTH
        for number, proposal in enumerate(proposals):
            proposal.region = None  # as the worker stores it: JSON's null, not the database's
            labels.store(session, label_of(session, proposal, number))

        def found() -> tuple[int, ...]:
            looks = check_candidates.to_look_at_again(session)
            twice, again = check_candidates.to_label_twice(session), check_candidates.to_ask_again(session)
            return len(looks), len(twice), len(again), len(check_candidates.scenes_with_truth(session))

        assert found() == (1, 1, 1, 1)
        set_aside.set_aside(session, Kind.SCENE, scene.name, "its file is damaged", scene.id)
        assert found() == (0, 0, 0, 0)


@pytest.mark.parametrize("reason", NOT_INDEPENDENT)
def test_a_label_that_nothing_is_compared_with_calls_for_no_second_one(
    catalog: Catalog, reason: ProposalReason
) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        for number, patch in enumerate(patches[:2]):
            _, (proposal,) = add_round(session, [patch])
            proposal.reason = reason if number else ProposalReason.UNCERTAIN
            proposal.region = None  # as the worker stores it: JSON's null, not the database's
            labels.store(session, label_of(session, proposal, number))
        assert check_candidates.to_label_twice(session) == [patches[0].id]


def test_a_honeypot_whose_truth_is_not_known_any_more_is_not_asked_again(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        opened, (first,) = add_round(session, patches[:1])
        accepted = label_of(session, first, 1)
        labels.store(session, accepted)
        references.accept(session, accepted.id)
        _, (again,) = add_round(session, patches[:1])
        again.reason = ProposalReason.KNOWN_TRUTH
        labels.store(session, label_of(session, again, 2))
        assert check_candidates.to_ask_again(session) == {first.patch_id: 1}
        references.release(session, accepted.id)
        assert check_candidates.to_ask_again(session) == {}
        scene.outlines = [{"path": "/truth.gpkg", "layer": None, "class_name": "clean ice"}]
        session.flush()
        assert check_candidates.to_ask_again(session) == {first.patch_id: 1}
        references.accept(session, accepted.id)
        accepted.superseded_at = opened.created_at  # its annotator changes it: the outlines were not trusted there
        session.flush()
        assert check_candidates.to_ask_again(session) == {}
