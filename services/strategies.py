"""The registry of strategies: how the patches of a round are chosen, what that needs, and what annotators are told.

To add a strategy, write one pure function from a ``Pool`` to choices (those that we ship are in ``services.choices``)
and register it here; its name becomes a member of ``catalog.settings.Strategy``, which lists the names that settings,
API and command line accept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from catalog.records import ProposalReason, Round
from catalog.rounds import CONTROLS, Choice
from catalog.settings import Settings
from catalog.settings_sources import SettingsError
from services import choices
from services.acquisition import Pool
from services.prior_disagreement import PRIOR_DISAGREEMENT

NATS: Final = "nats"
PROBABILITY: Final = "probability"
SHARE: Final = "share of the pixels"


@dataclass(frozen=True)
class Needs:
    """What has to exist before a strategy can choose.

    Attributes:
        measure: Scores by this measure (``models.measures``), which rank the candidates; None: no scores.
        monte_carlo: Whether every patch must have been scored by all T passes. If False, a deterministic screening pass
            with a shortlist suffices.
        table: Whether it needs the table of all scored patches (``services.score_table``).
        features: Whether it needs the features of all scored patches (``services.patch_features``).
    """

    measure: str | None = None
    monte_carlo: bool = False
    table: bool = False
    features: bool = False

    @property
    def scoring(self) -> bool:
        """Whether a model version must have scored the pool."""
        return self.measure is not None or self.monte_carlo or self.table or self.features


@dataclass(frozen=True)
class Evidence:
    """Why a patch was chosen, as far as numbers tell.

    Attributes:
        model_version: The version whose scores ranked the patch; None without.
        score: The score of the patch in the strategy's unit; None without.
    """

    model_version: int | None
    score: float | None


Choosing = Callable[[Pool], Sequence[Choice]]


@dataclass(frozen=True)
class RegisteredStrategy:
    """A way to choose the patches of a round.

    Attributes:
        name: As settings, API and command line spell it.
        choose: Takes the pool and returns distinct choices, in the order in which annotators should see them. Pure: the
            same pool with the same seed gives the same choices.
        needs: What has to exist before.
        unit: Unit of the scores; None without.
        explain: Returns what an annotator is told of a patch that was not drawn as a control, and of checks too:
            nothing that tells them from other patches, as the score would.
    """

    name: str
    choose: Choosing
    needs: Needs
    unit: str | None
    explain: Callable[[Evidence], str]


STRATEGIES: Final[dict[str, RegisteredStrategy]] = {}
"""The strategies by name."""

_DISGUISED: Final = (ProposalReason.SECOND_LABEL, ProposalReason.KNOWN_TRUTH)

SCHEDULES: Final[dict[str, Callable[[int, Settings], str]]] = {}
"""Names that stand for a strategy that depends on the round; each function returns its name, as `resolve` does."""


def register(
    name: str, explain: Callable[[Evidence], str], needs: Needs | None = None, unit: str | None = None
) -> Callable[[Choosing], Choosing]:
    """Return a decorator that registers a function as the strategy of this name; see ``RegisteredStrategy``."""

    def add(function: Choosing) -> Choosing:
        STRATEGIES[name] = RegisteredStrategy(name, function, needs or Needs(), unit, explain)
        return function

    return add


def names() -> list[str]:
    """Return all names that a round may be opened with."""
    return [*SCHEDULES, *STRATEGIES]


def get(name: str) -> RegisteredStrategy:
    """Return the strategy of this name.

    Raises:
        ValueError: there is none, or the name stands for one that depends on the round.
    """
    if name in SCHEDULES:
        raise ValueError(f"the strategy {name!r} stands for another one that depends on the round; resolve it first")
    if name not in STRATEGIES:
        raise ValueError(f"found the strategy {name!r}, expected one of {', '.join(names())}")
    return STRATEGIES[name]


def resolve(name: str, past_rounds: int, settings: Settings, by_outlines: bool = False) -> RegisteredStrategy:
    """Return the strategy that a name stands for in the round after ``past_rounds`` others.

    A version that prior outlines have taught, and that has scored the pool (``by_outlines``), stands for the random
    rounds at the start: labels chosen by it teach more (``docs/benchmarks.md``).

    Raises:
        ValueError: there is none.
    """
    past_rounds += settings.random_start_rounds if by_outlines else 0
    return get(SCHEDULES[name](past_rounds, settings) if name in SCHEDULES else name)


def disguised(reason: ProposalReason, of_round: Round, *, scored: bool, controls: bool) -> ProposalReason:
    """Return the reason that people who label may read: of second labels and honeypots that of another patch.

    Controls have one reason: a small round has one of them, and either kind would tell it from checks.

    Args:
        reason: Why the patch was proposed.
        of_round: The round.
        scored: Whether the proposal has a score by the round's measure.
        controls: Whether the round has controls (`catalog.rounds.with_controls`).
    """
    if reason in CONTROLS:
        return ProposalReason.CONTROL
    if reason not in _DISGUISED:
        return reason
    if controls and (reason is ProposalReason.SECOND_LABEL or not scored):
        return ProposalReason.CONTROL
    if of_round.measure is None:
        return ProposalReason.RANDOM_START if of_round.scoring_id is None else ProposalReason.FOREGROUND
    return ProposalReason.UNCERTAIN if scored else ProposalReason.CONTROL


def reason_of(reason: ProposalReason, of_round: Round, evidence: Evidence, *, controls: bool) -> str:
    """Return why a patch was proposed, in a sentence for its annotator.

    Second labels and honeypots are told of as other patches of the round, so that nobody takes more care of them.
    `controls` is that of `disguised`.
    """
    reason = disguised(reason, of_round, scored=evidence.score is not None, controls=controls)
    drawn = {
        ProposalReason.CONTROL: "drawn at random, to measure what choosing gains",
        ProposalReason.SECOND_LOOK: _doubts(evidence),
    }
    told = drawn[reason] if reason in drawn else get(of_round.strategy).explain(evidence)
    return f"Round {of_round.id}: {told}"


def check_settings(settings: Settings) -> None:
    """Check that the pool is scored as the strategy of automatic rounds needs it.

    Raises:
        SettingsError: the strategy needs all passes on every patch, and the settings spend them on a shortlist.
    """
    chosen = STRATEGIES.get(settings.round_strategy)
    if chosen is not None and chosen.needs.monte_carlo and settings.mc_shortlist_share < 1:
        fault = (
            f"round_strategy is {chosen.name}, and mc_shortlist_share {settings.mc_shortlist_share:g}; that strategy "
            "needs all passes of Monte Carlo dropout on every patch: set mc_shortlist_share to 1"
        )
        raise SettingsError(fault, {"round_strategy": fault})


def _recipe(past_rounds: int, settings: Settings) -> str:
    """Start at random: entropies of a network that few labels have trained choose worse than chance."""
    return "random" if past_rounds < settings.random_start_rounds else "entropy_top10"


SCHEDULES["recipe"] = _recipe


def _unsure(evidence: Evidence) -> str:
    return f"model version {evidence.model_version} is unsure here"


def _unsure_and_unlike(evidence: Evidence) -> str:
    return f"{_unsure(evidence)}, and the patch is unlike those labelled or chosen before it"


def _disagree(evidence: Evidence) -> str:
    return f"repeated predictions of model version {evidence.model_version} disagree here"


def _contradicts(evidence: Evidence) -> str:
    return (
        f"model version {evidence.model_version} contradicts the prior outlines here: has the ground changed, or were "
        "they wrong?"
    )


def _undecided(evidence: Evidence) -> str:
    return f"model version {evidence.model_version} can hardly decide between two classes here"


def _doubts(evidence: Evidence) -> str:
    return (
        f"the model contradicts the earlier label of this patch with confidence on {evidence.score or 0.0:.0%} of it; "
        "draw what you see, it replaces that label"
    )


def _sees_foreground(evidence: Evidence) -> str:
    seen_by = f"model version {evidence.model_version} sees more than background, or old outlines do"
    return f"drawn at random among the patches where {seen_by}"


register("random", lambda _: "drawn at random, to start from")(choices.at_random)
register("entropy_top10", _unsure, Needs("entropy_top10"), NATS)(choices.by_score)
register("entropy_mean", _unsure, Needs("entropy_mean"), NATS)(choices.by_score)
register("mutual_information", _disagree, Needs("mutual_information", monte_carlo=True), NATS)(choices.by_score)
register("margin_top10", _undecided, Needs("margin_top10"), PROBABILITY)(choices.by_score)
register("variance_top10", _disagree, Needs("variance_top10", monte_carlo=True), PROBABILITY)(choices.by_score)
register("foreground_random", _sees_foreground, Needs(table=True))(choices.foreground_random)
register("foreground_entropy", _unsure, Needs("entropy_top10", table=True), NATS)(choices.foreground_entropy)
register("k_center_entropy", _unsure_and_unlike, Needs("entropy_top10", table=True, features=True), NATS)(
    choices.k_center_entropy
)
register("class_entropy", _unsure, Needs("entropy_top10", table=True), NATS)(choices.class_entropy)
register("class_power_entropy", _unsure, Needs("entropy_top10", table=True), NATS)(choices.class_power_entropy)
register("power_entropy", _unsure, Needs("entropy_top10", table=True), NATS)(choices.power_entropy)
register(PRIOR_DISAGREEMENT, _contradicts, Needs(PRIOR_DISAGREEMENT), SHARE)(choices.by_score)
