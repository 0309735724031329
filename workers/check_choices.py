"""The patches of a round that measure annotators or mend labels, beside those that its strategy chooses."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from catalog import candidates, check_candidates, scorings
from catalog.candidates import Candidate
from catalog.context import Catalog
from catalog.records import Label, Patch, PatchState, ProposalReason, Round, Score, Scoring
from catalog.reference_records import Reference
from catalog.rounds import Choice
from imagery.classes import UNKNOWN
from imagery.errors import OutlineError, SceneError, StoreError
from imagery.maps import read_windows
from imagery.masks import mask_from_geotiff
from services import raster_keys
from services.acquisition import round_at_random
from services.class_scheme import class_scheme
from services.composed_labels import compose_labels
from services.expected_edits import ERROR, FOREGROUND, PatchMaps, decode_probability
from services.places import raster_store
from services.scenes import window_of
from services.score_table import read_table
from services.second_looks import contradicted_share, rank

log = logging.getLogger(__name__)

_STREAM = 1  # of the seed: checks must not change what the strategy draws


@dataclass(frozen=True)
class Checks:
    """Chooses the checks of a round: second looks, second labels and honeypots.

    Attributes:
        session: For reading.
        catalog: Settings, and where masks and maps are.
        opened: The round.
        second_looks: How many second looks were asked for; None: the share that the settings name.
    """

    session: Session
    catalog: Catalog
    opened: Round
    second_looks: int | None

    def choose(self) -> list[Choice]:
        """Choose the checks, of distinct patches; fewer than wanted where there are no more."""
        generator = np.random.default_rng([self.opened.seed, _STREAM])
        settings = self.catalog.settings
        looks = self.second_looks
        if looks is None:
            looks = round_at_random(settings.second_look_share * self.opened.size, generator)
        chosen, rest = self._looks(looks), self.opened.size - looks
        twice = round_at_random(settings.double_label_share * rest, generator)
        honeypots = min(round_at_random(settings.honeypot_share * rest, generator), rest - twice)
        taken = {choice.patch_id for choice in chosen}
        chosen += self._second_labels(twice, taken, generator)
        taken = {choice.patch_id for choice in chosen}
        return [*chosen, *self._honeypots(honeypots, taken, generator)]

    def _looks(self, wanted: int) -> list[Choice]:
        if not wanted:
            return []
        scoring = scorings.newest(self.session)
        shares = {} if scoring is None else contradicted_shares(self.session, self.catalog, scoring)
        return [Choice(patch_id, ProposalReason.SECOND_LOOK, shares[patch_id]) for patch_id in rank(shares)[:wanted]]

    def _second_labels(self, wanted: int, taken: set[int], generator: np.random.Generator) -> list[Choice]:
        if not wanted:
            return []
        free = [patch_id for patch_id in check_candidates.to_label_twice(self.session) if patch_id not in taken]
        drawn = generator.permutation(free)[:wanted].tolist()
        return [Choice(patch_id, ProposalReason.SECOND_LABEL, self._score(patch_id)) for patch_id in drawn]

    def _honeypots(self, wanted: int, taken: set[int], generator: np.random.Generator) -> list[Choice]:
        """Choose honeypots, those that fewest people have answered first, otherwise at random."""
        if not wanted:
            return []
        fresh = {patch.patch_id: 0 for patch in islice(self._with_truth(generator), wanted)}
        answers = check_candidates.to_ask_again(self.session) | fresh
        order = generator.permutation(sorted(answers.keys() - taken)).tolist()
        chosen = sorted(order, key=lambda patch_id: answers[patch_id])[:wanted]
        return [Choice(patch_id, ProposalReason.KNOWN_TRUTH, self._score(patch_id)) for patch_id in chosen]

    def _with_truth(self, generator: np.random.Generator) -> Iterator[Candidate]:
        """Yield the unlabelled patches of scenes with known truth, those first that the round would choose first."""
        scenes = check_candidates.scenes_with_truth(self.session)
        if not scenes:
            return
        share = self.catalog.settings.min_valid_share
        order = (
            candidates.shuffled(self.session, self.opened, share, generator)
            if self.opened.measure is None
            else candidates.ranked(self.session, self.opened, share)
        )
        for patch in order:
            is_there = patch.scene_id in scenes
            if is_there and self._is_untouched(patch.patch_id):
                yield patch

    def _is_untouched(self, patch_id: int) -> bool:
        """Return whether a patch has neither labels nor an accepted label of before, which its outlines yield to."""
        is_unlabelled = self.session.get_one(Patch, patch_id).state is PatchState.UNLABELLED
        return is_unlabelled and self.session.get(Reference, patch_id) is None

    def _score(self, patch_id: int) -> float | None:
        """Return the score of a patch by the round's measure: checks are told of as other patches are."""
        if self.opened.measure is None:
            return None
        found = self.session.get(Score, (self.opened.scoring_id, patch_id, self.opened.measure))
        return None if found is None else found.value


def contradicted_shares(session: Session, catalog: Catalog, scoring: Scoring) -> dict[int, float]:
    """Return the share of the labels of each labelled patch that a scoring contradicts, by the id of the patch.

    Reads the maps and the masks of all labelled patches, some 10 ms each. Patches of scenes without maps are left out,
    and those with a mask that cannot be read, which is logged.
    """
    store, scheme = raster_store(catalog), class_scheme(catalog)
    table = read_table(store, scoring.id)
    binary = table is not None and table.class_entropy.shape[1] == 1 and len(scheme.classes) > 2

    def read(label: Label) -> NDArray[np.uint8]:
        return mask_from_geotiff(store.get(label.mask_key, label.mask_sha256), scheme)

    labels = sorted(check_candidates.to_look_at_again(session), key=lambda item: (item.patch.scene_id, item.patch_id))
    shares: dict[int, float] = {}
    for scene_id, of_scene in groupby(labels, key=lambda label: label.patch.scene_id):
        uris = [store.uri(raster_keys.scored(scoring.id, scene_id, what)) for what in ("classes", ERROR, FOREGROUND)]
        if not store.exists(raster_keys.scored(scoring.id, scene_id, "entropy")):  # stored last
            continue
        patches = [(patch, list(of_patch)) for patch, of_patch in groupby(of_scene, key=lambda label: label.patch)]
        windows = [window_of(patch) for patch, _ in patches]
        maps = zip(*(read_windows(uri, windows) for uri in uris), strict=True)
        for (patch, of_patch), (classes, error, foreground) in zip(patches, maps, strict=True):
            try:
                mask = compose_labels(of_patch, read, patch.size_px, UNKNOWN)
            except (StoreError, SceneError, OutlineError) as fault:
                log.warning("patch %d is no second look: %s", patch.id, fault)
                continue
            found = PatchMaps(classes, decode_probability(error), decode_probability(foreground))
            shares[patch.id] = contradicted_share(mask, found, binary=binary)
    return shares


def insert(choices: Sequence[Choice], checks: Sequence[Choice], seed: int) -> list[Choice]:
    """Insert checks at random places among the choices of a strategy, so that their place does not tell them."""
    generator = np.random.default_rng([seed, _STREAM + 1])
    mingled = list(choices)
    for check in checks:
        mingled.insert(int(generator.integers(len(mingled) + 1)), check)
    return mingled
