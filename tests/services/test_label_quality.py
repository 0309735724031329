"""A careful and a careless annotator on forged scenes: the figures tell who is who."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from catalog import labels, references
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.records import Label, Patch, Proposal, ProposalReason, Scene
from catalog.training import training_labels
from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff, mask_to_geotiff
from services import mask_comparisons, raster_keys
from services.compared_labels import compare_labels
from services.dataset_windows import labelled_windows
from services.label_agreement import compare
from services.label_quality import Quality, assess
from services.mask_counts import count
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.catalog_fixtures import add_round, label_of
from tests.workers.rows import patches, tiled

CAREFUL, CARELESS, THIRD = "careful@glacier.local", "Careless@glacier.local", "third@glacier.local"
CLEAN, DEBRIS = CLEAN_ICE.value, DEBRIS_COVERED_ICE.value
Draw = Callable[[np.ndarray], np.ndarray]


def carefully(truth: np.ndarray) -> np.ndarray:
    """Draw what is there, and leave out one pixel."""
    drawn = truth.copy()
    drawn[0, 0] = UNKNOWN
    return drawn


def carelessly(truth: np.ndarray) -> np.ndarray:
    """Miss the debris, and paint the ice four pixels beside where it is."""
    ice = np.roll(truth == CLEAN, 4, axis=1)
    return np.where(ice, np.uint8(CLEAN), np.uint8(BACKGROUND))


class Bench:
    """A tiled scene with known truth, and annotators whose labels are stored as the workers would."""

    def __init__(self, catalog: Catalog, path: Path) -> None:
        self.catalog, self.store = catalog, raster_store(catalog)
        self.scene, _ = tiled(catalog, path)
        self.free = patches(catalog, self.scene.id)
        self.truth = mask_from_geotiff(self.store.get(raster_keys.truth(self.scene.id)), GLACIER_SCHEME)
        self._annotations = 0

    def ask(self, numbers: Sequence[int], reason: ProposalReason) -> list[Proposal]:
        """Open a round of these patches."""
        with self.catalog.database.write() as session:
            chosen = [session.get_one(Patch, self.free[number].id) for number in numbers]
            _, proposals = add_round(session, chosen)
            for proposal in proposals:
                proposal.reason = reason
                proposal.region = None  # as the worker stores it: JSON's null, not the database's
        return proposals

    def answer(self, proposals: Sequence[Proposal], annotator: str, draw: Draw) -> list[Label]:
        """Draw each patch of a round."""
        drawn = []
        for proposal in proposals:
            self._annotations += 1
            with self.catalog.database.write() as session:
                window = window_of(session.get_one(Patch, proposal.patch_id))
                mask = draw(self.truth[window.slices])
                encoded = mask_to_geotiff(mask, source_of(self.scene).grid, GLACIER_SCHEME, window)
                number = self._annotations
                label = label_of(
                    session, proposal, number, number, annotator=annotator, mask_key=f"labels/{number}.tif"
                )
                label.mask_sha256 = self.store.put(label.mask_key, encoded)
                labels.store(session, label)
                drawn.append(label)
        return drawn

    def figures(self, name: str, of: str) -> list[float | None]:
        """The number of patches, the agreement and the IoU of debris of an annotator."""
        (found,) = [item for item in self.assess().annotators if item.annotator == name.lower()]
        compared = getattr(found, of)
        return [compared.patches, compared.agreement.value, compared.iou[DEBRIS].value]

    def assess(self) -> Quality:
        compare_labels(self.catalog)
        return assess(self.catalog)

    def learnt(self) -> list[int]:
        with self.catalog.read() as session:
            return [label.id for label in training_labels(session)]


@pytest.fixture
def bench(catalog: Catalog, tmp_path: Path) -> Bench:
    return Bench(catalog, tmp_path / "a.tif")


NUMBERS = (1, 2, 6, 7, 8)


def test_honeypots_find_the_careless_annotator_and_teach_nothing(bench: Bench) -> None:
    first = bench.ask(NUMBERS, ProposalReason.KNOWN_TRUTH)
    bench.answer(first[:3], CAREFUL, carefully)
    bench.answer(first[3:], CARELESS, carelessly)
    careful, careless = (item.truth for item in bench.assess().annotators if item.truth is not None)
    assert careful.agreement is not None and careless.agreement is not None
    assert careful.agreement.value == 1.0
    assert careful.left_out is not None
    assert careful.left_out.value == pytest.approx(1 / 32**2, rel=0.2)
    assert careless.agreement.high is not None
    assert careless.agreement.high < 1.0
    debris = careless.iou[DEBRIS]
    assert debris is None or debris.value == 0.0
    assert bench.learnt() == []
    with bench.catalog.read() as session:
        assert list(labelled_windows(session, ["pool"], simulated=True)) == []


def test_another_mask_in_the_place_of_a_label_is_not_compared(bench: Bench) -> None:
    """It is a whole file, stored as ours are; but it is not the one of the label's row."""
    ours, others = bench.answer(bench.ask((1, 2), ProposalReason.KNOWN_TRUTH), CAREFUL, carefully)
    bench.store.put(ours.mask_key, bench.store.get(others.mask_key))
    (found,) = [item.truth for item in bench.assess().annotators if item.truth is not None]
    assert found.patches == 1


def test_of_three_the_one_who_differs_from_both_others_is_found(bench: Bench) -> None:
    first = bench.ask(NUMBERS, ProposalReason.RANDOM_START)
    bench.answer(first, CAREFUL, carefully)
    again = bench.ask(NUMBERS, ProposalReason.SECOND_LABEL)
    bench.answer(again[:3], THIRD, carefully)
    bench.answer(again[3:], CARELESS, carelessly)
    assert bench.figures(THIRD, "others")[:2] == [3, 1.0]
    assert bench.figures(CAREFUL, "others")[0] == 5
    shared, of_careless = bench.figures(CAREFUL, "others")[1], bench.figures(CARELESS, "others")[1]
    assert of_careless < shared < 1.0
    assert len(bench.learnt()) == 10  # both labels of a patch teach, but for the pixels that they dispute


def test_second_labels_by_the_same_person_do_not_count(bench: Bench) -> None:
    bench.answer(bench.ask((6, 7), ProposalReason.RANDOM_START), CAREFUL, carefully)
    bench.answer(bench.ask((6, 7), ProposalReason.SECOND_LABEL), CAREFUL.upper(), carelessly)
    found = bench.assess()
    assert (found.annotators, found.bias, found.same_person) == ((), None, 2)


@pytest.mark.parametrize("reason", [ProposalReason.SECOND_LOOK, ProposalReason.CORRECTION])
def test_what_was_drawn_over_another_label_or_map_does_not_count(bench: Bench, reason: ProposalReason) -> None:
    (first,) = bench.answer(bench.ask((6,), ProposalReason.RANDOM_START), CARELESS, carelessly)
    (look,) = bench.answer(bench.ask((6,), reason), CAREFUL, carefully)
    assert bench.assess().annotators == ()
    assert bench.learnt() == [look.id] != [first.id]


def test_the_pull_of_a_pre_annotation_is_measured_on_pairs(bench: Bench) -> None:
    first = bench.ask((6, 7), ProposalReason.RANDOM_START)
    with bench.catalog.database.write() as session:
        for proposal in first:
            session.get_one(Proposal, proposal.id).preannotated_by = 1
            window = window_of(session.get_one(Patch, proposal.patch_id))
            empty = np.zeros(window.shape, np.uint8)
            encoded = mask_to_geotiff(empty, source_of(bench.scene).grid, GLACIER_SCHEME, window)
            bench.store.put(raster_keys.preannotation(proposal.uid, 1), encoded)
    bench.answer(first, CARELESS, np.zeros_like)  # submits the proposal as it is
    bench.answer(bench.ask((6, 7), ProposalReason.SECOND_LABEL), CAREFUL, lambda truth: truth)
    bias = bench.assess().bias
    covered = [bench.truth[window_of(bench.free[number]).slices] for number in (6, 7)]
    ice = sum(((mask == CLEAN) | (mask == DEBRIS)).sum() for mask in covered)
    known = sum((mask != UNKNOWN).sum() for mask in covered)
    assert bias is not None and bias.pull is not None and bias.preannotated.agreement is not None
    assert bias.preannotated.agreement.value == 1.0
    assert bias.pull.value == pytest.approx(ice / known)
    assert ice > 0


def test_masks_are_compared_once_and_the_figures_are_made_of_rows(bench: Bench) -> None:
    """The careful one answers a honeypot and two patches, which the careless one labels, too."""
    (honeypot,) = bench.answer(bench.ask((1,), ProposalReason.KNOWN_TRUTH), CAREFUL, carefully)
    first = bench.answer(bench.ask((6, 7), ProposalReason.RANDOM_START), CAREFUL, carefully)
    second = bench.answer(bench.ask((6, 7), ProposalReason.SECOND_LABEL), CARELESS, carelessly)
    before = assess(bench.catalog)
    assert (before.pending, before.annotators) == (5, ())  # with the truth, and each of two pairs from both sides
    found = bench.assess()
    assert (found.pending, len(found.annotators)) == (0, 2)

    def read(label: Label) -> np.ndarray:
        return mask_from_geotiff(bench.store.get(label.mask_key), GLACIER_SCHEME)

    with_truth = count(bench.truth[window_of(bench.free[1]).slices], read(honeypot), 3)
    of_careful = [count(read(other), read(own), 3) for own, other in zip(first, second, strict=True)]
    of_careless = [count(read(other), read(own), 3) for own, other in zip(second, first, strict=True)]
    careful, careless = found.annotators
    assert (careful.truth, careful.others) == (compare([with_truth]), compare(of_careful[::-1]))
    assert (careless.truth, careless.others) == (None, compare(of_careless[::-1]))  # the newest label comes first

    for label in (honeypot, *first, *second):
        bench.store.delete(label.mask_key)
    assert assess(bench.catalog) == found
    assert compare_labels(bench.catalog) == 0  # nothing is compared again


def test_what_cannot_be_compared_is_left_out_and_counted(bench: Bench) -> None:
    lost, whole = bench.answer(bench.ask((6, 7), ProposalReason.RANDOM_START), CAREFUL, carefully)
    bench.answer(bench.ask((6, 7), ProposalReason.SECOND_LABEL), THIRD, carelessly)
    bench.store.delete(lost.mask_key)
    found = bench.assess()
    assert found.pending == 2
    assert [item.others and item.others.patches for item in found.annotators] == [1, 1]
    with bench.catalog.database.write() as session:  # superseded: what was compared with it is forgotten
        session.get_one(Label, whole.id).superseded_at = whole.annotated_at
    assert bench.assess().annotators == ()
    with bench.catalog.read() as session:
        assert mask_comparisons.kept(session) == {}


def test_a_new_truth_is_compared_anew(bench: Bench) -> None:
    bench.answer(bench.ask(NUMBERS, ProposalReason.KNOWN_TRUTH), CAREFUL, carefully)
    found = bench.assess()
    with bench.catalog.database.write() as session:
        mask_comparisons.forget_truth(session, bench.scene.id + 1)
    assert assess(bench.catalog) == found
    with bench.catalog.database.write() as session:
        mask_comparisons.forget_truth(session, bench.scene.id)
    assert (assess(bench.catalog).pending, bench.assess()) == (len(NUMBERS), found)


def test_an_accepted_label_is_the_truth_for_others_and_nothing_on_its_patch_teaches(bench: Bench) -> None:
    first, other = bench.answer(bench.ask((6, 7), ProposalReason.RANDOM_START), CAREFUL, carefully)
    with bench.catalog.database.write() as session:
        references.accept(session, first.id)
        references.accept(session, first.id)  # twice does no harm
    assert bench.learnt() == [other.id]
    bench.answer(bench.ask((6,), ProposalReason.KNOWN_TRUTH), CARELESS, carelessly)
    found = bench.assess()
    assert [(item.label_id, item.answers) for item in found.references] == [(first.id, 1)]
    assert bench.figures(CARELESS, "truth")[0] == 1
    assert [item.annotator for item in found.annotators if item.truth] == [CARELESS.lower()]
    assert bench.learnt() == [other.id]
    with bench.catalog.database.write() as session:  # its annotator changes it
        session.get_one(Label, first.id).superseded_at = first.annotated_at
    assert [item.stands for item in bench.assess().references] == [False]
    assert bench.assess().annotators == ()
    with bench.catalog.database.write() as session:
        session.get_one(Label, first.id).superseded_at = None
        references.release(session, first.id)
    assert bench.learnt() == [first.id, other.id]


def test_the_loser_of_a_dispute_is_not_measured_by_the_label_that_won_it(bench: Bench) -> None:
    (winner,) = bench.answer(bench.ask((6,), ProposalReason.RANDOM_START), CAREFUL, carefully)
    again = bench.ask((6,), ProposalReason.SECOND_LABEL)
    bench.answer(again, CARELESS, carelessly)
    with bench.catalog.database.write() as session:
        references.accept(session, winner.id)
    bench.answer(again, CARELESS, carelessly)  # drawn again on the old task, which says that the first was not right
    found = bench.assess()
    assert [item.truth for item in found.annotators] == [None, None]
    assert [(item.label_id, item.answers) for item in found.references] == [(winner.id, 0)]
    assert bench.figures(CARELESS, "others")[0] == 1


def test_nothing_is_compared_with_a_truth_that_is_not_known_any_more(bench: Bench) -> None:
    (first,) = bench.answer(bench.ask((6,), ProposalReason.RANDOM_START), CAREFUL, carefully)
    with bench.catalog.database.write() as session:
        session.get_one(Scene, bench.scene.id).outlines = []  # replaced without them
        references.accept(session, first.id)
    bench.answer(bench.ask((6, 7), ProposalReason.KNOWN_TRUTH), CARELESS, carelessly)
    assert bench.figures(CARELESS, "truth")[0] == 1  # with the accepted label; the other has no truth
    with bench.catalog.database.write() as session:
        references.release(session, first.id)
    found = bench.assess()
    assert (found.pending, [item for item in found.annotators if item.truth]) == (0, [])
    bench.store.delete(raster_keys.truth(bench.scene.id))
    assert compare_labels(bench.catalog) == 0  # nothing is missed


def test_what_cannot_be_a_reference_is_refused(bench: Bench) -> None:
    proposals = bench.ask((6, 7, 8), ProposalReason.RANDOM_START)
    old, part, honeypot = bench.answer(proposals, CAREFUL, carefully)
    with bench.catalog.database.write() as session:
        session.get_one(Label, old.id).superseded_at = old.annotated_at
        session.get_one(Proposal, part.proposal_id).region = [0, 512, 512]
        session.get_one(Proposal, honeypot.proposal_id).reason = ProposalReason.KNOWN_TRUTH
    with bench.catalog.database.write() as session:
        for label, why in ((old, "was superseded"), (part, "a part of its patch"), (honeypot, "known already")):
            with pytest.raises(ConflictError, match=why):
                references.accept(session, label.id)
        with pytest.raises(NotFoundError, match="no label 99"):
            references.accept(session, 99)
        with pytest.raises(NotFoundError, match="is no reference"):
            references.release(session, old.id)
