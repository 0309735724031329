"""Do a few strokes mend a patch? Mending by strokes and clicks compared with the brush, by a simulated annotator.

``python -m benchmarks.strokes [--seeds N] [--labels N] [--patches N]``

Eight regions: Everest with its western, eastern, northern or southern strip held out, and four synthetic scenes. In each
the demo's network learns from random patches with ice, and predicts patches of the strip; those with more than 3 % of
their pixels wrong are mended. Results of a region and seed are kept as files below ``var/bench/strokes``, so that an
interrupted run goes on. Prints the tables of ``docs/benchmarks.md``.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from benchmarks.report import BENCH, Result, publish
from benchmarks.simulated_strokes import Kind, Mend, Session, draw_session
from catalog.settings import Settings
from cli.demo import DEMO_SETTINGS
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
WRONG_SHARE: Final = 0.03  # below, a patch has reached the higher target as it is proposed
MIN_ICE_SHARE: Final = 0.01
STRIP_PX: Final = 192
MOST_STROKES: Final = {PATCH_PX: 40, LARGE_PX: 60}
MOST_BRUSH_STROKES: Final = 400
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

    bands: NDArray[np.float32]
    features: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    truth: NDArray[np.uint8]

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The most probable class of each pixel."""
        return self.probabilities.argmax(axis=0).astype(np.uint8)


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


def trees(case: Case, strokes: list[Stroke], anchors: int = 300) -> NDArray[np.uint8]:
    """Classify by 30 extremely randomised trees on features, bands and place, anchored in the network's opinion."""
    height, width = case.truth.shape
    place = np.indices((height, width), dtype=np.float32)
    columns = np.concatenate([case.features, np.nan_to_num(case.bands), place]).reshape(-1, height * width).T
    drawn = np.full((height, width), -1)
    for stroke in strokes:
        drawn[tuple(stroke.pixels.T)] = stroke.value
    at = np.flatnonzero(drawn.ravel() >= 0)
    rest = np.flatnonzero(drawn.ravel() < 0)
    anchored = np.random.default_rng(0).choice(rest, min(anchors, len(rest)), replace=False)
    values = np.concatenate([drawn.ravel()[at], case.shown.ravel()[anchored]])
    forest = ExtraTreesClassifier(30, random_state=0).fit(columns[np.concatenate([at, anchored])], values)
    predicted: NDArray[np.uint8] = forest.predict(columns).astype(np.uint8).reshape(height, width)
    return predicted


FORMS: Final[dict[str, tuple[Kind, Form | None]]] = {
    "strokes, brush only": ("stroke", None),
    "strokes, trees on features, bands, place": ("stroke", trees),
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
        yield Region(f"Everest, {name}", source, truth, source.band_names, pool, test)
    for seed, (clean, debris, cloud) in SYNTHETIC.items():
        files = write_scene(
            folder / f"synthetic-{seed}", 1024, 1536, seed, SyntheticOptions(Shares(clean, debris, cloud))
        )
        source = describe(files.bands, dem=files.dem)
        with rasterio.open(files.truth) as dataset:
            truth = dataset.read(1)
        channels = (*(name for name in source.band_names if name != "pan"), "elevation", "slope")
        yield Region(f"synthetic {seed}", source, truth, channels, Window(0, 0, 1024, 512), Window(0, 512, 1024, 1024))


def train(region: Region, settings: Settings, labels: int, seed: int) -> GlacierSegmenter:
    """Train a network on random patches of the pool that have ice."""
    windows = [
        window for window in tiles(region.pool, PATCH_PX) if ice_share(region.truth[window.slices]) > MIN_ICE_SHARE
    ]
    chosen = [windows[i] for i in np.random.default_rng(seed).permutation(len(windows))[:labels]]
    statistics = channel_statistics([(region.source, [region.pool])], region.channels)
    network = fresh_network(settings, region.channels, statistics, seed, GLACIER_SCHEME.ranked)
    with SceneReader(region.source) as reader:
        images = [read_batch(reader, region.channels, [window])[0] for window in chosen]
    masks = [torch.from_numpy(region.truth[window.slices]) for window in chosen]
    config = replace(training_config(settings, seed), precision="float32")
    fit(network, list(zip(images, masks, strict=True)), config, torch.device("cpu"), UNKNOWN)
    return network.eval()


def cases(region: Region, network: GlacierSegmenter, size: int, seed: int) -> Iterator[Case | None]:
    """Yield the patches of the test ground in random order; None for one that is right enough as it is proposed."""
    windows = tiles(region.test, size)
    with SceneReader(region.source) as reader:
        for i in np.random.default_rng(seed).permutation(len(windows)):
            raw = read_batch(reader, region.channels, [windows[i]])
            with torch.no_grad():
                features, logits = network.features_and_logits(raw)
                probabilities = network.to_probabilities(logits)
            found = (raw, features, probabilities)
            case = Case(*(maps[0].numpy() for maps in found), truth=region.truth[windows[i].slices])
            judged = case.truth != UNKNOWN
            yield case if judged.any() and (case.shown != case.truth)[judged].mean() > WRONG_SHARE else None


def tiles(part: Window, size: int) -> list[Window]:
    """Return the windows of some size that cover a part of a scene."""
    windows = tile(part.width, part.height, size)
    return [Window(part.row_off + item.row_off, part.col_off + item.col_off, size, size) for item in windows]


def ice_share(truth: NDArray[np.uint8]) -> float:
    """Return the share of ice among all pixels."""
    return float(((truth != BACKGROUND) & (truth != UNKNOWN)).mean())


def mended(case: Case, size: int) -> dict[str, Any]:
    """Let the annotator mend a patch in every form; return the sessions and what the exact brush takes."""
    names = FORMS if size == PATCH_PX else LARGE_FORMS
    sessions = {}
    for name in names:
        kind, form = FORMS[name]
        most = MOST_BRUSH_STROKES if form is None else MOST_STROKES[size]
        mend: Mend | None = None if form is None else partial(form, case)
        sessions[name] = asdict(draw_session(case.shown, case.truth, mend, kind, most, max(TARGETS)))
    empty = (case.truth != BACKGROUND) & (case.truth != UNKNOWN)
    return {"sessions": sessions, "ice": int(empty.sum())}


def run_region(region: Region, settings: Settings, labels: int, seed: int, patches: int) -> dict[str, Any]:
    """Return the results of one region and seed, for both sizes of patches."""
    network = train(region, settings, labels, seed)
    result: dict[str, Any] = {"region": region.name, "seed": seed, "labels": labels, "patches": []}
    sizes = {PATCH_PX: patches}
    if min(region.test.height, region.test.width) >= LARGE_PX:
        sizes[LARGE_PX] = 1
    for size, wanted in sizes.items():
        seen = 0
        for case in cases(region, network, size, seed):
            seen += 1
            if case is not None:
                result["patches"].append({"size": size, **mended(case, size)})
            if sum(item["size"] == size for item in result["patches"]) == wanted:
                break
        result[f"patches of {size} px looked at"] = seen
    return result


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
    return empty / corrected


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=2)
    made.add_argument("--labels", type=int, default=12, help="patches that the network has learnt from")
    made.add_argument("--patches", type=int, default=8, help="patches of 64 px mended in each region and seed")
    return made


def main() -> None:
    """Run what no file holds yet, print the tables, write the report."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    settings = Settings(**DEMO_SETTINGS)  # type: ignore[arg-type]  # strings, as from the environment
    FOLDER.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results = []
    grounds = list(regions(FOLDER))
    for seed in range(arguments.seeds):
        for region in grounds:
            name = (
                f"{region.name.replace(', ', '-').replace(' ', '-')}-{arguments.labels}-{seed}-{arguments.patches}.json"
            )
            if not (FOLDER / name).exists():
                found = run_region(region, settings, arguments.labels, seed, arguments.patches)
                (FOLDER / name).write_text(json.dumps(found))
                print(f"{name} after {time.monotonic() - started:.0f} s", flush=True)
            results.append(json.loads((FOLDER / name).read_text()))
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
