"""Replace a scene by a new description of it: other outlines, other files, another unit or DEM.

What becomes of its labels has to be said. They are kept only if the pixels they were drawn on stay where they are; else
they are superseded. Truth masks, patches and scores are made anew in any case, so that an evaluation set has another
checksum (`workers.evaluation.evaluation_set`) and no version is judged by figures on the old truth.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.installation import lock_installation
from catalog.records import Job, JobKind, Label, Patch, RunState, Scene, SceneState, TrainingRun, now
from catalog.settings import Settings
from services.channel_rules import check_champion
from services.class_scheme import agreed_scheme
from services.registration import check_beside_others, store_scene
from services.scene_description import DescribedScene, DescribeScene, describe_scene
from services.scene_files import SceneFiles
from services.scene_removal import forget_scores, has_labels, lock_scene, remove_scene, retire_scene, stop_jobs
from services.scene_request import SceneRequest
from services.scenes import find_scene, source_of


class LabelFate(StrEnum):
    """What becomes of the labels of a replaced scene."""

    KEEP = "keep"
    DISCARD = "discard"


@dataclass(frozen=True)
class Replacement:
    """What replacing a scene did.

    Attributes:
        scene: the scene as it is now; its number is the old one only if labels were kept.
        job: the tiling that was enqueued.
        kept: number of standing labels that were kept.
        superseded: number of labels that do not count any more.
        learnt_from: versions that learnt from labels of the replaced scene; they stay as they are.
    """

    scene: Scene
    job: Job
    kept: int
    superseded: int
    learnt_from: tuple[int, ...]


@dataclass(frozen=True)
class DrawnLabels:
    """How many labels a scene has.

    Attributes:
        drawn: number of labels that were ever drawn on it; unless it is 0, their fate has to be named.
        standing: number of these that were not superseded.
    """

    drawn: int
    standing: int


@dataclass(frozen=True)
class CheckedReplacement:
    """A new description of a scene, as far as it can be checked before the write lock is taken.

    Attributes:
        old_id: id of the scene to replace.
        new: its new description.
        has_champion: as `services.registration.CheckedScene`.
    """

    old_id: int
    new: DescribedScene
    has_champion: bool


def drawn_labels(session: Session, scene: Scene) -> DrawnLabels:
    """Count the labels of a scene."""
    counts = select(func.count(Label.id), func.count(Label.id).filter(Label.superseded_at.is_(None)))
    drawn, standing = session.execute(
        counts.join(Patch, Label.patch_id == Patch.id).where(Patch.scene_id == scene.id)
    ).one()
    return DrawnLabels(drawn, standing)


def check_replacement(
    catalog: Catalog,
    old_id: int,
    request: SceneRequest,
    files: SceneFiles,
    describe: DescribeScene = describe_scene,
) -> CheckedReplacement:
    """Understand the files of the new description of a scene, which keeps its name; store nothing.

    Args:
        catalog: the catalog.
        old_id: id of the scene to replace.
        request: the new description.
        files: the files that the caller may read.
        describe: as `services.registration.check`.

    Raises:
        NotFoundError: there is no such scene.
        SceneError: as `services.registration.check`.
        OutlineError: as `services.registration.check`.
        ConflictError: as `services.registration.check`.
    """
    with catalog.read() as session:
        name = find_scene(session, old_id).name
        scheme = agreed_scheme(session, catalog.settings)
    new = describe(catalog.settings, request.model_copy(update={"name": name}), files, scheme)
    return CheckedReplacement(old_id, new, check_champion(catalog, new.scene))


def replace(catalog: Catalog, checked: CheckedReplacement, fate: LabelFate | None) -> Replacement:
    """Replace a scene by a new description; if that is refused, nothing changes.

    Args:
        catalog: the catalog.
        checked: the new description.
        fate: what becomes of labels; None: refuse if there are any.

    Raises:
        NotFoundError: there is no such scene any more.
        SceneError: as `services.registration.check`.
        ConflictError: as `services.registration.check` and `replace_scene`.
    """
    with catalog.write() as session:
        return replace_scene(
            session, catalog.settings, checked.old_id, checked.new.scene, fate, has_champion=checked.has_champion
        )


def replace_scene(
    session: Session, settings: Settings, old_id: int, new: Scene, fate: LabelFate | None, *, has_champion: bool
) -> Replacement:
    """Replace a scene by a row that is not yet stored.

    Args:
        session: a writing session.
        settings: the settings.
        old_id: id of the scene to replace.
        new: its new description, of the same name.
        fate: what becomes of labels; None: refuse if there are any.
        has_champion: as `services.registration.store_scene`.

    Raises:
        NotFoundError: there is no such scene.
        ConflictError: it has labels and their fate was not named, or they cannot be kept; a round asks annotators about
            it; what was drawn on it waits to be ingested, unless labels are kept; a job works on it, or a fine-tune
            learns from its labels; or the new one does not fit the other scenes.
    """
    lock_installation(session)
    old = lock_scene(session, old_id)
    if not has_labels(session, old):
        remove_scene(session, old_id)
        scene, job = store_scene(session, settings, new, has_champion=has_champion)
        return Replacement(scene, job, 0, 0, ())
    labels = session.scalars(
        select(Label).join(Patch, Label.patch_id == Patch.id).where(Patch.scene_id == old_id)
    ).all()
    standing = [label for label in labels if label.superseded_at is None]
    if fate is None:
        raise ConflictError(
            f"{len(standing)} labels stand on scene {old.name!r} ({len(labels)} were drawn); say what becomes of them: "
            "'keep', if its pixels stay where they are, or 'discard'"
        )
    versions = _versions_from(session, old, {label.id for label in labels})
    if fate is LabelFate.KEEP:
        job = _renew(session, settings, old, new, has_champion=has_champion)
        return Replacement(old, job, len(standing), 0, versions)
    retire_scene(session, old)
    for label in standing:
        label.superseded_at = now()
    scene, job = store_scene(session, settings, new, has_champion=has_champion)
    learnt = f"; versions {', '.join(map(str, versions))} learnt from them" if versions else ""
    old.error = f"replaced by scene {scene.id}; {len(standing)} labels were superseded{learnt}"
    session.flush()
    return Replacement(scene, job, 0, len(standing), versions)


def _renew(session: Session, settings: Settings, old: Scene, new: Scene, *, has_champion: bool) -> Job:
    """Give a scene its new description under its old number, so that its patches and their labels stay."""
    _check_same_pixels(old, new)
    stop_jobs(session, old)
    old.state = SceneState.REMOVED  # for a moment: it is no other scene to compare the new description with
    session.flush()
    check_beside_others(session, settings, new, has_champion=has_champion)
    forget_scores(session, old)
    for name in ("sensor", "acquired", "source", "footprint", "outlines", "prior_outlines", "product"):
        setattr(old, name, getattr(new, name))
    old.state, old.stretch, old.error = SceneState.REGISTERED, None, None
    old.revision += 1
    session.flush()
    return jobs.enqueue(session, JobKind.TILE_SCENE, str(old.id), scene_id=old.id)


def _check_same_pixels(old: Scene, new: Scene) -> None:
    before, after = source_of(old).grid, source_of(new).grid
    if not before.coincides(after):
        raise ConflictError(
            f"labels of scene {old.name!r} cannot be kept: found {after.width} x {after.height} pixels in {after.crs} "
            f"with the transform {after.transform}; expected the grid they were drawn on, {before.width} x "
            f"{before.height} pixels in {before.crs} with the transform {before.transform}. Name the same region, or "
            "discard them"
        )
    kept = ("role", "patch_size_px", "patch_overlap_px")
    differ = [
        f"{name} {getattr(new, name)} (was {getattr(old, name)})"
        for name in kept
        if getattr(new, name) != getattr(old, name)
    ]
    if differ:
        raise ConflictError(
            f"labels of scene {old.name!r} cannot be kept with another {', '.join(differ)}; discard them"
        )


def _versions_from(session: Session, scene: Scene, label_ids: set[int]) -> tuple[int, ...]:
    """Return the model versions that learnt from labels.

    Raises:
        ConflictError: a fine-tune is learning from them now.
    """
    runs = [run for run in session.scalars(select(TrainingRun)) if not label_ids.isdisjoint(run.label_ids)]
    for run in runs:
        if run.state in {RunState.OPEN, RunState.INTERRUPTED} and run.model_version is None:
            raise ConflictError(
                f"training run {run.id} learns from labels of scene {scene.name!r}; wait until it ends, or cancel it"
            )
    return tuple(sorted({run.model_version for run in runs if run.model_version is not None}))
