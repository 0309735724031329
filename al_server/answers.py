"""From rows to answers."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.schemas import EventAnswer, JobAnswer, ModelAnswer, RoundAnswer, SceneAnswer, ScoringAnswer
from catalog import jobs, rounds, scorings
from catalog.records import Job, JobState, LabelEvent, Round, Scene, Scoring
from catalog.registry import ModelVersion
from services.scenes import source_of
from services.version_figures import figures_of


def job_answer(job: Job) -> JobAnswer:
    """Describe a job."""
    progress = job.done / job.total if job.total else None
    return JobAnswer(
        **{name: getattr(job, name) for name in JobAnswer.model_fields if hasattr(job, name)},
        progress=1.0 if job.state is JobState.FINISHED else progress,
        eta_s=jobs.eta_s(job),
    )


def scene_answer(scene: Scene) -> SceneAnswer:
    """Describe a scene."""
    source = source_of(scene)
    return SceneAnswer(
        **{name: getattr(scene, name) for name in SceneAnswer.model_fields if name in Scene.__table__.columns},
        bands=list(source.band_names),
        channels=list(source.channel_names),
        crs=source.grid.crs,
        width=source.grid.width,
        height=source.grid.height,
        patches=scene.patch_count,
        has_outlines=bool(scene.outlines),
    )


def round_answer(session: Session, of_round: Round) -> RoundAnswer:
    """Describe a round."""
    return round_answers(session, [of_round])[0]


def round_answers(session: Session, found: Sequence[Round]) -> list[RoundAnswer]:
    """Describe rounds; the number of queries does not depend on theirs."""
    progress = rounds.progress(session, [item.id for item in found])
    scorings_used = {item.scoring_id for item in found if item.scoring_id is not None}
    ranked_by: dict[int | None, Scoring] = {
        scoring.id: scoring for scoring in session.scalars(select(Scoring).where(Scoring.id.in_(scorings_used)))
    }
    return [_round_answer(item, progress[item.id], ranked_by.get(item.scoring_id)) for item in found]


def _round_answer(item: Round, progress: rounds.Progress, scoring: Scoring | None) -> RoundAnswer:
    return RoundAnswer(
        **{name: getattr(item, name) for name in RoundAnswer.model_fields if name in Round.__table__.columns},
        model_version=scoring.model_version if scoring else None,
        ranking_agreement=(scoring.agreement or {}).get(item.measure) if scoring and item.measure else None,
        proposals={state.value: count for state, count in progress.states.items()},
        reasons={reason.value: count for reason, count in progress.reasons.items()},
    )


_SCORING_COLUMNS = sorted((ScoringAnswer.model_fields.keys() & Scoring.__table__.columns.keys()) - {"agreement"})


def scoring_answer(session: Session, scoring: Scoring) -> ScoringAnswer:
    """Describe a scoring and how far it is, over all its shards."""
    progress = scorings.progress(session, scoring)
    return ScoringAnswer(
        **{name: getattr(scoring, name) for name in _SCORING_COLUMNS},
        share=scoring.shortlist_share,
        patches=progress.patches,
        progress=progress.done,
        eta_s=progress.eta_s,
        agreement=scoring.agreement or {},
    )


def event_answer(event: LabelEvent) -> EventAnswer:
    """Describe an entry of the ledger."""
    return EventAnswer(**{name: getattr(event, name) for name in EventAnswer.model_fields})


def model_answer(version: ModelVersion, aliases: dict[str, int]) -> ModelAnswer:
    """Describe a model version."""
    figures = figures_of(version)
    regions = figures.regions
    return ModelAnswer(
        version=version.version,
        aliases=sorted(alias for alias, number in aliases.items() if number == version.version),
        created_at=version.created_at,
        parent_version=figures.parent_version,
        labels=figures.labels,
        labels_sha256=figures.labels_sha256,
        simulated_labels=figures.simulated_labels,
        iou={role: {"mean": region.mean_iou, **region.iou} for role, region in regions.items()},
        gain={role: {"mean": region.gain_mean_iou, **region.gain_iou} for role, region in regions.items()}
        if figures.parent_version
        else {},
        verdict=figures.verdict,
        verdict_reason=figures.verdict_reason,
        sha256=dict(figures.sha256),
        faults=list(figures.faults),
    )
