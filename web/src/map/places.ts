/** What the map shows of a scene, in degrees. */

import type OlMap from "ol/Map";
import { type Extent, getIntersection, isEmpty } from "ol/extent";
import { transformExtent } from "ol/proj";

import type { Box, SceneMap } from "../api";

/** The part of a scene that lies in an extent in Web Mercator; null: none of it. */
export function boxOf(extent: Extent, map: SceneMap): Box | null {
  const shown = getIntersection(transformExtent(extent, "EPSG:3857", "EPSG:4326"), map.bounds);
  return isEmpty(shown) ? null : (shown as Box);
}

/** The part of a scene that a map shows. */
export function boxInView(olMap: OlMap, map: SceneMap): Box | null {
  return boxOf(olMap.getView().calculateExtent(olMap.getSize()), map);
}
