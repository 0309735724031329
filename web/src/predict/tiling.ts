/**
 * A map from half-overlapping windows, as the server makes it: the same windows, in the same orientations, blended by
 * the same weights (docs/web-tool.md, "The same maps as the server's"). Only windows that reach into the wanted part are
 * predicted, so that this part is the server's map, up to rounding.
 */

import { Blend } from "./blend";
import type { Card } from "./card";

export interface Size {
  width: number;
  height: number;
}

export interface Area extends Size {
  row: number;
  column: number;
}

/** Channels of an area, (C, height, width); NaN where there is no data. `measured`: see the header `X-Pixels`. */
export interface Pixels {
  values: Float32Array;
  channels: string[];
  measured: number[];
}

export interface Network {
  card: Card;
  /** Predict n square windows (n, C, side, side); returns probabilities (n, K, side, side). */
  run: (raw: Float32Array, n: number, side: number) => Promise<Float32Array>;
}

const SYMMETRIES = 8;
const PIXELS_TOGETHER = 512 * 512; // as workers.windows: bounds the memory of activations

/** The first rows (or columns) of windows that cover a length; the last is moved back to the edge. */
export function starts(length: number, side: number): number[] {
  const step = side - Math.floor(side / 2);
  const found: number[] = [];
  for (let at = 0; at < length - side; at += step) found.push(at);
  return [...found, length - side];
}

/** For each pixel of a turned window, the pixel that it shows: quarter turns counter-clockwise, from 4 on flipped. */
export function symmetry(side: number, number: number): Int32Array {
  const source = new Int32Array(side * side);
  const last = side - 1;
  for (let i = 0; i < side; i++) {
    for (let flipped = 0; flipped < side; flipped++) {
      const j = number >= 4 ? last - flipped : flipped;
      const [row, column] = [[i, j], [j, last - i], [last - i, last - j], [last - j, i]][number % 4] as [number, number];
      source[i * side + flipped] = row * side + column;
    }
  }
  return source;
}

/** A window of the network, and the orientations in which it is predicted. */
interface Window {
  row: number;
  column: number;
  turns: number[];
}

/** Number and first row (or column) of the windows that reach into a part of a length. */
function reaching(length: number, side: number, first: number, part: number): [number, number][] {
  return [...starts(length, side).entries()].filter(([, at]) => at < first + part && at + side > first);
}

/**
 * Predict the classes of an area, (height, width); 255 where nothing is known.
 *
 * @param read - reads an area of the scene.
 * @param tell - is told how many windows are done; may throw to end it.
 */
export async function predictArea(
  network: Network,
  scene: Size,
  area: Area,
  read: (wanted: Area) => Promise<Pixels>,
  tell: (done: number, total: number) => Promise<void>,
): Promise<Uint8Array> {
  const { card } = network;
  const side = card.patch_size_px;
  if (Math.min(scene.width, scene.height) < side) {
    throw new Error(`the scene has ${scene.width} x ${scene.height} px; the network needs at least ${side} x ${side}`);
  }
  const rows = reaching(scene.height, side, area.row, area.height);
  const columns = reaching(scene.width, side, area.column, area.width);
  const left = columns[0]?.[1] ?? 0;
  const width = (columns.at(-1)?.[1] ?? 0) + side - left;
  const blend = new Blend(card.classes.length, area, side);
  const strip = new Strip(card.channels.length, side, left, width, read);
  const together = Math.max(1, Math.floor(PIXELS_TOGETHER / side ** 2));
  let done = 0;
  for (const [rowNumber, row] of rows) {
    await strip.moveTo(row);
    blend.noteUnknown(strip);
    const windows = columns.map(([number, column]): Window => ({ row, column, turns: turns(card, rowNumber, number) }));
    for (let first = 0; first < windows.length; first += together) {
      await tell(done, rows.length * columns.length);
      const some = windows.slice(first, first + together);
      await predictWindows(network, strip, some, blend);
      done += some.length;
    }
  }
  await tell(done, done);
  return blend.classes(card);
}

/** The orientations in which a window is predicted. */
function turns(card: Card, row: number, column: number): number[] {
  if (card.orientations === "alternating") return [2 * (row % 2) + (column % 2)];
  return card.orientations === "all" ? [...Array(SYMMETRIES).keys()] : [0];
}

const symmetries = new Map<string, Int32Array>();

function symmetryOf(side: number, number: number): Int32Array {
  const key = `${side} ${number}`;
  const found = symmetries.get(key) ?? symmetry(side, number);
  symmetries.set(key, found);
  return found;
}

async function predictWindows(network: Network, strip: Strip, windows: Window[], blend: Blend): Promise<void> {
  const { card, run } = network;
  const [side, channels, classes] = [card.patch_size_px, card.channels.length, card.classes.length];
  const pixels = side * side;
  const views = windows[0]?.turns.length ?? 1;
  const mean = windows.map(() => new Float32Array(classes * pixels));
  for (let view = 0; view < views; view++) {
    const raw = new Float32Array(windows.length * channels * pixels);
    const seen = windows.map((window) => symmetryOf(side, window.turns[view] ?? 0));
    windows.forEach((window, n) => {
      const turned = seen[n] as Int32Array;
      for (let channel = 0; channel < channels; channel++) {
        const straight = strip.window(channel, window.column);
        const at = (n * channels + channel) * pixels;
        for (let i = 0; i < pixels; i++) raw[at + i] = straight[turned[i] as number] as number;
      }
    });
    const found = await run(raw, windows.length, side);
    mean.forEach((of, n) => {
      const turned = seen[n] as Int32Array;
      for (let value = 0; value < classes; value++) {
        const at = (n * classes + value) * pixels;
        for (let i = 0; i < pixels; i++) {
          const to = value * pixels + (turned[i] as number);
          of[to] = (of[to] as number) + (found[at + i] as number) / views;
        }
      }
    });
  }
  windows.forEach((window, n) => blend.add(window, mean[n] as Float32Array));
}

/** Whole rows of pixels as high as a window; what the next row of windows needs, too, is kept. */
class Strip {
  top = -1;
  measured: number[] = [];
  readonly values: Float32Array;

  constructor(
    readonly channels: number,
    readonly side: number,
    readonly left: number,
    readonly width: number,
    private readonly read: (wanted: Area) => Promise<Pixels>,
  ) {
    this.values = new Float32Array(channels * side * width);
  }

  async moveTo(top: number): Promise<void> {
    const { side, width, channels, values } = this;
    const kept = this.top < 0 ? 0 : Math.max(0, this.top + side - top);
    const plane = side * width;
    for (let channel = 0; channel < channels; channel++) {
      const at = channel * plane;
      values.copyWithin(at, at + (side - kept) * width, at + plane);
    }
    const found = await this.read({ row: top + kept, column: this.left, height: side - kept, width });
    const fresh = (side - kept) * width;
    for (let channel = 0; channel < channels; channel++) {
      values.set(found.values.subarray(channel * fresh, (channel + 1) * fresh), channel * plane + kept * width);
    }
    this.measured = found.measured;
    this.top = top;
  }

  /** One channel of a window of this strip. */
  window(channel: number, column: number): Float32Array {
    const { side, width } = this;
    const found = new Float32Array(side * side);
    for (let i = 0; i < side; i++) {
      const at = (channel * side + i) * width + column - this.left;
      found.set(this.values.subarray(at, at + side), i * side);
    }
    return found;
  }
}
