/** Views and maps of a scene as layers of the map. */

import TileLayer from "ol/layer/Tile";
import { transformExtent } from "ol/proj";
import XYZ from "ol/source/XYZ";

import type { SceneMap } from "../api";

const SMALLEST_TILES = 2; // zoom levels above the one at which a pixel of the scene is one of the screen

/** A layer of tiles, which asks only for those that show the scene. */
export function tileLayer(map: SceneMap, tiles: string, order: number, className: string): TileLayer<XYZ> {
  return new TileLayer({
    className,
    source: new XYZ({ url: tiles, maxZoom: map.deepest_zoom, transition: 120, interpolate: false }),
    extent: transformExtent(map.bounds, "EPSG:4326", "EPSG:3857"),
    zIndex: order,
    preload: SMALLEST_TILES,
  });
}
