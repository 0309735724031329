/** What the map shows of a scene. */

import type OlMap from "ol/Map";
import { boundingExtent, type Extent, getIntersection, intersects, isEmpty } from "ol/extent";
import { transformExtent } from "ol/proj";

import type { Box, Scene, SceneMap } from "../api";

/** Whether a scene has been predicted by the version that its map is of. */
export function isPredicted(map: SceneMap): boolean {
  return map.layers.some((layer) => layer.name === "prediction");
}

/** The part of a scene, in degrees, that lies in an extent in Web Mercator; null: none of it. */
export function boxOf(extent: Extent, map: SceneMap): Box | null {
  const shown = getIntersection(transformExtent(extent, "EPSG:3857", "EPSG:4326"), map.bounds);
  return isEmpty(shown) ? null : (shown as Box);
}

/** The part of a scene, in degrees, that a map shows. */
export function boxInView(olMap: OlMap, map: SceneMap): Box | null {
  return boxOf(olMap.getView().calculateExtent(olMap.getSize()), map);
}

/** Whether two scenes may show the same ground: the boxes around them overlap. */
export function mayOverlap(one: Scene, other: Scene): boolean {
  return intersects(extentOf(one), extentOf(other));
}

function extentOf(scene: Scene): Extent {
  const numbers = scene.footprint.coordinates.flat(Infinity) as number[];
  return boundingExtent(numbers.flatMap((lon, place) => (place % 2 ? [] : [[lon, numbers[place + 1] ?? 0]])));
}
