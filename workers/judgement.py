"""Judge a new version against the champion on the validation scenes, and measure its gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from catalog import training
from catalog.context import Catalog
from catalog.records import Scene, SceneRole, TrainingRun
from catalog.settings import Settings
from models.card import EvaluationSet, Gain, ModelCard
from models.gate import FIRST, GateRules, Verdict, compare, judge, without_margin_if_doubted
from services.doubted_labels import Doubts
from workers.code_version import code_version
from workers.conclusion import judged_against
from workers.evaluation import Evaluation, evaluate, recorded_evaluation
from workers.versions import LoadedVersion, load_card, load_version

JudgedOn = Mapping[SceneRole, Sequence[Scene]]
"""The scenes with outlines of each role that versions are judged on; roles without any are left out."""


@dataclass(frozen=True)
class Champion:
    """The version that is served, as a new one is compared with it.

    Attributes:
        version: Its number.
        labels: Number of labels that it learnt from and that still teach (`catalog.training.count_teaching`).
        evaluations: What it gets right, by role of the scenes.
    """

    version: int
    labels: int
    evaluations: Mapping[SceneRole, Evaluation]


@dataclass(frozen=True)
class Judgement:
    """What was found about a new version in comparison with the champion.

    Attributes:
        verdict: The gate's verdict.
        gains: Differences of IoU by role; empty for the first version.
    """

    verdict: Verdict
    gains: Mapping[SceneRole, Gain]


def champion_of(
    catalog: Catalog,
    run: TrainingRun,
    parent: LoadedVersion | None,
    judged_on: JudgedOn,
    sets: Mapping[SceneRole, EvaluationSet],
    patch_size: int,
) -> Champion | None:
    """Return the version that the gate compares the version of a run with; None before the first.

    It is predicted anew only if its card was written by other code or for other scenes. Call this before the training,
    which changes the weights of the parent in place.

    Args:
        catalog: the catalog.
        run: the run.
        parent: the version that training starts from, which may be the champion.
        judged_on: the scenes.
        sets: what identifies them.
        patch_size: side of the windows, pixels.

    Raises:
        NotFoundError: the champion was deleted in MLflow.
        ServiceDownError: MLflow does not answer.
    """
    version = judged_against(run)
    if version is None:
        return None
    loaded = parent if parent is not None and parent.version.version == version else None
    card: ModelCard = loaded.card if loaded else load_card(catalog, version)
    code = code_version()
    evaluations = {}
    for role, scenes in judged_on.items():
        evaluation = recorded_evaluation(card, role, sets[role], patch_size, code)
        if evaluation is None:
            loaded = loaded or load_version(catalog, version)
            evaluation = evaluate(catalog, loaded.segmenter, scenes, patch_size)
        evaluations[role] = evaluation
    with catalog.read() as session:
        labels = training.count_teaching(session, card.labels.ids)
    return Champion(version, labels, evaluations)


def judge_version(
    found: Mapping[SceneRole, Evaluation],
    labels: int,
    champion: Champion | None,
    names: tuple[str, ...],
    settings: Settings,
    doubts: Doubts,
) -> Judgement:
    """Apply the gate to a new version.

    Args:
        found: what it gets right, by role of the scenes.
        labels: number of labels that it learnt from.
        champion: the version that is served; None before the first.
        names: names of the classes.
        settings: the gate's confidence and margins.
        doubts: what the champion says of the labels that are new to it. If it doubts many, no loss is tolerated.
    """
    if champion is None:
        return Judgement(FIRST, {})
    served = champion.evaluations
    rules = GateRules(settings.gate_confidence, settings.gate_margin, settings.gate_class_margin)
    evidence = compare(
        found[SceneRole.VALIDATION].blocks,
        served[SceneRole.VALIDATION].blocks,
        names,
        champion.version,
        without_margin_if_doubted(rules, doubts.share, settings.gate_most_doubted),
    )
    verdict = judge(evidence, labels, champion.labels)
    if not verdict.promoted:
        verdict = replace(verdict, reason=verdict.reason + doubts.told())
    return Judgement(
        verdict,
        {role: Gain.between(served[role].metrics, found[role].metrics) for role in found},
    )
