/** Views and maps of a scene as layers of the map. */

import TileLayer from "ol/layer/Tile";
import { transformExtent } from "ol/proj";
import DataTile from "ol/source/DataTile";

import type { Api, SceneMap } from "../api";

const SMALLEST_TILES = 2; // zoom levels above the one at which a pixel of the scene is one of the screen

let layers = 0; // made so far

/** A layer of tiles, which asks only for those that show the scene. */
export function tileLayer(api: Api, map: SceneMap, tiles: string, order: number, className: string): TileLayer<DataTile> {
  const address = (z: number, x: number, y: number): string => tiles.replace("{z}", `${z}`).replace("{x}", `${x}`).replace("{y}", `${y}`);
  return new TileLayer({
    className,
    source: new DataTile({
      // Not as the address of a picture: a browser does not tell why a picture could not be loaded.
      loader: (z, x, y, { signal }) => api.picture(address(z, x, y), signal),
      key: `${tiles} ${(layers += 1)}`, // a map takes tiles of one place for the same where sources have no keys of their own
      maxZoom: map.deepest_zoom, wrapX: true, transition: 120, interpolate: false,
    }),
    extent: transformExtent(map.bounds, "EPSG:4326", "EPSG:3857"),
    zIndex: order,
    preload: SMALLEST_TILES,
  });
}
