"""The options of simulations and experiments, which the command line and the API share: defaults, bounds, meanings."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel, Field

from catalog.errors import InvalidInputError
from catalog.settings import Settings
from imagery import everest_files
from services.request_types import Body

Example = Literal["everest", "synthetic"]
Annotator = Literal["brush", "strokes"]
SplitKind = Literal["fishnet", "random"]
Architecture = Literal["default", "baraka", "aryal", "he"]
ExperimentName = Literal[
    "bands",
    "heads",
    "losses",
    "baselines",
    "debris-share",
    "geography",
    "saliency",
    "label-shares",
    "object-based",
]
SimulatedStrategy = Literal[
    "recipe",
    "random",
    "entropy_top10",
    "entropy_mean",
    "mutual_information",
    "margin_top10",
    "variance_top10",
    "foreground_random",
    "foreground_entropy",
    "k_center_entropy",
    "class_entropy",
    "class_power_entropy",
    "power_entropy",
]
"""All strategies but the one that needs prior outlines, which the simulated scenes lack."""

STRATEGIES: Final[tuple[SimulatedStrategy, ...]] = get_args(SimulatedStrategy)

EXAMPLES: Final[Mapping[Example, str]] = {
    "everest": "Mount Everest, a scene of Landsat 7 with four bands",
    "synthetic": "a synthetic scene with fifteen channels and a DEM",
}
QUESTIONS: Final[Mapping[ExperimentName, str]] = {
    "bands": "Which channels improve the IoU?",
    "heads": "Which task head: multiclass, binary, or two binary networks?",
    "losses": "Does a boundary loss improve the IoU?",
    "baselines": "Is a U-Net better than pixel classifiers and than a threshold on the snow index?",
    "debris-share": "Is a multiclass network better where there is more debris?",
    "geography": "Does a network generalise to another region?",
    "saliency": "How much does each channel contribute?",
    "label-shares": "How are the pixels distributed over the classes?",
    "object-based": "Is a U-Net better than the semi-automated workflow, rules for image objects?",
}
"""What each experiment of the papers asks."""

_SceneName = Annotated[str, Field(min_length=1, max_length=250)]
_Scenes = Annotated[list[_SceneName], Field(max_length=1000)]


class SimulationOptions(Body):
    """What is simulated, and on which ground."""

    scenes: _Scenes = Field(
        [],
        description="names of registered scenes with outlines, which take the parts of their roles; a single one is "
        "cut into three strips; none: all that have outlines",
    )
    example: Example | None = Field(None, description="an example scene instead of registered ones")
    strategies: list[SimulatedStrategy] = Field(
        [],
        max_length=100,
        description="strategies to compare; none: the configured one, foreground_random and random",
    )
    seeds: int = Field(3, ge=1, le=100, description="repetitions of every strategy, each with its own first labels")
    rounds: int = Field(6, ge=2, le=1000, description="rounds of labelling, the random first ones included")
    round_size: int = Field(6, ge=1, le=10_000, description="patches of a round")
    patch_size: int = Field(64, ge=32, le=1024, description="side of a patch, pixels")
    steps: int = Field(100, ge=1, le=1_000_000, description="training steps of a round")
    annotator: Annotator = Field("brush", description="brush: paints what is wrong; strokes: repaint what looks alike")


class ExperimentOptions(Body):
    """Which experiment of the papers is made, on which ground, with which networks."""

    name: ExperimentName = Field(description="name of the experiment")
    scenes: _Scenes = Field(
        [], description="names of registered scenes with outlines, which may not overlap; none: all that have outlines"
    )
    example: Example | None = Field(None, description="an example scene instead of registered ones")
    architecture: Architecture = Field("default", description="network and training: ours, or those of a paper")
    depth: int | None = Field(None, ge=1, le=7, description="down-sampling steps; default: the architecture's")
    width: int | None = Field(
        None, ge=1, le=256, description="feature maps of the first level; default: the architecture's"
    )
    steps: int = Field(400, ge=1, le=1_000_000, description="training steps per network")
    seeds: int = Field(3, ge=1, le=100, description="networks trained per configuration, each with its own seed")
    patch_size: int = Field(64, ge=32, le=1024, description="side of a window, pixels")
    split: SplitKind = Field(
        "fishnet",
        description="how windows are divided into training, validation and test: in squares of 2 x 2 (fishnet), or "
        "each by itself (random)",
    )


def bounds(options: type[BaseModel], name: str) -> tuple[int | None, int | None]:
    """Return the least and the greatest value of a numeric option; None where there is none."""
    limits = options.model_fields[name].metadata
    least = next((int(str(limit.ge)) for limit in limits if isinstance(limit, Ge)), None)
    most = next((int(str(limit.le)) for limit in limits if isinstance(limit, Le)), None)
    return least, most


def check_options(options: SimulationOptions | ExperimentOptions, settings: Settings) -> None:
    """Refuse options that contradict each other or the settings.

    Raises:
        InvalidInputError: There are scenes and an example, an example whose data are not installed, no round in which
            a strategy chooses, or no strategy that can be simulated.
    """
    if options.scenes and options.example:
        raise InvalidInputError("found both scenes and an example; expected one of them")
    if options.example is not None and options.example not in examples():
        raise InvalidInputError(
            f"example: found {options.example!r}; expected one whose data are installed here: {', '.join(examples())}"
        )
    if isinstance(options, SimulationOptions):
        _check_rounds(options, settings)


def _check_rounds(options: SimulationOptions, settings: Settings) -> None:
    start_rounds = settings.random_start_rounds
    if start_rounds == 0:
        raise InvalidInputError(
            "found 0 as the setting random_start_rounds; expected 1 at least for a simulation, since a strategy cannot "
            "choose before a version has learnt something"
        )
    if options.rounds <= start_rounds:
        raise InvalidInputError(
            f"rounds: found {options.rounds}; expected more than {start_rounds}, the rounds that are drawn at random "
            "(random_start_rounds), since a strategy chooses only after them"
        )
    if not options.strategies and settings.round_strategy.value not in STRATEGIES:
        raise InvalidInputError(
            f"strategies: found none, and the configured one, {settings.round_strategy.value}, needs prior outlines, "
            "which simulated ground lacks; name strategies"
        )


def strategies_of(options: SimulationOptions, settings: Settings) -> Sequence[str]:
    """Return the names of the strategies that are compared."""
    return options.strategies or (settings.round_strategy.value, "foreground_random", "random")


def examples() -> Mapping[Example, str]:
    """Return the examples whose data are installed, with what they are."""
    return {name: words for name, words in EXAMPLES.items() if name != "everest" or everest_files.is_installed()}
