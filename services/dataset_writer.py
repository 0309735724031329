"""Writing the windows of a data set, one after another, with all that is known of each."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pystac import Item, MediaType
from shapely.geometry import mapping

from catalog.context import Catalog
from catalog.records import Label, Scene
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.grid import Grid
from imagery.masks import mask_to_geotiff
from imagery.polygons import mask_to_map_polygons
from imagery.projection import to_wgs84
from imagery.scene_reader import SceneReader
from imagery.window_files import image_to_geotiff, image_to_npy, mask_to_npy
from services import stac_items
from services.dataset_request import Form
from services.dataset_windows import SPLITS, LabelledWindow
from services.export_folder import ExportFolder
from services.places import raster_store
from services.pseudonyms import pseudonym
from services.scenes import source_of, window_of
from services.stac_items import FileFacts
from services.unit_rules import level_of, unit_of

SLICES: Final = "slices.geojson"
LABELS: Final = "labels.csv"
_DECIMALS: Final = 7  # of a degree: about a centimetre
_LABEL_COLUMNS: Final = (
    *("label_id", "window", "scene", "analyst", "simulated", "round", "strategy", "measure", "reason", "score"),
    *("annotated_at", "edited_px", "lead_time_s", "preannotated_by", "mask_sha256"),
)


@dataclass
class Tally:
    """What was written so far.

    Attributes:
        windows: Number of windows by part of the data set.
        pixels: Number of pixels by name of the class, unknown included.
        labels: The labels.
        simulated: How many of them a simulated annotator drew.
        analysts: Pseudonyms.
        scenes: Name and facts of each scene.
        items: Ids of the STAC items.
        footprints: GeoJSON geometries of the windows' extents, one a scene.
        times: First and last time of the images.
    """

    windows: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    simulated: int = 0
    analysts: set[str] = field(default_factory=set)
    scenes: list[dict[str, Any]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    footprints: list[Mapping[str, Any]] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)


class DatasetWriter:
    """Writes windows and what is known of each; a context manager that keeps two lists open meanwhile."""

    def __init__(
        self,
        catalog: Catalog,
        folder: ExportFolder,
        forms: Sequence[Form],
        scheme: ClassScheme,
        channels: Sequence[str],
    ) -> None:
        """Prepare to write.

        Args:
            catalog: The catalog.
            folder: The export.
            forms: The forms to write.
            scheme: The classes.
            channels: The channels of the images.
        """
        self.scheme = scheme
        self.channels = channels
        self.tally = Tally()
        self.sizes: dict[str, int] = {}
        self._catalog = catalog
        self._folder = folder
        self._forms = forms
        self._store = raster_store(catalog)

    def __enter__(self) -> Self:
        self._slices = (self._folder.path / SLICES).open("w", encoding="utf-8")
        self._slices.write('{"type": "FeatureCollection", "features": [')
        self._labels = (self._folder.path / LABELS).open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._labels)
        self._rows.writerow(_LABEL_COLUMNS)
        self._first = True
        return self

    def __exit__(self, *_: object) -> None:
        self._slices.write("\n]}\n")
        self._slices.close()
        self._labels.close()
        self._folder.note(SLICES)
        self._folder.note(LABELS)

    def scene(self, scene: Scene, windows: Sequence[LabelledWindow]) -> Iterator[None]:
        """Write the windows of a scene, yielding after each."""
        source = source_of(scene)
        units = {name: unit_of(source, name).unit for name in self.channels}
        bands = [name in source.band_names for name in self.channels]
        self.tally.footprints.append(mapping(source.grid.footprint_wgs84()))
        self.tally.scenes.append(
            {
                "name": scene.name,
                "split": SPLITS[scene.role],
                "sensor": scene.sensor,
                "acquired": scene.acquired,
                "crs": source.grid.crs,
                "level": level_of(source),
                "units": {name: str(unit_of(source, name)) for name in self.channels},
                "windows": len(windows),
            }
        )
        with SceneReader(source) as reader:
            for window in windows:
                place = window_of(window.patch)
                pixels = reader.read(self.channels, place)
                mask = window.mask(self._store, self.scheme)
                if any(bands):  # a pixel that no band shows whole cannot be learnt from; gaps in a DEM hide nothing
                    mask[np.isnan(pixels[bands]).any(axis=0)] = UNKNOWN
                self._window(window, source.grid.subgrid(place), pixels, mask, units)
                yield

    def _window(
        self,
        window: LabelledWindow,
        grid: Grid,
        pixels: NDArray[np.float32],
        mask: NDArray[np.uint8],
        units: Mapping[str, str],
    ) -> None:
        name, files = window.name, {}
        if Form.GEOTIFF in self._forms:
            files["image"] = f"geotiff/{window.split}/images/img_{name}.tif"
            files["mask"] = f"geotiff/{window.split}/masks/mask_{name}.tif"
            self._write(files["image"], image_to_geotiff(pixels, grid, self.channels, units))
            self._write(files["mask"], mask_to_geotiff(mask, grid, self.scheme))
        if Form.NPY in self._forms:
            files["image_npy"] = f"npy/{window.split}/images/img_{name}.npy"
            files["mask_npy"] = f"npy/{window.split}/masks/mask_{name}.npy"
            self._write(files["image_npy"], image_to_npy(pixels))
            self._write(files["mask_npy"], mask_to_npy(mask, len(self.scheme.classes)))
        counts = {item.name: int((mask == item.value).sum()) for item in self.scheme.legend}
        for key, count in counts.items():
            self.tally.pixels[key] = self.tally.pixels.get(key, 0) + count
        self.tally.windows[window.split] = self.tally.windows.get(window.split, 0) + 1
        facts = self._facts_of(window)
        self._slice(window, grid, counts, facts, files)
        for label in window.labels:
            self._label(window, label)
        if Form.STAC in self._forms:
            self._items(window, grid, mask, counts, facts, files, units)

    def _facts_of(self, window: LabelledWindow) -> dict[str, Any]:
        labels = window.labels
        return {
            "origin": window.origin,
            "labels": [label.id for label in labels],
            "analysts": sorted({pseudonym(self._catalog, label) for label in labels}),
            "rounds": sorted({label.proposal.round.id for label in labels if label.proposal.round}),
            "strategies": sorted({label.proposal.round.strategy for label in labels if label.proposal.round}),
            "annotated_at": max(label.annotated_at for label in labels).isoformat() if labels else None,
        }

    def _slice(
        self,
        window: LabelledWindow,
        grid: Grid,
        counts: Mapping[str, int],
        facts: Mapping[str, Any],
        files: Mapping[str, str],
    ) -> None:
        """Write the feature of a window: the slice metadata of LILA's HKH data set, with more about labels."""
        patch, scene = window.patch, window.patch.scene
        unknown = counts[self.scheme.unknown.name]
        judged = patch.size_px**2 - unknown
        means = {
            f"mask_mean_{channel}": counts[item.name] / judged if judged else None
            for channel, item in enumerate(self.scheme.classes[1:])
        }
        properties = {
            "id": window.name,
            "split": window.split,
            "role": scene.role.value,
            "img_source": scene.name,
            "sensor": scene.sensor,
            "timestamp": scene.acquired,
            "crs": grid.crs,
            "transform": list(grid.transform),
            "row_off": patch.row_off,
            "col_off": patch.col_off,
            "height": grid.height,
            "width": grid.width,
            **{key: files.get(key) for key in ("image", "mask")},
            "img_slice": files.get("image_npy"),
            "mask_slice": files.get("mask_npy"),
            **means,
            "unknown_share": unknown / patch.size_px**2,
            **facts,
        }
        geometry = mapping(grid.footprint_wgs84())
        feature = {"type": "Feature", "id": window.name, "properties": properties, "geometry": geometry}
        self._slices.write(("\n" if self._first else ",\n") + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        self._first = False

    def _label(self, window: LabelledWindow, label: Label) -> None:
        who, proposal, of_round = pseudonym(self._catalog, label), label.proposal, label.proposal.round
        asked = (of_round.id, of_round.strategy, of_round.measure) if of_round else (None, None, None)
        self.tally.labels.append(label)
        self.tally.simulated += label.simulated
        self.tally.analysts.add(who)
        self._rows.writerow(
            (
                *(label.id, window.name, window.patch.scene.name, who, label.simulated),
                *(*asked, proposal.reason.value),
                *(proposal.score, label.annotated_at.isoformat(), label.edited_px, label.lead_time_s),
                *(proposal.preannotated_by, label.mask_sha256),
            )
        )

    def _items(
        self,
        window: LabelledWindow,
        grid: Grid,
        mask: NDArray[np.uint8],
        counts: Mapping[str, int],
        facts: Mapping[str, Any],
        files: Mapping[str, str],
        units: Mapping[str, str],
    ) -> None:
        """Write the STAC items of a window and its labels, and the labels as polygons."""
        scene = window.patch.scene
        known = {"split": window.split, "scene": scene.name, **({"platform": scene.sensor} if scene.sensor else {})}
        item = stac_items.window_item(f"window-{window.name}", grid, scene.acquired, scene.registered_at, known)
        origin, methods = facts["origin"], {"outlines": ["manual"], "simulated": ["automated"]}
        labels = stac_items.label_item
        polygons = f"labels/{window.split}/labels_{window.name}.geojson"
        self._write(polygons, _polygons(mask, grid, self.scheme))
        about = FileFacts(self._folder.sha256, self.sizes)
        if "image" in files:
            asset = about.add(item, "image", files["image"], MediaType.GEOTIFF, ["data"], "Channels")
            stac_items.describe_image(asset, self.channels, units)
        if "image_npy" in files:
            asset = about.add(item, "image_npy", files["image_npy"], stac_items.NPY, ["data"], "Channels (h, w, C)")
            stac_items.describe_image(asset, self.channels, units)
        description = (
            f"Classes of every pixel, from {origin}; pixels outside all polygons are {self.scheme.background.name}"
        )
        stated = {
            "description": description,
            "methods": methods.get(origin, ["manual"]),
            "split": window.split,
            **facts,
        }
        label = labels(item, self.scheme, counts, stated)
        about.add(label, "labels", polygons, MediaType.GEOJSON, ["labels", "labels-vector"], "Polygons by class")
        if "mask" in files:
            mask_asset = about.add(label, "mask", files["mask"], MediaType.GEOTIFF, ["labels-raster"], "Label mask")
            stac_items.describe_mask(mask_asset, self.scheme)
        if "mask_npy" in files:
            about.add(label, "mask_npy", files["mask_npy"], stac_items.NPY, ["labels-raster"], "Masks (h, w, classes)")
        for document in (item, label):
            self.item(document)
        interval = item.common_metadata
        times = (item.datetime, interval.start_datetime, interval.end_datetime)
        self.tally.times += [time for time in times if time is not None]
        self.tally.times = [min(self.tally.times), max(self.tally.times)]

    def item(self, document: Item) -> None:
        """Write a STAC item."""
        text = json.dumps(document.to_dict(include_self_link=False, transform_hrefs=False), allow_nan=False)
        self._write(f"{stac_items.FOLDER}/{document.id}.json", text.encode())
        self.tally.items.append(document.id)

    def _write(self, name: str, data: bytes) -> None:
        self._folder.write(name, data)
        self.sizes[name] = len(data)


def _polygons(mask: NDArray[np.uint8], grid: Grid, scheme: ClassScheme) -> bytes:
    """Encode the classes of a mask except background as GeoJSON, along the edges of pixels, in WGS 84."""
    names = {item.value: item.name for item in scheme.legend}
    outlines = mask_to_map_polygons(mask, grid, [value for value in names if value != BACKGROUND])
    features = [
        {
            "type": "Feature",
            "properties": {stac_items.CLASS_PROPERTY: names[value], "value": value},
            "geometry": _rounded(mapping(to_wgs84(polygon, grid.crs))),
        }
        for value, polygon in outlines
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False).encode()


def _rounded(geometry: Any) -> Any:
    """Round the coordinates of a GeoJSON geometry."""
    if isinstance(geometry, dict):
        return {"type": geometry["type"], "coordinates": _rounded(geometry["coordinates"])}
    if isinstance(geometry, float | int):
        return round(geometry, _DECIMALS)
    return [_rounded(part) for part in geometry]
