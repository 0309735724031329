/** The state of the map as the part of the address behind `#`, so that a link restores the view. */

import type { Window } from "./correct/session";

export interface Layout {
  scene: number | null;
  /** The scene on the right where two views are compared, null: the same. */
  otherScene: number | null;
  /** The view on the left, and the one on the right where two are compared. */
  view: string;
  other: string | null;
  mode: "one" | "swipe" | "beside";
  /** Where the boundary of a swipe is, in percent from the left. */
  swipe: number;
  /** The version whose maps show, null: the one that is served; and the one on the right, null: the same. */
  version: number | null;
  otherVersion: number | null;
  layers: string[];
  /** Longitude, latitude and zoom of the middle. */
  centre: [number, number, number] | null;
  /** The window to correct at once, for a link from elsewhere; it is not written back. */
  correct: Window | null;
}

export const START: Layout = {
  scene: null,
  otherScene: null,
  view: "true-colour",
  other: null,
  mode: "one",
  swipe: 50,
  version: null,
  otherVersion: null,
  layers: ["outlines"],
  centre: null,
  correct: null,
};

/** Read a layout; what is missing or makes no sense is as at the start. */
export function read(hash: string): Layout {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name: string): number | null => {
    const value = Number(given.get(name));
    return Number.isInteger(value) && value > 0 ? value : null;
  };
  const at = (given.get("at") ?? "").split(",").map(Number);
  const mode = given.get("mode");
  const swipe = Number(given.get("swipe") ?? START.swipe);
  return {
    scene: number("scene"),
    otherScene: number("otherScene"),
    view: given.get("view") ?? START.view,
    other: given.get("other"),
    mode: mode === "swipe" || mode === "beside" ? mode : "one",
    swipe: swipe >= 0 && swipe <= 100 ? swipe : START.swipe,
    version: number("version"),
    otherVersion: number("otherVersion"),
    layers: given.has("layers") ? (given.get("layers") ?? "").split(" ").filter(Boolean) : START.layers,
    correct: window(given.get("correct") ?? ""),
    centre: at.length === 3 && at.every(Number.isFinite) ? (at as [number, number, number]) : null,
  };
}

/** A window as `row,column,height,width`. */
function window(text: string): Window | null {
  const [row_off = -1, col_off = -1, height = 0, width = 0, ...more] = text.split(",").map(Number);
  const fits = [row_off, col_off, height, width].every(Number.isInteger) && row_off >= 0 && col_off >= 0 && height > 0 && width > 0;
  return fits && !more.length ? { row_off, col_off, height, width } : null;
}

export function write(layout: Layout): string {
  const given = new URLSearchParams();
  if (layout.scene !== null) given.set("scene", String(layout.scene));
  if (layout.otherScene !== null) given.set("otherScene", String(layout.otherScene));
  given.set("view", layout.view);
  if (layout.other !== null) given.set("other", layout.other);
  if (layout.mode !== "one") given.set("mode", layout.mode);
  if (layout.mode === "swipe" && layout.swipe !== START.swipe) given.set("swipe", String(layout.swipe));
  if (layout.version !== null) given.set("version", String(layout.version));
  if (layout.otherVersion !== null) given.set("otherVersion", String(layout.otherVersion));
  given.set("layers", layout.layers.join(" "));
  if (layout.centre !== null) {
    const [lon, lat, zoom] = layout.centre;
    given.set("at", `${lon.toFixed(5)},${lat.toFixed(5)},${zoom.toFixed(2)}`);
  }
  return `#${given}`;
}
