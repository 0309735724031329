/**
 * Repaint a class map from a few strokes: Gaussian process regression of what the proposal got wrong. The same numbers
 * as `models/strokes.py`, whose comments say why; a test compares them.
 */

import { Grid } from "./grid";

const MAX_POINTS = 400;
const REACH = 4.0;
const PLACE_PX = 13.0;
const NOISE = 0.1;
const CONFIDENCE = 0.8;
const NOTHING = 36; // squares of the distance from which on the kernel counts as 0

/** Maps (C, h, w) as one array, that show how alike pixels look. NaN counts as the map's mean. */
export type Guides = Float32Array;

/** Pixels that were assigned to a class, by their place in the flat map; a click is a stroke of one pixel. */
export interface Stroke {
  value: number;
  pixels: readonly number[];
}

/**
 * Repaint a proposal.
 *
 * @param guides - the bands of the window; may be empty
 * @param proposal - the map to repaint; its values are below `classes`
 * @param classes - number of classes
 * @param strokes - in the order drawn: where two overlap, the later one counts
 */
export function repaint(guides: Guides, proposal: Grid, classes: number, strokes: readonly Stroke[]): Grid {
  const { height, width } = proposal;
  const drawn = new Int16Array(height * width).fill(-1);
  for (const stroke of strokes) for (const pixel of stroke.pixels) drawn[pixel] = stroke.value;
  const points: number[] = [];
  drawn.forEach((value, pixel) => value >= 0 && points.push(pixel));
  const mended = proposal.copy();
  if (!points.length) return mended;
  const used = spaced(points, Math.min(points.length, MAX_POINTS));
  const space = new Space(guides, height, width);
  const at = new Float64Array(used.length * space.dimensions);
  used.forEach((pixel, index) => space.place(pixel, at, index));
  const kernels = used.map((_, index) => {
    const row = new Float64Array(used.length);
    space.kernels(at.subarray(index * space.dimensions, (index + 1) * space.dimensions), at, row);
    row[index] = (row[index] as number) + NOISE;
    return row;
  });
  const shown = (pixel: number, value: number) =>
    proposal.values[pixel] === value ? CONFIDENCE : (1 - CONFIDENCE) / (classes - 1);
  const missing = Array.from({ length: classes }, (_, value) =>
    Float64Array.from(used, (pixel) => (drawn[pixel] === value ? 1 : 0) - shown(pixel, value)),
  );
  const weights = solve(kernels, missing);
  const here = new Float64Array(space.dimensions);
  const similar = new Float64Array(used.length);
  for (const pixel of near(used, height, width)) {
    space.place(pixel, here, 0);
    space.kernels(here, at, similar);
    let [best, highest] = [0, -Infinity];
    for (let value = 0; value < classes; value++) {
      const own = weights[value] as Float64Array;
      let corrected = shown(pixel, value);
      for (let index = 0; index < similar.length; index++) corrected += (similar[index] as number) * (own[index] as number);
      if (corrected > highest) [best, highest] = [value, corrected];
    }
    mended.values[pixel] = best;
  }
  for (const pixel of points) mended.values[pixel] = drawn[pixel] as number;
  return mended;
}

/** Evenly spaced elements, the first and the last among them; halves are rounded to even, as numpy does. */
function spaced(all: readonly number[], count: number): number[] {
  const step = count > 1 ? (all.length - 1) / (count - 1) : 0;
  return Array.from({ length: count }, (_, index) => {
    const place = index * step;
    const down = Math.floor(place);
    const rounded = place - down === 0.5 ? down + (down % 2) : Math.round(place);
    return all[rounded] as number;
  });
}

/** Place and standardised guides, in length scales of the kernel. */
class Space {
  private readonly maps: number;
  private readonly means: number[] = [];
  private readonly scales: number[] = [];
  private readonly size: number;

  constructor(
    private readonly guides: Guides,
    height: number,
    private readonly width: number,
  ) {
    this.size = height * width;
    this.maps = guides.length / this.size;
    for (let map = 0; map < this.maps; map++) {
      const known = guides.subarray(map * this.size, (map + 1) * this.size).filter(Number.isFinite);
      const mean = known.reduce((sum, value) => sum + value, 0) / Math.max(1, known.length);
      const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      this.means.push(mean);
      this.scales.push(squares > 0 ? Math.sqrt(squares / known.length) * Math.sqrt(this.maps) : Infinity);
    }
  }

  get dimensions(): number {
    return 2 + this.maps;
  }

  /** Write the coordinates of a pixel as those of the point `index`. */
  place(pixel: number, points: Float64Array, index: number): void {
    const start = index * this.dimensions;
    points[start] = Math.floor(pixel / this.width) / PLACE_PX;
    points[start + 1] = (pixel % this.width) / PLACE_PX;
    for (let map = 0; map < this.maps; map++) {
      const value = ((this.guides[map * this.size + pixel] as number) - (this.means[map] as number)) / (this.scales[map] as number);
      points[start + 2 + map] = Number.isFinite(value) ? value : 0;
    }
  }

  /** Write the kernel of one point and all others; 0 where it is below 0.00000002. */
  kernels(one: Float64Array, others: Float64Array, found: Float64Array): void {
    for (let index = 0, start = 0; index < found.length; index++, start += this.dimensions) {
      let squares = 0;
      for (let axis = 0; axis < this.dimensions && squares < NOTHING; axis++) {
        const apart = (one[axis] as number) - (others[start + axis] as number);
        squares += apart * apart;
      }
      found[index] = squares < NOTHING ? Math.exp(-squares / 2) : 0;
    }
  }
}

/** The pixels that strokes through some pixels can change: squares around them, as rows of runs. */
function near(pixels: readonly number[], height: number, width: number): number[] {
  const reach = Math.ceil(REACH * PLACE_PX);
  const within = new Uint8Array(height * width);
  for (const pixel of pixels) {
    const [row, column] = [Math.floor(pixel / width), pixel % width];
    const [left, end] = [Math.max(0, column - reach), Math.min(width, column + reach + 1)];
    for (let at = Math.max(0, row - reach); at <= Math.min(height - 1, row + reach); at++) within.fill(1, at * width + left, at * width + end);
  }
  const found: number[] = [];
  within.forEach((inside, pixel) => inside && found.push(pixel));
  return found;
}

/** Solve a symmetric positive definite system for several right sides (Cholesky). The matrix is overwritten. */
function solve(matrix: Float64Array[], sides: readonly Float64Array[]): Float64Array[] {
  const count = matrix.length;
  const cell = (row: number, column: number) => (matrix[row] as Float64Array)[column] as number;
  for (let row = 0; row < count; row++) {
    for (let column = 0; column <= row; column++) {
      let rest = cell(row, column);
      for (let index = 0; index < column; index++) rest -= cell(row, index) * cell(column, index);
      (matrix[row] as Float64Array)[column] = row === column ? Math.sqrt(rest) : rest / cell(column, column);
    }
  }
  return sides.map((side) => {
    const found = side.slice();
    for (let row = 0; row < count; row++) {
      let rest = found[row] as number;
      for (let index = 0; index < row; index++) rest -= cell(row, index) * (found[index] as number);
      found[row] = rest / cell(row, row);
    }
    for (let row = count - 1; row >= 0; row--) {
      let rest = found[row] as number;
      for (let index = row + 1; index < count; index++) rest -= cell(index, row) * (found[index] as number);
      found[row] = rest / cell(row, row);
    }
    return found;
  });
}
