/** Views and maps of a scene as layers of the map. */

import TileLayer from "ol/layer/Tile";
import { transformExtent } from "ol/proj";
import ImageTile from "ol/source/ImageTile";

import type { Api, SceneMap } from "../api";

const SMALLEST_TILES = 2; // zoom levels above the one at which a pixel of the scene is one of the screen

/** A layer of tiles, which asks only for those that show the scene. */
export function tileLayer(api: Api, map: SceneMap, tiles: string, order: number, className: string): TileLayer<ImageTile> {
  const address = (z: number, x: number, y: number): string => tiles.replace("{z}", `${z}`).replace("{x}", `${x}`).replace("{y}", `${y}`);
  return new TileLayer({
    className,
    source: new ImageTile({
      // Not as the address of a picture: a browser does not tell why a picture could not be loaded.
      loader: (z, x, y, { signal }) => api.picture(address(z, x, y), signal),
      maxZoom: map.deepest_zoom, transition: 120, interpolate: false,
    }),
    extent: transformExtent(map.bounds, "EPSG:4326", "EPSG:3857"),
    zIndex: order,
    preload: SMALLEST_TILES,
  });
}
