"""Export the outlines of a scene as GLIMS and RGI take them, from what experts drew and what the champion predicts."""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.records import Label, Scene, now
from catalog.registry import ModelVersion
from imagery.classes import UNKNOWN
from imagery.errors import ExportError
from imagery.glims import DEBRIS, LAKES, ClassMapping, LineType
from imagery.glims_check import check_submission
from imagery.glims_findings import Finding
from imagery.glims_layers import (
    Analysis,
    Image,
    Layer,
    submission_layers,
    write_geopackage,
    write_shapefiles,
)
from imagery.glims_outlines import GlacierOutlines, outline_glaciers
from imagery.glims_uncertainty import (
    Precision,
    geolocation_error_m,
    measure_precision,
    smoothing_shift,
)
from imagery.grid import Grid
from imagery.ground_metric import pixel_size_m
from imagery.masks import mask_from_geotiff
from imagery.outline_table import TerrainStrip, terrain_statistics
from imagery.polygons import mask_to_polygons
from imagery.smoothing import smoothing_error
from services.class_scheme import class_scheme
from services.delivered_areas import delivered_areas
from services.delivery import delivery_options, prediction_keys
from services.export_folder import ExportFolder, export_folder
from services.glims_intervals import glims_intervals
from services.glims_lineage import Lineage, compose_lineage, is_ice, standing_labels
from services.glims_request import AnalystNames, GlimsRequest, Prediction, class_mapping, image_of
from services.glims_text import Making, long_description, short_description
from services.places import raster_store
from services.scenes import source_of, strips_of
from services.version_figures import figures_of

KIND: Final = "glims"
PROCESSING: Final = "processing.txt"
_LABEL_BITS: Final = 16  # of the numbers in `Lineage.label`


@dataclass(frozen=True)
class Submission:
    """What was written.

    Attributes:
        making: How, and how much.
        layers: Number of features by layer.
        findings: What the check found.
        labels: The labels that it was made of, oldest first.
    """

    making: Making
    layers: dict[str, int]
    findings: list[Finding]
    labels: Sequence[Label]


def export_glims(
    catalog: Catalog,
    scene: Scene,
    target: Path,
    request: GlimsRequest,
    software: str,
    prediction: Prediction | None,
    terrain: Iterable[TerrainStrip] | None,
) -> Submission:
    """Write the outlines of a scene into a folder, and check them.

    Args:
        catalog: The catalog.
        scene: The scene.
        target: A folder that is new, empty, or an earlier export of this kind.
        request: What the user states.
        software: Name and version of this program.
        prediction: The champion's map; None if there is none, or if only what experts drew is wanted.
        terrain: Elevation and slope of the scene, in strips from north to south.

    Raises:
        ExportError: There is neither a prediction nor a label, something that GLIMS needs is not known, or the folder
            holds something else.
        StoreError: A mask is not in the store.
        SceneError: A mask or the terrain cannot be read.
        OutlineError: The smoothing is negative or not finite.
    """
    scheme, grid = class_scheme(catalog), source_of(scene).grid
    with catalog.read() as session:
        labels = standing_labels(session, scene.id, simulated=request.simulated, waiting=request.waiting)
    if prediction is None and not labels:
        raise ExportError(f"{scene.name}: found neither a predicted map nor a label of an expert; expected one of them")
    image, is_name = image_of(scene, request)
    predicted_classes = prediction.class_names if prediction else ()
    mapping = class_mapping(scheme, predicted_classes, request.line_types or {})
    drawn = (prediction.classes, prediction.class_names) if prediction else None
    lineage = compose_lineage(grid, labels, raster_store(catalog), scheme, mapping, drawn)
    codes = lineage.combined()
    precision = _precision(lineage, codes, request.smoothing_px)  # before outlining, which needs more memory
    outlines = outline_glaciers(
        codes,
        grid,
        smoothing_px=request.smoothing_px,
        min_area_km2=request.min_area_km2,
        inventory=request.inventory.glaciers,
        window=request.window,
    )
    if not len(outlines.wgs84):
        raise ExportError(
            f"{scene.name}: found no glacier of at least {request.min_area_km2:g} km2, but {outlines.dropped} smaller "
            "ones; expected one: state a smaller least area, if they are wanted"
        )
    share, of_glacier = _judged(lineage, outlines, grid)
    names = AnalystNames(catalog, request, prediction)
    predicted = prediction.outlines if prediction else None
    glacier_areas, other_areas = glims_intervals(predicted, mapping, outlines, share, grid)
    intervals = sum(area is not None for area in glacier_areas)
    days = _analysed(labels, of_glacier, share, prediction)
    making = _making(
        scene, request, software, prediction, lineage, outlines, share, precision, mapping, image, is_name, intervals
    )
    analysis = Analysis(
        day=max(days),
        analysts=names.of_session(labels),
        process=short_description(making),
        model_version=prediction.version if prediction else None,
        software=software,
        loc_unc_m=precision.local_px(share)[:, None] * np.array(making.pixel_m),
        glob_unc_m=making.geolocation_m,
        expert_share=share,
        glacier_areas=glacier_areas,
        other_areas=other_areas,
        analysts_of=[names.of_glacier([labels[index] for index in indices], labels) for indices in of_glacier],
        day_of=days,
    )
    statistics = None if terrain is None else terrain_statistics(terrain, list(outlines.pixels), grid)
    layers = submission_layers(outlines, image, analysis, scene.name, statistics)
    counts = {name: len(layer.geometries) for name, layer in layers.items()}
    _write(target, scene, software, layers, long_description(making, names.listed(labels), counts), prediction)
    return Submission(making, counts, check_submission(target), labels)


def delivered_prediction(catalog: Catalog, scene: Scene, version: ModelVersion) -> Prediction:
    """Return the map of a scene by a version, which is stored.

    Raises:
        StoreError: The scene has not been predicted by this version.
        SceneError: The map cannot be read, or has not the scene's size.
    """
    figures = figures_of(version)
    key = prediction_keys(scene, version.version, delivery_options(catalog.settings))["tif"]
    classes = mask_from_geotiff(raster_store(catalog).get(key), class_scheme(catalog), source_of(scene).grid)
    outlines = delivered_areas(catalog, scene, version.version).outlines
    return Prediction(version.version, figures.class_names, classes, figures.labels, outlines)


def _precision(lineage: Lineage, codes: NDArray[np.uint8], smoothing_px: float) -> Precision:
    shift = 0.0
    if smoothing_px > 0:
        ice = is_ice(codes)
        values = [1]
        mask = ice.astype(np.uint8)
        error = smoothing_error(mask, mask_to_polygons(mask, values, smoothing_px=smoothing_px), values)
        shift = smoothing_shift(error.changed_share * mask.size, ice, codes != UNKNOWN)
    both = lineage.judged & (lineage.predicted != UNKNOWN)
    return measure_precision(is_ice(lineage.predicted), is_ice(lineage.drawn), both, shift)


def _judged(lineage: Lineage, outlines: GlacierOutlines, grid: Grid) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Return the share of each glacier that experts judged, and the indices of their labels."""
    count = len(outlines.wgs84) + 1
    pixels, judged = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    pairs: set[tuple[int, int]] = set()
    for strip in strips_of(grid):  # counting widens its input to eight bytes a pixel
        owner, label = outlines.owner[strip.slices], lineage.label[strip.slices]
        pixels += np.bincount(owner.ravel(), minlength=count)
        inside = (owner > 0) & (label > 0)
        judged += np.bincount(owner[inside], minlength=count)
        found = np.unique(owner[inside].astype(np.int64) << _LABEL_BITS | label[inside])
        pairs.update(zip((found >> _LABEL_BITS).tolist(), (found % (1 << _LABEL_BITS)).tolist(), strict=True))
    of_glacier: list[list[int]] = [[] for _ in outlines.wgs84]
    for number, index in sorted(pairs):
        of_glacier[number - 1].append(index - 1)
    return judged[1:] / np.maximum(pixels[1:], 1), of_glacier


def _making(
    scene: Scene,
    request: GlimsRequest,
    software: str,
    prediction: Prediction | None,
    lineage: Lineage,
    outlines: GlacierOutlines,
    share: NDArray[np.float64],
    precision: Precision,
    mapping: ClassMapping,
    image: Image,
    is_name: bool,
    intervals: int,
) -> Making:
    product_id = (scene.product or {}).get("product_id")
    stated = geolocation_error_m(scene.sensor, image.orig_id) or geolocation_error_m(scene.sensor, product_id)
    divided = [glacier for glacier in outlines.inventory if glacier is not None]
    of_model = {mapping.line_types.get(name) for name in prediction.class_names[1:]} if prediction else set()
    return Making(
        scene=scene.name,
        image_id=image.orig_id,
        is_name=is_name,
        software=software,
        version=prediction.version if prediction else None,
        trained_on=prediction.trained_on if prediction else 0,
        labels=len(lineage.labels),
        simulated=sum(label.simulated for label in lineage.labels),
        waiting=request.waiting,
        expert_share=float((share * outlines.area_km2).sum() / outlines.area_km2.sum()),
        mapping=mapping,
        tells_debris=prediction is None or LineType.DEBRIS in of_model,
        smoothing_px=request.smoothing_px,
        pixel_m=pixel_size_m(source_of(scene).grid),
        precision=precision,
        geolocation_m=stated if request.geolocation_m is None else request.geolocation_m,
        geolocation_source=f"as the provider states it for {scene.sensor}"
        if request.geolocation_m is None
        else "stated",
        min_area_km2=request.min_area_km2,
        glaciers=len(outlines.wgs84),
        area_km2=float(outlines.area_km2.sum()),
        dropped=outlines.dropped,
        dropped_km2=outlines.dropped_km2,
        at_edge=int(outlines.touches_edge.sum()),
        inventory=request.inventory_name,
        inventory_notes=request.inventory.notes,
        of_inventory=sum(glacier.has_id or glacier.glims_id is not None for glacier in divided),
        without_id=sum(not glacier.has_id and glacier.glims_id is None for glacier in divided),
        intervals=intervals,
    )


def _analysed(
    labels: Sequence[Label],
    of_glacier: Sequence[Sequence[int]],
    share: NDArray[np.float64],
    prediction: Prediction | None,
) -> list[date]:
    """Return the day on which each glacier was analysed: today if the model drew a part of it, else that of its labels.

    The newest label counts, since the outline is not older than its newest part.
    """
    today = now().date()
    newest = max((label.annotated_at.date() for label in labels), default=today)
    drawn = [[labels[index].annotated_at.date() for index in indices] for indices in of_glacier]
    return [
        max(days, default=newest) if prediction is None or judged == 1 else today
        for days, judged in zip(drawn, share.tolist(), strict=True)
    ]


def _write(
    target: Path, scene: Scene, software: str, layers: dict[str, Layer], text: str, prediction: Prediction | None
) -> None:
    about = {
        "scene": scene.name,
        "software": software,
        "created_at": now().isoformat(timespec="seconds"),
        "model_version": prediction.version if prediction else None,
        "has_debris": DEBRIS in layers,
        "has_lakes": LAKES in layers,
    }
    with export_folder(target, KIND, about) as folder:
        _write_layers(folder, layers)
        folder.write_text(PROCESSING, text)


def _write_layers(folder: ExportFolder, layers: dict[str, Layer]) -> None:
    """Write the layers in both formats into a folder."""
    # pyogrio misreads "!" and ";" in a path, and only for reading is there another way (see `imagery.paths`).
    with tempfile.TemporaryDirectory() as directory:
        write_shapefiles(Path(directory), layers)
        write_geopackage(Path(directory), layers)
        for path in sorted(Path(directory).iterdir()):
            shutil.move(path, folder.path / path.name)
            folder.note(path.name)
