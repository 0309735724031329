"""What is known of a registered scene, as a request: the beginning of the form that replaces it.

Of the request that registered a scene only what it said of the files is stored (`SceneRequest.stated`), and what came
of it (`imagery.scene_source.SceneSource`). Only what gives the same scene again is stated here; nothing is guessed.
Files outside of the scene folder are left out, since an HTTP request cannot name them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from catalog.records import Scene
from catalog.settings import Settings
from imagery.masks import OutlineLayer
from imagery.outline_period import Period
from imagery.paths import is_address
from imagery.products.headers import date_in_name
from imagery.products.plain import KIND
from imagery.quality import flags_of
from imagery.scene_source import BandSource, QualityBand, SceneSource
from imagery.sensors import FLAG_TABLE_OF, SENSORS, SURFACE_TEMPERATURE
from imagery.units import DIGITAL_NUMBER, METRE, REFLECTANCE
from services.scene_files import archive_of
from services.scenes import outlines_of, priors_of, source_of

_OF_SENSORS: Final = frozenset({SURFACE_TEMPERATURE, *(band.name for bands in SENSORS.values() for band in bands)})
_STAC_ITEM: Final = "STAC item"  # `Product.kind` of such begins with it; where the item lies is not stored


@dataclass(frozen=True)
class Prefill:
    """The beginning of a form.

    Attributes:
        request: Members of a `services.scene_request.ReplacementRequest`.
        left_out: What the scene has and the request does not, in words.
    """

    request: dict[str, Any]
    left_out: tuple[str, ...]


def prefill(scene: Scene, settings: Settings) -> Prefill:
    """Return what is known of a scene as a request to replace it.

    Args:
        scene: The scene.
        settings: The settings in force; what they say is not stated.
    """
    return _Prefilling(scene, settings).result()


@dataclass
class _Prefilling:
    """Gathers the members of a request about one scene, and what has to be left out of it."""

    scene: Scene
    settings: Settings
    left_out: list[str] = field(default_factory=list)

    def result(self) -> Prefill:
        source = source_of(self.scene)
        product = self._product(source)
        request: dict[str, Any] = {
            "role": self.scene.role.value,
            **({"path": product} if product else self._bands(source)),
            **self._said(source),
            **self._masked(source.quality),
            **self._channels(source.extras),
            **self._dem(source, is_product=product is not None),
            **self._border(source),
            **self._outlines(),
            **self._region(source),
        }
        for name in ("patch_size_px", "patch_overlap_px"):
            if getattr(self.scene, name) != getattr(self.settings, name):
                request[name] = getattr(self.scene, name)
        return Prefill(request, tuple(dict.fromkeys(self.left_out)))

    @property
    def _understood(self) -> Mapping[str, Any]:
        """What was understood of the files at registration; nothing is known of scenes from before it was stored."""
        return self.scene.product or {}

    @property
    def _stated(self) -> Mapping[str, Any]:
        """What the request said, as of `SceneRequest.stated`; nothing of scenes from before that was stored."""
        found: Mapping[str, Any] = self._understood.get("stated", {})
        return found

    @property
    def _is_plain(self) -> bool:
        """Whether the files tell nothing by themselves, so that what is known was stated or follows from names."""
        return self._understood.get("kind") == KIND

    def _product(self, source: SceneSource) -> str | None:
        """Return the folder, archive or file that was given as a product; None if it is not certain."""
        product_id = self._understood.get("product_id")  # bands that were given one by one have none
        if not product_id or self._understood.get("kind", "").startswith(_STAC_ITEM):
            return None
        paths = {*(band.path for band in source.bands), *(band.path for band in source.quality)}
        archives = {archive_of(path) for path in paths}
        if archives != {None}:
            archive = archives.pop()
            return None if archives or archive is None else self._below_root(archive)
        if len(paths) == 1:
            return self._below_root(paths.pop())
        folder = None if any(map(is_address, paths)) else _folder_of(product_id, paths)
        return None if folder is None else self._below_root(folder)

    def _bands(self, source: SceneSource) -> dict[str, Any]:
        """Return the bands that were given one by one."""
        measured = [*source.bands, *(band for band in source.extras if not self._is_channel(band))]
        bands = [{"name": band.name, "path": self._below_root(band.path), **_index(band)} for band in measured]
        bands += [
            {"name": _designation(band), "path": self._below_root(band.path), **_index(band)} for band in source.quality
        ]
        if not self._is_plain or self._understood.get("product_id") or any(band["path"] is None for band in bands):
            self.left_out.append("the files of the bands")
            return {}
        return {"bands": bands}

    def _said(self, source: SceneSource) -> dict[str, Any]:
        """Return what was said about the files, or is known of them and they may not tell."""
        units = {band.unit for band in source.bands}
        said: dict[str, Any] = {"unit": DIGITAL_NUMBER} if units == {DIGITAL_NUMBER} else {}
        if self._understood.get("allow_mixed_levels"):
            said["allow_mixed_levels"] = True
        said |= {name: value for name, value in self._stated.items() if name not in {"channels", "region"}}
        if not self._is_plain:
            return said
        if REFLECTANCE in units:
            said["unit"] = REFLECTANCE
        nodata = {band.nodata for band in source.bands}
        known = {
            "sensor": self.scene.sensor,
            "acquired": None if self._is_named_by_day() else self.scene.acquired,
            "level": source.level.value if source.level else None,
            "nodata": nodata.pop() if len(nodata) == 1 else None,
        }
        return said | {name: value for name, value in known.items() if value is not None}

    def _is_named_by_day(self) -> bool:
        """Return whether the day follows from the name of the file or scene: another file may be of another day."""
        found = date_in_name(self._understood.get("product_id") or self.scene.name)
        return found is not None and found.isoformat() == (self.scene.acquired or "").replace("Z", "+00:00")

    def _masked(self, quality: Sequence[QualityBand]) -> dict[str, Any]:
        """Return the flags that make a pixel unknown, unless they are those of the setting."""
        decoded = [(band, flags_of(band.table)) for band in quality if band.table is not None]
        of_setting = self.settings.masked_flags
        if all(set(band.masked) == set(flags) & set(of_setting) for band, flags in decoded):
            return {}
        return {"masked": sorted({flag for band, _ in decoded for flag in band.masked})}

    def _is_channel(self, band: BandSource) -> bool:
        """Return whether a further channel was named as one; others came with the product, or among the bands."""
        return band.name in self._stated.get("channels", ()) or band.name not in _OF_SENSORS

    def _channels(self, extras: Iterable[BandSource]) -> dict[str, Any]:
        channels = []
        for band in filter(self._is_channel, extras):
            path = self._below_root(band.path)
            if path is None:
                self.left_out.append(f"the channel {band.name}")
            else:
                stated = {"unit": band.unit, "scale": band.scale, "offset": band.offset}
                channels.append({"name": band.name, "path": path, **_index(band), **stated, **_nodata(band)})
        return {"channels": channels} if channels else {}

    def _dem(self, source: SceneSource, *, is_product: bool) -> dict[str, Any]:
        """Return the tiles of the elevation model, unless it came with the product."""
        tiles = source.dem.tiles if source.dem else ()
        if is_product and any(tile.path in {band.path for band in source.bands} for tile in tiles):
            return {}
        paths = [self._below_root(tile.path) for tile in tiles]
        if None in paths:
            self.left_out.append("the elevation model")
            return {}
        dem = [
            {
                "path": path,
                **_index(tile),
                **_nodata(tile),
                # The unit of the file is a part of the scale.
                **({"unit": METRE, "scale": tile.scale, "offset": tile.offset} if _is_scaled(tile) else {}),
            }
            for path, tile in zip(paths, tiles, strict=True)
        ]
        return {"dem": dem} if dem else {}

    def _border(self, source: SceneSource) -> dict[str, Any]:
        if source.border is None:
            return {}
        path = self._below_root(source.border.path)
        if path is None:
            self.left_out.append("the border")
            return {}
        return {"border": {"path": path, **({"layer": source.border.layer} if source.border.layer else {})}}

    def _outlines(self) -> dict[str, Any]:
        prior = priors_of(self.scene)
        found = {"outlines": self._layers(outlines_of(self.scene), "the outlines")}
        found["prior_outlines"] = self._layers(prior.layers if prior else (), "the old outlines")
        request: dict[str, Any] = {name: layers for name, layers in found.items() if layers}
        if prior and found["prior_outlines"]:
            said = {"prior_date": prior.date, "prior_source": prior.source}
            request |= {name: value for name, value in said.items() if value is not None}
        return request

    def _layers(self, layers: Iterable[OutlineLayer], what: str) -> list[dict[str, Any]]:
        """Return outlines by layer and class; of a layer whose field tells classes, each value with its class."""
        requests: dict[tuple[str, str | None, str | None, str | None, Period | None], dict[str, Any]] = {}
        for item in layers:
            path = self._below_root(item.path)
            if path is None:
                self.left_out.append(what)
                return []
            class_name = item.class_name if item.class_field is None else None
            key = (item.path, item.layer, item.class_field, class_name, item.period)
            request = requests.setdefault(key, {"path": path})
            period = {"drawn_from": item.drawn_from, "drawn_to": item.drawn_to}
            request |= {name: value for name, value in period.items() if value is not None}
            if item.layer is not None:
                request["layer"] = item.layer
            if item.class_field is None:
                request["class"] = item.class_name
            else:
                request["class_field"] = item.class_field
                request.setdefault("classes", {}).update(dict.fromkeys(item.class_values, item.class_name))
        return list(requests.values())

    def _region(self, source: SceneSource) -> dict[str, Any]:
        """Return the part of the files that the scene is; nothing if it is all of them."""
        if source.offset == (0, 0) and "region" not in self._stated:
            return {}
        size = {"height": source.grid.height, "width": source.grid.width}
        return {"region": {"row_off": source.offset[0], "col_off": source.offset[1], **size}}

    def _below_root(self, path: str) -> str | None:
        """Return a path relative to the scene folder; None if it is not below it."""
        root = self.settings.scene_root.resolve()
        if is_address(path) or not Path(path).is_relative_to(root) or Path(path) == root:
            return None
        return str(Path(path).relative_to(root))


def _folder_of(product_id: str, paths: Iterable[str]) -> str | None:
    """Return the folder of a product in several files: the one of its name, or else of files that all bear its name."""
    common = PurePosixPath(os.path.commonpath([str(PurePosixPath(path).parent) for path in paths]))
    named = [folder for folder in (common, *common.parents) if folder.name.startswith(product_id)]
    if named:
        return str(named[0])
    all_named = all(product_id in PurePosixPath(path).name for path in paths)
    return str(common) if all_named else None


def _designation(band: QualityBand) -> str:
    """Return a name by which a band of flags is decoded as it is now."""
    if band.table is None or FLAG_TABLE_OF.get(band.name) == band.table:
        return band.name
    return next(name for name, table in FLAG_TABLE_OF.items() if table == band.table)


def _index(band: BandSource | QualityBand) -> dict[str, int]:
    return {} if band.index == 1 else {"index": band.index}


def _nodata(band: BandSource) -> dict[str, float]:
    return {} if band.nodata is None else {"nodata": band.nodata}


def _is_scaled(band: BandSource) -> bool:
    return (band.scale, band.offset) != (1.0, 0.0)
