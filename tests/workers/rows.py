"""Forged scenes as registered rows, claimed jobs, and a small untrained champion, for the tests of this room."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from catalog import jobs, scorings
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneRole, now
from catalog.registry import ModelVersion
from imagery.describe_scene import describe
from imagery.grid import Window
from models.card import ModelCard
from models.heads import Head, head_classes, logits_per_network
from models.segmenter import build_segmenter
from models.unet import UNetConfig
from services.prior_outlines import PriorOutlines
from tests.imagery.forge import BAND_NAMES, ForgedScene, forge_scene
from tests.models.cards import CLASSES, origin
from workers.jobs import JobContext
from workers.score_pool import score_by as score_pool_by
from workers.score_shard import score_by as score_shard_by
from workers.tile_scene import tile_scene
from workers.versions import LoadedVersion

MEAN, STD = (120.0,) * 4, (60.0,) * 4


def claimed(catalog: Catalog, kind: JobKind = JobKind.SCORE_POOL, key: str = "", **subject: Any) -> Job:
    """Enqueue a job and claim it, as a worker would; nothing else runs it."""
    with catalog.database.write() as session:
        job_id = jobs.enqueue(session, kind, key, **subject).id
        job = jobs.claim(session, job_id)
    assert job is not None
    return job


def context_of(catalog: Catalog, kind: JobKind = JobKind.SCORE_POOL, key: str = "", **subject: Any) -> JobContext:
    return JobContext(catalog, claimed(catalog, kind, key, **subject))


def score_pool(catalog: Catalog, by: LoadedVersion) -> None:
    """Score the whole pool by a version, as the workers do, one shard after another."""
    coordinate(catalog, by.version.version)
    score_shards(catalog, by)
    coordinate(catalog, by.version.version)


def coordinate(catalog: Catalog, version: int) -> None:
    """Do what the job that cuts the pool into shards and completes the scoring does."""
    context = context_of(catalog, JobKind.SCORE_POOL)
    score_pool_by(context, version)
    finish(context)


def score_shards(catalog: Catalog, by: LoadedVersion) -> None:
    """Do all jobs of shards that wait."""
    with catalog.read() as session:
        waiting = session.scalars(
            select(Job.id).where(Job.kind == JobKind.SCORE_SHARD, Job.state == JobState.QUEUED).order_by(Job.created_at)
        ).all()
    for job_id in waiting:
        with catalog.database.write() as session:
            job = jobs.claim(session, job_id)
            shard = scorings.get_shard(session, job.subject["shard_id"])
        context = JobContext(catalog, job)
        score_shard_by(context, by, shard)
        finish(context)


def finish(context: JobContext) -> None:
    with context.catalog.database.write() as session:
        jobs.finish(session, context.job_id, context.attempt)


def register(
    catalog: Catalog,
    forged: ForgedScene,
    role: SceneRole = SceneRole.POOL,
    *,
    outlines: bool = True,
    region: Window | None = None,
    overlap: int = 0,
    prior: PriorOutlines | None = None,
) -> int:
    """Add the row of a scene with patches of 32 px, as the API does; return its id."""
    source = describe(forged.bands, region)
    scene = Scene(
        name=f"{forged.path.stem}-{role.value}",
        role=role,
        source=source.to_json(),
        footprint=source.grid.footprint_wgs84().__geo_interface__,
        outlines=[vars(layer) for layer in forged.outlines] if outlines else [],
        prior_outlines=prior.to_json() if prior else None,
        patch_size_px=32,
        patch_overlap_px=overlap,
    )
    with catalog.database.write() as session:
        session.add(scene)
        session.flush()
    return scene.id


def tiled(
    catalog: Catalog,
    path: Path,
    role: SceneRole = SceneRole.POOL,
    *,
    priors: Sequence[int] = (),
    ring_m: float = 0.0,
    **forging: Any,
) -> tuple[Scene, ForgedScene]:
    """Forge, register and tile a scene; the outlines of its truth that are listed by number are prior outlines, too."""
    forged = forge_scene(path, **forging)
    layers = tuple(forged.outlines[number] for number in priors)
    prior = PriorOutlines(layers, "2003-07-30", "an inventory", ring_m, "2" * 64) if layers else None
    scene_id = register(catalog, forged, role, prior=prior)
    context = context_of(catalog, JobKind.TILE_SCENE, str(scene_id))
    tile_scene(context, scene_id)
    finish(context)
    with catalog.read() as session:
        return session.get_one(Scene, scene_id), forged


def described_anew(scene: Scene, **changes: Any) -> Scene:
    """Another description of a scene, not stored, by which it may be replaced."""
    columns = ("name", "role", "source", "footprint", "outlines", "prior_outlines", "patch_size_px", "patch_overlap_px")
    return Scene(**{**{name: getattr(scene, name) for name in columns}, **changes})


def patches(catalog: Catalog, scene_id: int) -> list[Patch]:
    with catalog.read() as session:
        return list(session.scalars(select(Patch).where(Patch.scene_id == scene_id).order_by(Patch.id)))


def champion(
    version: int = 1,
    *,
    seed: int = 0,
    channels: tuple[str, ...] = BAND_NAMES,
    head: Head = "multiclass",
    **tags: str,
) -> LoadedVersion:
    """An untrained network of two levels and four maps, as if it had been read from the registry."""
    config = UNetConfig(in_channels=len(channels), classes=logits_per_network(head, len(CLASSES)), depth=2, width=4)
    segmenter = build_segmenter(channels, MEAN[: len(channels)], STD[: len(channels)], config, seed, head)
    classes = head_classes(head, CLASSES, "glacier")
    card = ModelCard(
        **dict(origin(channels).model_copy(update={"patch_size_px": 32, "classes": classes})),
        channels=channels,
        mean=MEAN[: len(channels)],
        std=STD[: len(channels)],
        unet=config,
        head=head,
        weights_sha256="0" * 64,
        onnx_sha256="0" * 64,
    )
    return LoadedVersion(ModelVersion(version, f"run-{version}", now(), tags), segmenter, card)


def blobs(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    """A class map of overlapping rectangles of all values, some with holes."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(12):
        top, left = generator.integers(0, height), generator.integers(0, width)
        bottom, right = top + generator.integers(1, 14), left + generator.integers(1, 14)
        mask[top:bottom, left:right] = generator.choice([0, 1, 2, 255])
    return mask
