"""The strategies: pure functions from a pool to choices, registered with their needs in ``services.strategies``.

The same pool with the same seed gives the same choices. Foreground is what a version predicts of all classes but
background; for glaciers, ice.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.candidates import Candidate
from catalog.records import ProposalReason
from catalog.rounds import Choice
from services.acquisition import Pool, choose, draw, draw_controls, mingle, spread
from services.patch_features import farthest_first

STRATIFIED_SHARE: Final = 2 / 3
"""Share of a round that is chosen class by class; Lüth et al. 2026 chose 66 %."""

NOISE_WEIGHTS: Final = (1.0, 0.1, 0.01)
"""Weight of the noise in the first, second and every later round by scores."""

CANDIDATES_OF_A_PLACE: Final = 5
"""How many uncertain patches k-centre chooses from, for each patch of a round. Of more, the last are hardly uncertain;
of as many as places, it chooses nothing."""

_LEAST_SCORE: Final = 1e-9  # before the logarithm; a lower score means no data, or no uncertainty at all


def at_random(pool: Pool) -> Sequence[Choice]:
    """Draw from all candidates."""
    return draw(pool.shuffled, pool.size)


def by_score(pool: Pool) -> Sequence[Choice]:
    """Take the highest scores by the strategy's measure, and some controls.

    Sources of the measures: predictive entropy and mutual information (BALD), Houlsby et al. 2011, Gal et al. 2017;
    margin, Scheffer et al. 2001; variance over the passes, Kampffmeyer et al. 2016.
    """
    return choose(pool, [pool.ranked])


def foreground_random(pool: Pool) -> Sequence[Choice]:
    """Draw at random from the shortlist, the patches where foreground is predicted or was outlined before.

    The "foreground-aware random" baseline of nnActive (Lüth et al. 2025), which no uncertainty beat
    there. If the shortlist is too short, the patches with the highest shares of foreground follow.
    """
    controls = draw_controls(pool, from_shortlist=False)
    chosen = _shortlisted_first(pool, pool.shortlist(), [patch for patch, _ in controls])
    return mingle(pool, [Choice(patch.patch_id, ProposalReason.FOREGROUND, patch.score) for patch in chosen], controls)


def foreground_entropy(pool: Pool) -> Sequence[Choice]:
    """Take the highest entropies from the shortlist, the patches where foreground is predicted or was outlined before.

    If the shortlist is too short, the patches with the highest shares of foreground follow.
    """
    table, controls = pool.scored, draw_controls(pool)
    ids = table.order(table.entropy)
    ranked = ids[np.isin(ids, table.foreground(pool.shortlist_foreground))]
    chosen = _shortlisted_first(pool, pool.in_order(ranked), [patch for patch, _ in controls])
    return mingle(pool, [Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score) for patch in chosen], controls)


def k_center_entropy(pool: Pool) -> Sequence[Choice]:
    """Spread the round over uncertain patches that look unlike each other and unlike those labelled before.

    Greedy k-centre, as in "Active learning for convolutional neural networks: a core-set approach" (Sener & Savarese
    2018, arXiv:1708.00489), on the features of the network's bottleneck, among the patches of highest entropy where
    foreground is predicted or was outlined before, five for each place. Next comes the patch that is farthest from the
    nearest of those that have labels, wait for them, or were chosen already, the controls of the round among them.

    If there are too few such patches, those with the highest shares of foreground follow.
    """
    table, controls = pool.scored, draw_controls(pool)
    drawn = [patch for patch, _ in controls]
    ids = table.order(table.entropy)
    ranked = pool.in_order(ids[np.isin(ids, table.foreground(pool.shortlist_foreground))])
    uncertain = list(islice((patch for patch in ranked if patch not in drawn), CANDIDATES_OF_A_PLACE * pool.size))
    features = pool.described
    centres = features.of([*features.known(pool.labelled), *features.known([patch.patch_id for patch in drawn])])
    order = farthest_first(features.of([patch.patch_id for patch in uncertain]), centres)
    chosen = _shortlisted_first(pool, (uncertain[index] for index in order), drawn)
    return mingle(pool, [Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score) for patch in chosen], controls)


def class_entropy(pool: Pool) -> Sequence[Choice]:
    """Take two thirds of the round by class in turn, the rest by entropy (class-balanced entropy; see below).

    It is :func:`class_power_entropy` without noise.
    """
    return _by_class(pool, 0.0)


def class_power_entropy(pool: Pool) -> Sequence[Choice]:
    """Choose by class in turn, with noise that falls from round to round.

    ClaSP PE, "class-stratified scheduled power predictive entropy" (Lüth et al. 2026, arXiv:2601.13677): two thirds of
    the round are taken from each foreground class in turn, by the mean of the top tenth of entropy times the
    probability of the class; the rest by entropy. To the logarithm of each score Gumbel noise is added, whose weight
    falls with the rounds chosen by scores before: 1, 1/10, then 1/100. Classes bring rare ones in, and the noise keeps
    early rounds, which are chosen by a network that knows little, from being much alike.

    The mean over the top tenth and the weights of the noise are ours; the authors' code averages over the whole patch.
    """
    return _by_class(pool, NOISE_WEIGHTS[min(pool.past_rounds, len(NOISE_WEIGHTS) - 1)])


def power_entropy(pool: Pool) -> Sequence[Choice]:
    """Draw patches with a probability that is proportional to their entropy, without replacement.

    The highest of log(entropy) plus Gumbel noise are such a draw (power acquisition with beta = 1: Kirsch et al. 2023,
    "Stochastic batch acquisition: a simple baseline for deep active learning", arXiv:2106.12059).
    """
    return choose(pool, [_noised(pool, pool.scored.entropy, 1.0)])


def _by_class(pool: Pool, noise: float) -> list[Choice]:
    table, controls = pool.scored, draw_controls(pool)
    drawn = [patch for patch, _ in controls]
    size = pool.size - len(controls)
    classes = pool.generator.permutation(table.class_entropy.shape[1])  # which is first gets the odd patch
    orders = [_noised(pool, table.class_entropy[:, index], noise) for index in classes]
    stratified = spread(orders, round(STRATIFIED_SHARE * size), around=drawn)
    by_entropy = _noised(pool, table.entropy, noise)
    chosen = [*stratified, *spread([by_entropy], size - len(stratified), around=[*drawn, *stratified])]
    return mingle(pool, [Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score) for patch in chosen], controls)


def _noised(pool: Pool, scores: NDArray[np.floating], weight: float) -> Iterable[Candidate]:
    """Return the candidates by falling log(score) + weight * Gumbel noise; ``scores`` (N,) are those of the table."""
    logarithm = np.log(np.maximum(scores, _LEAST_SCORE))
    return pool.in_order(pool.scored.order(logarithm + weight * pool.generator.gumbel(size=len(scores))))


def _shortlisted_first(pool: Pool, shortlisted: Iterable[Candidate], controls: Sequence[Candidate]) -> list[Candidate]:
    """Take candidates of the shortlist, touching ones too before any other; then those with most foreground."""
    size = pool.size - len(controls)
    chosen = spread([shortlisted], size, around=controls)
    by_share = pool.in_order(pool.scored.order(pool.scored.foreground_share))
    return [*chosen, *spread([by_share], size - len(chosen), around=[*controls, *chosen])]
