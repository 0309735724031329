"""What does scoring a scene cost beyond the forward passes, and how much faster are two workers than one?

``python -m benchmarks.scene_scoring [--size N] [--passes T] [--rounds N]``

A synthetic scene with the 15 channels of Baraka (bands in several files, two of them resampled, relief from a DEM) and
Baraka's U-Net, in patches of 512 px.

First, in this process with torch on one thread, two things are timed. "The passes alone" runs the passes over windows
in memory. "Everything" runs the jobs of all shards as the workers do, with reading, passes, measures, maps and rows of
the catalog; the champion is loaded before, no process is forked for a job, and windows are read ahead in a thread,
which may use another core.

Then, with Redis, MLflow and real workers, a scoring is timed from its first job to its completion: by one worker of one
thread, by two of one thread, and by one of two threads. Each job forks a process and loads the champion, so that "one
worker, one thread" over "the passes alone" is the whole overhead. A scene must make two shards for each of two workers.
So far all patches get all passes. At last the same workers score as they do by default: a screening pass on all
patches, and all passes on its shortlist.
"""

import argparse
import itertools
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import torch
from sqlalchemy import select

from benchmarks.memory import restart_with_kept_memory
from benchmarks.report import Result, markdown, publish, take_turns, times_as_fast
from benchmarks.scored_scene import ComputeWorkers, System, add_pool, system, wait
from catalog import jobs, scorings, sharding
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, Scene
from catalog.settings import Settings
from imagery.scene_reader import SceneReader
from models.inference import pick_precision
from models.mc_dropout import McSampler
from services.scenes import source_of, window_of
from workers.jobs import JobContext
from workers.score_pool import SHARD_PIXELS
from workers.score_pool import score_by as coordinate
from workers.score_shard import PIXELS_READ_TOGETHER, score_by
from workers.versions import LoadedVersion, load_champion
from workers.windows import batches, read_batch

ONE, TWO, THREADS = "one worker, one thread", "two workers, one thread each", "one worker, two threads"
ALONE, EVERYTHING = "the passes alone", "everything"
LEAST_SHARDS: Final = 4  # two for each of two workers; with fewer, one worker waits for the other
ONE_SCREENING, TWO_SCREENING = "one worker, screening pass first", "two workers, screening pass first"
SHORTLIST_SHARE: Final[float] = Settings.model_fields["mc_shortlist_share"].default
SET_UPS: Final = {
    ONE: ComputeWorkers(1, 1),
    TWO: ComputeWorkers(2, 1),
    THREADS: ComputeWorkers(1, 2),
    ONE_SCREENING: ComputeWorkers(1, 1, SHORTLIST_SHARE),
    TWO_SCREENING: ComputeWorkers(2, 1, SHORTLIST_SHARE),
}

Seconds = dict[str, list[float]]


def passes_alone(catalog: Catalog, champion: LoadedVersion, scene: Scene, passes: int) -> Callable[[], object]:
    """Return a call that runs the passes over the whole scene, which is read before."""
    with catalog.read() as session:
        in_order = select(Patch).where(Patch.scene_id == scene.id).order_by(Patch.row_off, Patch.col_off)
        windows = [window_of(patch) for patch in session.scalars(in_order)]
    size = PIXELS_READ_TOGETHER[champion.segmenter.device.type] // scene.patch_size_px**2
    with SceneReader(source_of(scene)) as reader:
        read = [read_batch(reader, champion.card.channels, batch) for batch in batches(windows, size)]
    sampler = McSampler(champion.segmenter, pick_precision(champion.segmenter.device))
    masks = sampler.draw(passes, seed=0)
    return lambda: [sampler.sample(batch, masks).prediction() for batch in read]


def all_jobs(catalog: Catalog, champion: LoadedVersion, seeds: "itertools.count[int]") -> None:
    """Make a new scoring of the pool, job after job, in this process."""
    catalog.settings = catalog.settings.model_copy(update={"mc_seed": next(seeds)})
    _coordinate(catalog, champion)
    while (context := _claimed_shard(catalog)) is not None:
        with catalog.database.write() as session:
            shard = scorings.get_shard(session, jobs.get(session, context.job_id).subject["shard_id"])
        score_by(context, champion, shard)
        _finish(context)
    _coordinate(catalog, champion)


def _coordinate(catalog: Catalog, champion: LoadedVersion) -> None:
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, JobKind.SCORE_POOL).id)
    if job is None:
        raise RuntimeError("the job of the scoring was taken by somebody else")
    context = JobContext(catalog, job)
    coordinate(context, champion.version.version)
    _finish(context)


def _claimed_shard(catalog: Catalog) -> JobContext | None:
    with catalog.database.write() as session:
        waiting = session.query(Job.id).filter_by(kind=JobKind.SCORE_SHARD, state=JobState.QUEUED).first()
        job = jobs.claim(session, waiting[0]) if waiting else None
    return JobContext(catalog, job) if job else None


def _finish(context: JobContext) -> None:
    with context.catalog.database.write() as session:
        jobs.finish(session, context.job_id, context.attempt)


def check_shards(catalog: Catalog, version: int, pixels: int) -> None:
    """Plan a scoring, and check that it has two shards for each of two workers.

    Args:
        catalog: The catalog.
        version: The model version that scores.
        pixels: About the size of a shard.

    Raises:
        ValueError: It has fewer shards.
    """
    with catalog.write() as session:
        scoring = scorings.find_or_open(session, version, catalog.settings)
        sharding.plan(session, scoring, pixels, 1.0)
        found = len(scorings.shards_of(session, scoring))
    if found < LEAST_SHARDS:
        raise ValueError(
            f"found {found} shards of about {pixels} pixels in the scene, expected at least {LEAST_SHARDS}; "
            "choose a larger --size"
        )


def measure_overhead(catalog: Catalog, passes: int, rounds: int, seeds: "itertools.count[int]") -> Seconds:
    """Return the seconds of the passes alone and of everything, in each round."""
    torch.set_num_threads(1)
    champion = load_champion(catalog)
    if champion is None:
        raise RuntimeError("a champion was promoted, but none is served")
    check_shards(catalog, champion.version.version, SHARD_PIXELS[champion.segmenter.device.type])
    with catalog.read() as session:
        scene = session.query(Scene).one()
    methods: dict[str, Callable[[], object]] = {
        ALONE: passes_alone(catalog, champion, scene, passes),
        EVERYTHING: partial(all_jobs, catalog, champion, seeds),
    }
    return take_turns(methods, rounds)


def measure_workers(running: System, rounds: int, seeds: "itertools.count[int]") -> Seconds:
    """Return the seconds of a scoring by each set-up of workers, in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in SET_UPS}
    for _, (name, workers) in itertools.product(range(rounds), SET_UPS.items()):
        seed = next(seeds)
        with running.workers(workers, seed):
            with running.catalog.write() as session:
                jobs.enqueue(session, JobKind.SCORE_POOL)
            wait(partial(_is_scored, running.catalog, seed), "the scoring")
        with running.catalog.read() as session:
            newest = scorings.newest(session)
        if newest is None or newest.seconds is None:
            raise RuntimeError(f"the scoring with the seed {seed} is complete, but its seconds are not stored")
        seconds[name].append(newest.seconds)
        print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    return seconds


def _is_scored(catalog: Catalog, seed: int) -> bool:
    with catalog.read() as session:
        newest = scorings.newest(session)
        failed = session.query(Job).filter_by(state=JobState.FAILED).first()
    if failed is not None:
        raise RuntimeError(f"{failed.key} failed: {failed.error}")
    return newest is not None and newest.seed == seed


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--size", type=int, default=3072, help="side of the scene, pixels")
    made.add_argument("--passes", type=int, default=20)
    made.add_argument("--rounds", type=int, default=3)
    return made


def main() -> None:
    """Measure, print the table, write the report."""
    given = parser().parse_args()
    restart_with_kept_memory("scene_scoring")
    os.environ["GLACIER_AL_MC_PASSES"] = str(given.passes)
    os.environ["GLACIER_AL_MC_SHORTLIST_SHARE"] = "1"
    seeds = itertools.count()
    with tempfile.TemporaryDirectory() as folder, system(Path(folder)) as running:
        add_pool(running.catalog, given.size)
        seconds = measure_overhead(running.catalog, given.passes, given.rounds, seeds)
        seconds |= measure_workers(running, given.rounds, seeds)
    rows = [
        {"what": name, "seconds": statistics.median(taken), "all": [round(value, 1) for value in taken]}
        for name, taken in seconds.items()
    ]
    ratio, spread = times_as_fast(seconds, TWO, ONE)
    found = comparisons(seconds)
    print(markdown(rows))
    print(f"\nTwo workers are {ratio:.2f} times as fast as one")
    print("\n".join(f"{what}: {value:.2f}" for what, value in found.items()))
    publish(Result("scene_scoring", rows, ONE, ratio, spread, [0], {**vars(given), **found}))


def comparisons(seconds: Seconds) -> dict[str, float]:
    """Return further ratios beside the headline: medians of the ratios within each round."""
    return {
        "everything, over the passes alone": times_as_fast(seconds, ALONE, over=EVERYTHING)[0],
        "one worker of one thread, over the passes alone": times_as_fast(seconds, ALONE, over=ONE)[0],
        "two threads, times as fast as one": times_as_fast(seconds, THREADS, over=ONE)[0],
        "one worker with a screening pass, times as fast": times_as_fast(seconds, ONE_SCREENING, over=ONE)[0],
        "two workers with a screening pass, times as fast": times_as_fast(seconds, TWO_SCREENING, over=TWO)[0],
    }


if __name__ == "__main__":
    main()
