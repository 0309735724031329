"""The ground that a synthetic scene shows: relief and land cover, made up or mapped.

`FractalGround` is made up. `MappedGround` has the relief of an elevation model and the glaciers of real outlines, so
that what a network learns there is not the generator's own relief. Surfaces, snow, shadow, cloud and noise are made on
both in the same way (`imagery.synthetic_pixels`).
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, maximum_filter, minimum_filter

from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN
from imagery.errors import SceneError
from imagery.synthetic_noise import Coordinates, fractal
from imagery.synthetic_surface import (
    Cover,
    Shares,
    calibrate,
    cover_of,
    ice_score,
    lake_score,
    scores,
    threshold_for,
)
from imagery.synthetic_terrain import HIGHEST_RIDGE_M, PIXEL_M, Terrain, elevation, terrain

STEEPEST_DEBRIS_DEG: Final = 24.0
"""Debris stays on glaciers that are less steep: Paul, Huggel and Kääb (2004, Remote Sensing of Environment 89, 510-518)
limit their map of debris-covered glaciers to this slope."""

_FRACTAL_REFERENCE_M: Final = 5000.0
_HIGHEST_SNOW_LINE_M: Final = 7500.0  # for scenes without ice: above all terrain
_VALLEY_PX: Final = 101  # about 3 km, the width of a large valley
_DEBRIS_SLOPE_PX: Final = 2.0
_DIRTY_PERCENTILE: Final = 10.0


@dataclass(frozen=True)
class Surface:
    """Relief and land cover at rows and columns of a scene; every array is (h, w).

    Attributes:
        relief: The terrain.
        cover: What lies on it, without cloud.
        above_snow_line_m: Height above the snow line in metres, adjusted for aspect and slope.
        unknown: Where nobody knows the class or the elevation; the truth is masked there.
    """

    relief: Terrain
    cover: Cover
    above_snow_line_m: NDArray[np.float64]
    unknown: NDArray[np.bool_]


class Ground(Protocol):
    """The ground of a scene; it can be computed in any window, and somewhat beyond the edges of the scene."""

    @property
    def highest_ridge_m(self) -> float:
        """Maximum height of a ridge above the terrain in its shadow."""
        ...

    @property
    def reference_m(self) -> float:
        """Elevation at which the air has 275 K."""
        ...

    def heights(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
        """Return the elevation (h, w) in metres at rows and columns, which need not be whole numbers."""
        ...

    def is_void(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.bool_]:
        """Return where the elevation is not known, (h, w)."""
        ...

    def surface(self, rows: Coordinates, cols: Coordinates) -> Surface:
        """Return relief and cover at rows and columns, which are whole numbers."""
        ...


class FractalGround:
    """Made-up ground: fractal relief, and a land cover with the requested shares."""

    highest_ridge_m = HIGHEST_RIDGE_M
    reference_m = _FRACTAL_REFERENCE_M

    def __init__(self, seed: int, height: int, width: int, shares: Shares, lake_share: float) -> None:
        """Calibrate the land cover of a scene of (height, width) pixels."""
        self._seed = seed
        self._thresholds = calibrate(seed, height, width, shares, lake_share)

    def heights(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
        """See `Ground.heights`."""
        return elevation(self._seed, rows, cols)

    def is_void(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.bool_]:
        """See `Ground.is_void`: it is known everywhere."""
        return np.zeros((len(rows), len(cols)), dtype=np.bool_)

    def surface(self, rows: Coordinates, cols: Coordinates) -> Surface:
        """See `Ground.surface`."""
        relief = terrain(self._seed, rows, cols)
        found = scores(self._seed, relief, rows, cols)
        above_m = found.ice - min(self._thresholds.ice, _HIGHEST_SNOW_LINE_M)
        return Surface(relief, cover_of(found, self._thresholds), above_m, self.is_void(rows, cols))


class MappedGround:
    """Ground with given elevation and glaciers. Beyond the edges it continues as at the edge.

    - **Debris**, unless the glaciers are mapped with it: the lowest, flattest parts of the glaciers, never steeper than
      `STEEPEST_DEBRIS_DEG`, until the requested share is reached: rock that falls on a glacier melts out below the
      snow line and gathers on its tongue.
    - **Snow line** off the glaciers: the median height of the clean ice, adjusted for aspect and slope. The median
      elevation of a glacier is a fair estimate of its equilibrium line (Braithwaite and Raper 2009, Annals of
      Glaciology 50(53), 127-132).
    - **Clean ice** is snow-covered high up, and bare and dirty around its lowest tenth.
    - **Lakes** lie on flat valley floors outside of the glaciers.
    """

    def __init__(
        self,
        elevation_m: NDArray[np.float32],
        classes: NDArray[np.uint8],
        seed: int,
        shares: Shares,
        lake_share: float,
    ) -> None:
        """Place debris, snow line and lakes.

        Args:
            elevation_m: (H, W) metres on pixels of 30 m, NaN where missing.
            classes: (H, W) label mask of the outlines; without debris in it, debris is placed.
            seed: For the noise that the borders of debris, snow and lakes follow.
            shares: Of these, only that of debris counts, as a share of all pixels.
            lake_share: Share of lakes of all pixels.

        Raises:
            SceneError: The arrays differ in shape, no elevation is known, or less of the glaciers is flat enough than
                debris is asked for.
        """
        if elevation_m.shape != classes.shape or not np.isfinite(elevation_m).any():
            raise SceneError(
                f"found elevation {elevation_m.shape} and outlines {classes.shape}; "
                "expected one shape and some elevation"
            )
        self._void = ~np.isfinite(elevation_m)
        self._elevation_m = _filled(elevation_m)
        self._relief = _relief_of(self._elevation_m)
        self.highest_ridge_m = float(np.ptp(self._elevation_m)) + 1.0
        at = tuple(np.arange(length, dtype=np.float64) for length in classes.shape)
        glacier = (classes == CLEAN_ICE.value) | (classes == DEBRIS_COVERED_ICE.value)
        debris = classes == DEBRIS_COVERED_ICE.value
        if not debris.any():
            debris = self._debris(seed, glacier, shares.debris_covered_ice, *at)
        ice = glacier & ~debris
        lakes = lake_score(seed, self._relief, *at)
        lake = ~glacier & (lakes > threshold_for(lakes[~glacier], min(lake_share * lakes.size, (~glacier).sum())))
        self._cover = Cover(ice, debris, lake)
        self._unknown = self._void | (classes == UNKNOWN)
        height_m = ice_score(seed, self._relief, *at)
        snow_line_m = float(np.median(height_m[ice])) if ice.any() else float(self._elevation_m.max()) + 1000.0
        dirty_m = float(np.percentile(height_m[ice], _DIRTY_PERCENTILE)) if ice.any() else snow_line_m
        self._above_m = height_m - np.where(ice, dirty_m, snow_line_m)
        self.reference_m = snow_line_m

    def heights(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
        """See `Ground.heights`; bilinear between the pixels."""
        at = np.meshgrid(rows, cols, indexing="ij")
        return np.asarray(map_coordinates(self._elevation_m, at, order=1, mode="nearest"), dtype=np.float64)

    def is_void(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.bool_]:
        """See `Ground.is_void`; of the nearest pixel."""
        return self._void[self._index(rows, cols)]

    def surface(self, rows: Coordinates, cols: Coordinates) -> Surface:
        """See `Ground.surface`."""
        at, relief, cover = self._index(rows, cols), self._relief, self._cover
        return Surface(
            Terrain(*(part[at] for part in vars(relief).values())),
            Cover(*(part[at] for part in vars(cover).values())),
            self._above_m[at],
            self._unknown[at],
        )

    def _index(self, rows: Coordinates, cols: Coordinates) -> tuple[NDArray[np.int64], ...]:
        """Return the index of the nearest pixels."""
        nearest = (np.rint(at).astype(np.int64) for at in (rows, cols))
        inside = (np.clip(at, 0, length - 1) for at, length in zip(nearest, self._void.shape, strict=True))
        return np.ix_(*inside)

    def _debris(
        self, seed: int, glacier: NDArray[np.bool_], share: float, rows: Coordinates, cols: Coordinates
    ) -> NDArray[np.bool_]:
        """Return the lowest and flattest parts of the glaciers, in all a share of the scene."""
        # Slope over some 100 m: the relief of a single pixel does not hold debris back.
        smoothed = gaussian_filter(self._elevation_m, _DEBRIS_SLOPE_PX)
        slope_deg = np.degrees(np.arctan(np.hypot(*np.gradient(smoothed, PIXEL_M))))
        flat = glacier & (slope_deg < STEEPEST_DEBRIS_DEG)
        wanted = round(share * glacier.size)
        if wanted > flat.sum():
            raise SceneError(
                f"found debris-covered ice on {share:.1%} of the pixels asked for; expected at most "
                f"{flat.mean():.1%}: as much of the scene is glacier of less than {STEEPEST_DEBRIS_DEG:g} degrees"
            )
        high_or_steep = smoothed + 30 * np.maximum(slope_deg - 9, 0) + 60 * fractal(seed, "debris", rows, cols, 32, 2)
        return np.asarray(flat & (-high_or_steep > threshold_for(-high_or_steep[flat], wanted)))


def _filled(elevation_m: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return elevation with its voids filled by the nearest known pixel, so that slope and shadow exist everywhere."""
    void = ~np.isfinite(elevation_m)
    if not void.any():
        return elevation_m.astype(np.float64)
    nearest = distance_transform_edt(void, return_distances=False, return_indices=True)
    return np.asarray(elevation_m[tuple(nearest)], dtype=np.float64)


def _relief_of(elevation_m: NDArray[np.float64]) -> Terrain:
    """Compute the terrain of an elevation model, as `imagery.synthetic_terrain.terrain` does for the made-up one."""
    south, east = np.gradient(elevation_m, PIXEL_M)
    floor, ridge = (reduce(elevation_m, size=_VALLEY_PX) for reduce in (minimum_filter, maximum_filter))
    valley = (elevation_m - floor) / np.maximum(ridge - floor, 1.0)
    return Terrain(elevation_m, valley, np.degrees(np.arctan(np.hypot(east, south))), east, -south)
