/** A prediction as what the map shows: a picture in Web Mercator, and outlines with their areas. */

import type { Card } from "./card";
import { UNKNOWN } from "./card";
import type { Ground } from "./ground";
import type { Area } from "./tiling";
import { trace } from "./trace";

export interface Outline {
  className: string;
  colour: string;
  km2: number;
  /** In Web Mercator, the outer ring first. */
  rings: [number, number][][];
}

export interface Picture {
  url: string;
  /** Smallest x, smallest y, largest x, largest y in Web Mercator. */
  extent: [number, number, number, number];
}

const BACKGROUND = 0;
const STEP = 16; // pixels of the picture between places that are computed; in between they are interpolated

/** The colour of a class by its value, as in the maps of the server. */
export function colourOf(card: Card, value: number): string {
  return card.label_classes.find((item) => item.value === value)?.colour ?? "#f97316";
}

export function outlines(classes: Uint8Array, area: Area, card: Card, ground: Ground): Outline[] {
  return trace(classes, area.height, area.width, [BACKGROUND, UNKNOWN]).map((shape) => ({
    className: card.classes[shape.value] ?? String(shape.value),
    colour: colourOf(card, shape.value),
    km2: (shape.pixels * ground.pixelM2(area.row + shape.centre[0], area.column + shape.centre[1])) / 1e6,
    rings: shape.rings.map((ring) => ring.map(([row, column]) => ground.toMap(area.row + row, area.column + column))),
  }));
}

/** Draw the classes; background and what is not known are transparent. */
export function picture(classes: Uint8Array, area: Area, card: Card, ground: Ground): Picture {
  const edge: [number, number][] = [];
  for (let part = 0; part <= 1; part += 1 / 16) {
    const [row, column] = [area.row + part * area.height, area.column + part * area.width];
    edge.push(ground.toMap(row, area.column), ground.toMap(row, area.column + area.width));
    edge.push(ground.toMap(area.row, column), ground.toMap(area.row + area.height, column));
  }
  const [xs, ys] = [edge.map(([x]) => x), edge.map(([, y]) => y)];
  const extent: Picture["extent"] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  const [x0, y0] = ground.toMap(area.row, area.column);
  const [x1, y1] = ground.toMap(area.row, area.column + 1);
  const metres = Math.hypot(x1 - x0, y1 - y0) / 1.5; // so that few pixels are lost where the grids differ
  const width = Math.ceil((extent[2] - extent[0]) / metres);
  const height = Math.ceil((extent[3] - extent[1]) / metres);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(width, height);
  const colours = new Uint32Array(256);
  card.classes.forEach((_, value) => {
    const code = Number.parseInt(colourOf(card, value).slice(1), 16);
    const swapped = ((code & 0xff) << 16) | (code & 0xff00) | (code >> 16); // canvases store red first
    if (value !== BACKGROUND) colours[value] = (0xff000000 | swapped) >>> 0;
  });
  const drawn = new Uint32Array(image.data.buffer);
  warp(extent, width, height, ground, (at, row, column) => {
    const [i, j] = [Math.floor(row) - area.row, Math.floor(column) - area.column];
    if (i >= 0 && i < area.height && j >= 0 && j < area.width) drawn[at] = colours[classes[i * area.width + j] as number] as number;
  });
  context.putImageData(image, 0, 0);
  return { url: canvas.toDataURL("image/png"), extent };
}

/** Call `visit` with the place in the scene of the middle of each pixel of a picture. */
function warp(
  extent: Picture["extent"], width: number, height: number, ground: Ground,
  visit: (at: number, row: number, column: number) => void,
): void {
  const [left, bottom, right, top] = extent;
  const [perColumn, perRow] = [(right - left) / width, (top - bottom) / height];
  const across = Math.ceil(width / STEP) + 1;
  const placesOf = (line: number): [number, number][] =>
    Array.from({ length: across }, (_, node) => ground.toPixel(left + (node * STEP + 0.5) * perColumn, top - (line + 0.5) * perRow));
  let below = placesOf(0);
  for (let first = 0; first < height; first += STEP) {
    const above = below;
    below = placesOf(first + STEP);
    for (let y = first; y < Math.min(first + STEP, height); y++) {
      const u = (y - first) / STEP;
      for (let x = 0; x < width; x++) {
        const [node, v] = [Math.floor(x / STEP), (x % STEP) / STEP];
        const mix = (k: 0 | 1): number =>
          (1 - u) * ((1 - v) * at(above, node, k) + v * at(above, node + 1, k)) +
          u * ((1 - v) * at(below, node, k) + v * at(below, node + 1, k));
        visit(y * width + x, mix(0), mix(1));
      }
    }
  }
}

function at(places: [number, number][], node: number, k: 0 | 1): number {
  return (places[node] as [number, number])[k];
}
