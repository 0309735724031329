/** Outlines and patches as vector layers. They are drawn as one picture while the map moves, so that many stay smooth. */

import type { FeatureLike } from "ol/Feature";
import GeoJSON from "ol/format/GeoJSON";
import VectorImageLayer from "ol/layer/VectorImage";
import VectorSource from "ol/source/Vector";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import type { FeatureCollection } from "../api";

export type ColourOf = (className: string) => string;

const FORMAT = new GeoJSON({ dataProjection: "EPSG:4326", featureProjection: "EPSG:3857" });
/** States of patches: what a reader calls them, and their colour. */
export const PATCH_STATES: Record<string, [title: string, colour: string]> = {
  unlabelled: ["not labelled", "#94a3b8"],
  proposed: ["proposed to annotators", "#facc15"],
  labelled: ["labelled", "#22c55e"],
  "partly labelled": ["labelled in part", "#2dd4bf"],
  skipped: ["skipped", "#c084fc"],
};
const DOUBT_STEPS = 5; // shades of a patch's fill
const [LEAST_FILL, MOST_FILL] = [0.06, 0.6];

/** Read features once, for all layers that show them. */
export function featuresOf(collection: FeatureCollection): VectorSource {
  return new VectorSource({ features: FORMAT.readFeatures(collection) });
}

function vectorLayer(source: VectorSource, order: number, className: string, style: (f: FeatureLike) => Style) {
  return new VectorImageLayer({ source, zIndex: order, className, style, imageRatio: 2 });
}

/** Outlines of glaciers, in the colours of their classes. */
export function outlineLayer(source: VectorSource, order: number, className: string, colourOf: ColourOf) {
  const styles = new Map<string, Style>();
  return vectorLayer(source, order, className, (feature) => {
    const name = String(feature.get("class") ?? "");
    let style = styles.get(name);
    if (!style) {
      const colour = colourOf(name);
      style = new Style({
        stroke: new Stroke({ color: colour, width: 1.6 }),
        fill: new Fill({ color: `${colour}26` }),
      });
      styles.set(name, style);
    }
    return style;
  });
}

/** What people drew: as outlines, but dashed and without a fill, in grey where they saw background. */
export function labelLayer(source: VectorSource, order: number, className: string, colourOf: ColourOf) {
  const styles = new Map<string, Style>();
  return vectorLayer(source, order, className, (feature) => {
    const name = String(feature.get("class"));
    let style = styles.get(name);
    if (!style) {
      style = new Style({ stroke: new Stroke({ color: colourOf(name), width: 2, lineDash: [7, 4] }) });
      styles.set(name, style);
    }
    return style;
  });
}

/** Patches in the colours of their states, the fuller, the less sure the newest version is of them. */
export function patchLayer(source: VectorSource, order: number, className: string) {
  const styles = new Map<string, Style>();
  const doubt = (feature: FeatureLike): number => Number(feature.get("scores")?.entropy_top10 ?? 0);
  const most = Math.max(...source.getFeatures().map(doubt), Number.MIN_VALUE);
  return vectorLayer(source, order, className, (feature) => {
    const state = String(feature.get("state"));
    const step = Math.round(((DOUBT_STEPS - 1) * doubt(feature)) / most);
    const key = `${state} ${step}`;
    let style = styles.get(key);
    if (!style) {
      const [, colour] = PATCH_STATES[state] ?? ["", "#94a3b8"];
      const opacity = LEAST_FILL + ((MOST_FILL - LEAST_FILL) * step) / (DOUBT_STEPS - 1);
      const alpha = Math.round(255 * opacity).toString(16).padStart(2, "0");
      style = new Style({ stroke: new Stroke({ color: colour, width: 1 }), fill: new Fill({ color: `${colour}${alpha}` }) });
      styles.set(key, style);
    }
    return style;
  });
}
