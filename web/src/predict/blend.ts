/** Windows that overlap, blended as `imagery.stitching` does. */

import { type Card, decide, UNKNOWN } from "./card";
import type { Area } from "./tiling";

/** Pixels (C, side, width) of a block as high as a window. */
interface Block {
  top: number;
  left: number;
  width: number;
  side: number;
  values: Float32Array;
  measured: number[];
}

/** Weights that fall towards the edges of a window, where the network lacks context. */
export function weights(side: number): Float32Array {
  return Float32Array.from({ length: side }, (_, i) => Math.sin((Math.PI * (i + 0.5)) / side) ** 2);
}

/** The weighted mean of the windows over an area. */
export class Blend {
  private readonly sum: Float32Array;
  private readonly weight: Float32Array;
  private readonly unknown: Uint8Array;
  private readonly falling: Float32Array;

  constructor(
    private readonly classesCount: number,
    private readonly area: Area,
    private readonly side: number,
  ) {
    const pixels = area.height * area.width;
    this.sum = new Float32Array(classesCount * pixels);
    this.weight = new Float32Array(pixels);
    this.unknown = new Uint8Array(pixels);
    this.falling = weights(side);
  }

  /** Note where nothing is known. */
  noteUnknown(strip: Block): void {
    const { unknown } = this;
    this.eachPixel(strip.top, strip.left, strip.width, (to, i, j) => {
      for (const channel of strip.measured) {
        if (Number.isNaN(strip.values[(channel * strip.side + i) * strip.width + j])) unknown[to] = 1;
      }
    });
  }

  add(window: { row: number; column: number }, probabilities: Float32Array): void {
    const { side, sum, weight, falling } = this;
    const pixels = weight.length;
    this.eachPixel(window.row, window.column, side, (to, i, j) => {
      const w = Math.fround((falling[i] as number) * (falling[j] as number));
      weight[to] = (weight[to] as number) + w;
      for (let value = 0; value < this.classesCount; value++) {
        const at = value * pixels + to;
        sum[at] = (sum[at] as number) + Math.fround(w * (probabilities[(value * side + i) * side + j] as number));
      }
    });
  }

  classes(card: Card): Uint8Array {
    const pixels = this.weight.length;
    for (let i = 0; i < this.sum.length; i++) this.sum[i] = (this.sum[i] as number) / (this.weight[i % pixels] as number);
    const found = decide(this.sum, card);
    this.unknown.forEach((is, i) => {
      if (is) found[i] = UNKNOWN;
    });
    return found;
  }

  /** Visit the pixels of the area that are in a block as high as a window: its index in the area, and its place in the block. */
  private eachPixel(top: number, left: number, width: number, visit: (to: number, i: number, j: number) => void): void {
    const { area, side } = this;
    const lastRow = Math.min(top + side, area.row + area.height);
    const lastColumn = Math.min(left + width, area.column + area.width);
    for (let row = Math.max(top, area.row); row < lastRow; row++) {
      for (let column = Math.max(left, area.column); column < lastColumn; column++) {
        visit((row - area.row) * area.width + column - area.column, row - top, column - left);
      }
    }
  }
}
