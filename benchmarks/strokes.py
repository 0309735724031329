"""Do a few strokes mend a patch? Mending by strokes and clicks compared with the brush, by a simulated annotator.

``python -m benchmarks.strokes [--seeds N] [--labels N] [--patches N] [--large N]``

Eight regions: Everest with its western, eastern, northern or southern strip held out, and four synthetic scenes. In
each the demo's network learns from random patches with ice, and predicts random patches of the strip; those with less
than 3 % of their pixels wrong are left out. The predictions of a region and seed are kept below ``var/bench/strokes``,
and so is the result of each patch: an interrupted run goes on. Prints the tables of ``docs/benchmarks.md``.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from benchmarks.report import BENCH, Result, publish
from catalog.settings import Settings
from cli.demo import DEMO_SETTINGS
from experiments.simulated_strokes import Kind, Mend, Session, draw_session
from imagery import everest
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.grid import Window, tile
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_surface import Shares
from models.segmenter import GlacierSegmenter
from models.strokes import Stroke, as_probabilities, repaint
from models.training import fit
from workers.recipe import fresh_network, training_config
from workers.windows import read_batch

FOLDER: Final = BENCH / "strokes"
TARGETS: Final = (0.9, 0.97)
PATCH_PX: Final = 64
LARGE_PX: Final = 512
KEPT: Final = {PATCH_PX: 14, LARGE_PX: 2}  # most patches kept of a region and seed
WRONG_SHARE: Final = 0.03  # below, a patch has reached the higher target as it is proposed
MIN_ICE_SHARE: Final = 0.01
STRIP_PX: Final = 192
MOST_STROKES: Final = 40
MOST_BRUSH_STROKES: Final = 150
SYNTHETIC: Final = {11: (0.218, 0.024, 0.034), 12: (0.30, 0.10, 0.03), 13: (0.12, 0.012, 0.02), 14: (0.08, 0.03, 0.10)}
"""Seed of a synthetic scene to its shares of clean ice, debris-covered ice and cloud."""


@dataclass(frozen=True)
class Region:
    """A scene with its true classes (H, W), and which parts of it train and test a network."""

    name: str
    source: SceneSource
    truth: NDArray[np.uint8]
    channels: Sequence[str]
    pool: Window
    test: Window


@dataclass(frozen=True)
class Case:
    """A patch as a network sees it: bands and features (C, h, w), probabilities (K, h, w) and truth (h, w)."""

    bands: NDArray[np.float16]
    features: NDArray[np.float16]
    probabilities: NDArray[np.float16]
    truth: NDArray[np.uint8]

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The most probable class of each pixel."""
        shown: NDArray[np.uint8] = self.probabilities.argmax(axis=0).astype(np.uint8)
        return shown

    @property
    def wrong_share(self) -> float:
        """Share of the judged pixels that are shown wrongly; 0 if none can be judged."""
        judged = self.truth != UNKNOWN
        return float((self.shown != self.truth)[judged].mean()) if judged.any() else 0.0


Form = Callable[[Case, list[Stroke]], NDArray[np.uint8]]


def process(case: Case, strokes: list[Stroke]) -> NDArray[np.uint8]:
    """Repaint by place and bands."""
    return repaint([case.bands], case.probabilities, strokes)


def process_with_features(case: Case, strokes: list[Stroke]) -> NDArray[np.uint8]:
    """Repaint by place, bands and the features of the network."""
    return repaint([case.features, case.bands], case.probabilities, strokes)


def process_of_shown(case: Case, strokes: list[Stroke]) -> NDArray[np.uint8]:
    """Repaint by place and bands from the class map alone, as the server does for Label Studio."""
    return repaint([case.bands], as_probabilities(case.shown, len(case.probabilities)), strokes)


FORMS: Final[dict[str, tuple[Kind, Form | None]]] = {
    "strokes, brush only": ("stroke", None),
    "strokes, Gaussian process on features, bands, place": ("stroke", process_with_features),
    "strokes, Gaussian process on bands, place": ("stroke", process),
    "clicks, Gaussian process on bands, place": ("click", process),
    "clicks, the same from the class map alone": ("click", process_of_shown),
}
LARGE_FORMS: Final = (
    "strokes, brush only",
    "strokes, Gaussian process on bands, place",
    "clicks, the same from the class map alone",
)


def regions(folder: Path) -> Iterator[Region]:
    """Yield the eight regions; files are written to a folder."""
    scene = everest.prepare(folder / "everest")
    source = describe(scene.bands)
    truth = rasterize_outlines(scene.outlines, source.grid, GLACIER_SCHEME)
    height, width = truth.shape
    far = STRIP_PX + 8
    strips = {
        "west": (Window(0, 0, height, STRIP_PX), Window(0, far, height, width - far)),
        "east": (Window(0, width - STRIP_PX, height, STRIP_PX), Window(0, 0, height, width - far)),
        "north": (Window(0, 0, STRIP_PX, width), Window(far, 0, height - far, width)),
        "south": (Window(height - STRIP_PX, 0, STRIP_PX, width), Window(0, 0, height - far, width)),
    }
    for name, (test, pool) in strips.items():
        yield Region(f"everest-{name}", source, truth, source.band_names, pool, test)
    for seed, (clean, debris, cloud) in SYNTHETIC.items():
        files = write_scene(
            folder / f"synthetic-{seed}", 1024, 1536, seed, SyntheticOptions(Shares(clean, debris, cloud))
        )
        source = describe(files.bands, dem=files.dem)
        with rasterio.open(files.truth) as dataset:
            truth = dataset.read(1)
        channels = (*(name for name in source.band_names if name != "pan"), "elevation", "slope")
        yield Region(f"synthetic-{seed}", source, truth, channels, Window(0, 0, 1024, 512), Window(0, 512, 1024, 1024))


def predict(region: Region, settings: Settings, labels: int, seed: int) -> dict[str, NDArray[Any]]:
    """Train a network on random patches of the pool that have ice, and predict patches of the test ground.

    Returns:
        Arrays of the patches that are wrong enough, named ``<size>-<number>-<name>``.
    """
    drawn = np.random.default_rng(seed)
    with_ice = [item for item in tiles(region.pool, PATCH_PX) if ice_share(region.truth[item.slices]) > MIN_ICE_SHARE]
    chosen = [with_ice[i] for i in drawn.permutation(len(with_ice))[:labels]]
    statistics = channel_statistics([(region.source, [region.pool])], region.channels)
    network = fresh_network(settings, tuple(region.channels), statistics, seed, GLACIER_SCHEME.ranked)
    windows = tiles(region.test, PATCH_PX)
    shuffled = [windows[i] for i in drawn.permutation(len(windows))]
    large = tiles(region.test, LARGE_PX) if min(region.test.height, region.test.width) >= LARGE_PX else []
    with SceneReader(region.source) as reader:
        read = partial(read_batch, reader, region.channels)
        patches = [(read([item])[0], torch.from_numpy(region.truth[item.slices])) for item in chosen]
        config = replace(training_config(settings, seed), precision="float32")
        fit(network, patches, config, torch.device("cpu"), UNKNOWN)
        network.eval()
        small = [_case(network, read([item]), region.truth[item.slices]) for item in shuffled[: 2 * KEPT[PATCH_PX]]]
        big = [_case(network, read([item]), region.truth[item.slices]) for item in large]
    arrays: dict[str, NDArray[Any]] = {}
    for size, found in ((PATCH_PX, small), (LARGE_PX, big)):
        kept = [case for case in found if case.wrong_share > WRONG_SHARE][: KEPT[size]]
        for number, case in enumerate(kept):
            arrays |= {f"{size}-{number}-{field.name}": getattr(case, field.name) for field in fields(Case)}
    return arrays


def _case(network: GlacierSegmenter, raw: torch.Tensor, truth: NDArray[np.uint8]) -> Case:
    """Return what a network sees in a patch (1, C, h, w)."""
    height, width = truth.shape
    with torch.no_grad():
        bands = network.network_input(raw)[0, :, :height, :width]
        features, logits = network.features_and_logits(raw)
        probabilities = network.to_probabilities(logits)
    halves = [maps.numpy().astype(np.float16) for maps in (bands, features[0], probabilities[0])]
    return Case(halves[0], halves[1], halves[2], truth)


def tiles(part: Window, size: int) -> list[Window]:
    """Return the windows of some size that cover a part of a scene."""
    windows = tile(part.width, part.height, size)
    return [Window(part.row_off + item.row_off, part.col_off + item.col_off, size, size) for item in windows]


def ice_share(truth: NDArray[np.uint8]) -> float:
    """Return the share of ice among all pixels."""
    return float(((truth != BACKGROUND) & (truth != UNKNOWN)).mean())


def mended(case: Case, size: int) -> dict[str, Any]:
    """Let the annotator mend a patch in every form; return the sessions and the number of pixels with ice."""
    sessions = {}
    for name in FORMS if size == PATCH_PX else LARGE_FORMS:
        kind, form = FORMS[name]
        most = MOST_BRUSH_STROKES if form is None else MOST_STROKES
        mend: Mend | None = None if form is None else partial(form, case)
        session, _ = draw_session(case.shown, case.truth, mend, kind, most, max(TARGETS))
        sessions[name] = asdict(session)
    ice = (case.truth != BACKGROUND) & (case.truth != UNKNOWN)
    return {"size": size, "sessions": sessions, "ice": int(ice.sum())}


def stored(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result in a JSON file, which is computed and written if it is missing."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(compute()), encoding="utf-8")
        part.rename(path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def run_region(region: Region, settings: Settings, labels: int, seed: int, wanted: dict[int, int]) -> dict[str, Any]:
    """Return the results of some patches of each size, of one region and seed."""
    name = f"{region.name}-{labels}-{seed}"
    file = FOLDER / f"{name}.npz"
    if not file.exists():
        np.savez(file, allow_pickle=False, **predict(region, settings, labels, seed))
    patches = []
    with np.load(file) as arrays:
        for size, number in ((size, number) for size, most in wanted.items() for number in range(most)):
            prefix = f"{size}-{number}-"
            if f"{prefix}truth" in arrays:
                case = Case(**{field.name: arrays[prefix + field.name] for field in fields(Case)})
                patches.append(stored(FOLDER / f"{name}-{size}-{number}.json", partial(mended, case, size)))
    return {"region": region.name, "patches": patches}


def table(results: Sequence[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Return a row for each form: effort relative to the exact brush, by region first, then over regions."""
    rows = []
    for name in FORMS if size == PATCH_PX else LARGE_FORMS:
        row: dict[str, Any] = {"patch px": size, "form": name}
        for right in TARGETS:
            per_region = _per_region(results, size, name, right)
            ratios = [sum(drawn for drawn, *_ in items) / sum(exact for *_, exact in items) for items in per_region]
            strokes = [statistic for items in per_region for _, statistic, _, _ in items]
            sufficed = [enough for items in per_region for _, _, enough, _ in items]
            row |= {
                f"drawn / exact brush, {right:.0%}": float(np.mean(ratios)),
                f"lowest region, {right:.0%}": min(ratios),
                f"highest region, {right:.0%}": max(ratios),
                f"median strokes, {right:.0%}": float(np.median(strokes)),
                f"strokes sufficed, {right:.0%}": float(np.mean(sufficed)),
            }
        rows.append(row)
    return rows


def _per_region(
    results: Sequence[dict[str, Any]], size: int, name: str, right: float
) -> list[list[tuple[float, int, bool, float]]]:
    """Return drawn pixels, strokes, whether they sufficed, and pixels of the exact brush, of each patch by region.

    Left out are patches that are right enough as they are proposed.
    """
    found: dict[str, list[tuple[float, int, bool, float]]] = {}
    for result in results:
        for patch in result["patches"]:
            session = Session(**patch["sessions"][name]) if patch["size"] == size else None
            if session is None:
                continue
            exact = session.errors[0] - (1 - right) * session.judged
            if exact > 0:
                found.setdefault(result["region"], []).append((*session.effort(right), exact))
    return list(found.values())


def from_nothing(results: Sequence[dict[str, Any]], size: int, right: float) -> float:
    """Return the pixels that the exact brush paints from an empty mask, relative to correcting the proposal."""
    patches = [item for result in results for item in result["patches"] if item["size"] == size]
    sessions = [Session(**next(iter(item["sessions"].values()))) for item in patches]
    empty = sum(max(0.0, item["ice"] - (1 - right) * each.judged) for item, each in zip(patches, sessions, strict=True))
    corrected = sum(max(0.0, each.errors[0] - (1 - right) * each.judged) for each in sessions)
    return float(empty / corrected)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=2)
    made.add_argument("--labels", type=int, default=12, help="patches that the network has learnt from")
    made.add_argument("--patches", type=int, default=8, help="patches of 64 px in each region and seed")
    made.add_argument("--large", type=int, default=1, help="patches of 512 px in each synthetic region and seed")
    return made


def main() -> None:
    """Run what no file holds yet, print the tables, write the report."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    settings = Settings(**DEMO_SETTINGS)  # type: ignore[arg-type]  # strings, as from the environment
    FOLDER.mkdir(parents=True, exist_ok=True)
    grounds = list(regions(FOLDER))
    wanted = {PATCH_PX: arguments.patches, LARGE_PX: arguments.large}
    results = []
    for seed in range(arguments.seeds):
        for region in grounds:
            results.append(run_region(region, settings, arguments.labels, seed, wanted))
            print(f"{region.name}, seed {seed}: {len(results[-1]['patches'])} patches", flush=True)
    rows = [row for size in (PATCH_PX, LARGE_PX) for row in table(results, size)]
    for row in rows:
        print(
            "| "
            + " | ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values())
            + " |"
        )
    conditions = {
        "regions": len({result["region"] for result in results}),
        "patches": {
            size: sum(p["size"] == size for r in results for p in r["patches"]) for size in (PATCH_PX, LARGE_PX)
        },
        "labels": arguments.labels,
        "exact brush from an empty mask / correcting the proposal": {
            f"{right:.0%}": from_nothing(results, PATCH_PX, right) for right in TARGETS
        },
    }
    print(conditions)
    chosen = next(row for row in rows if row["form"] == "strokes, Gaussian process on bands, place")
    publish(
        Result(
            "strokes",
            rows,
            "painting exactly the wrong pixels, drawn pixels to 97 % right",
            chosen["drawn / exact brush, 97%"],
            (chosen["lowest region, 97%"], chosen["highest region, 97%"]),
            range(arguments.seeds),
            conditions,
        )
    )


if __name__ == "__main__":
    main()
