/**
 * Repaint a class map from a few strokes: Gaussian process regression of what the proposal got wrong. The same numbers
 * as `models/strokes.py`, whose comments say why; a test compares them.
 */

import { Grid } from "./grid";

const MAX_POINTS = 400;
const REACH = 4.0;
const PLACE_PX = 13.0;
const PER_PX = 1 / (PLACE_PX * PLACE_PX);
const NOISE = 0.1;
const CONFIDENCE = 0.8;
const NOTHING = 36; // squares of the distance from which on the kernel counts as 0
const STEPS = 256; // of the table of kernels, between two whole squares of distance
const BLOCK = 16; // pixels a side that are computed together, with the points that can reach them

/** exp(-squares / 2) in steps; what lies between two of them is interpolated, wrong by less than 0.0000005. */
const KERNEL = Float64Array.from({ length: NOTHING * STEPS + 2 }, (_, step) => Math.exp(-step / STEPS / 2));

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
  const space = spaceOf(guides, height, width);
  const at = space.points(used);
  const everyone = Uint16Array.from(used, (_, index) => index);
  const kernels = used.map((pixel, index) => {
    const row = new Float64Array(used.length);
    space.kernels(pixel, at, everyone, row);
    row[index] = (row[index] as number) + NOISE;
    return row;
  });
  const other = (1 - CONFIDENCE) / (classes - 1);
  const missing = Array.from({ length: classes }, (_, value) =>
    Float64Array.from(used, (pixel) => (drawn[pixel] === value ? 1 : 0) - (proposal.values[pixel] === value ? CONFIDENCE : other)),
  );
  const weights = interleaved(solve(kernels, missing), used.length);
  const similar = new Float64Array(used.length);
  const corrected = new Float64Array(classes);
  for (const { pixels, reached } of blocks(used, height, width)) {
    for (const pixel of pixels) {
      corrected.fill(other);
      corrected[proposal.values[pixel] as number] = CONFIDENCE;
      space.kernels(pixel, at, reached, similar);
      for (let nth = 0; nth < reached.length; nth++) {
        const weight = similar[nth] as number;
        if (weight === 0) continue;
        const place = (reached[nth] as number) * classes;
        for (let value = 0; value < classes; value++) corrected[value] = (corrected[value] as number) + weight * (weights[place + value] as number);
      }
      let best = 0;
      for (let value = 1; value < classes; value++) if ((corrected[value] as number) > (corrected[best] as number)) best = value;
      mended.values[pixel] = best;
    }
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

/** Some pixels: their places, and their guides one after another. */
interface Points {
  rows: Float64Array;
  columns: Float64Array;
  guides: Float32Array;
}

const spaces = new WeakMap<Guides, Space>();

/** The space of guides; it is kept for the next stroke. */
function spaceOf(guides: Guides, height: number, width: number): Space {
  const found = spaces.get(guides) ?? new Space(guides, height * width, width);
  spaces.set(guides, found);
  return found;
}

/** Place and standardised guides, in length scales of the kernel. */
class Space {
  private readonly maps: number;
  /** Pixel by pixel. */
  private readonly guides: Float32Array;

  constructor(
    guides: Guides,
    size: number,
    private readonly width: number,
  ) {
    this.maps = guides.length / size;
    this.guides = new Float32Array(guides.length);
    for (let map = 0; map < this.maps; map++) {
      const [mean, scale] = standard(guides.subarray(map * size, (map + 1) * size));
      for (let pixel = 0; pixel < size; pixel++) {
        const value = ((guides[map * size + pixel] as number) - mean) / (scale * Math.sqrt(this.maps));
        this.guides[pixel * this.maps + map] = Number.isFinite(value) ? value : 0;
      }
    }
  }

  points(pixels: readonly number[]): Points {
    const guides = new Float32Array(pixels.length * this.maps);
    pixels.forEach((pixel, index) => guides.set(this.guides.subarray(pixel * this.maps, (pixel + 1) * this.maps), index * this.maps));
    return {
      rows: Float64Array.from(pixels, (pixel) => Math.floor(pixel / this.width)),
      columns: Float64Array.from(pixels, (pixel) => pixel % this.width),
      guides,
    };
  }

  /** Write the kernel of a pixel and some of the points, one after another; 0 where it is below 0.00000002. */
  kernels(pixel: number, { rows, columns, guides }: Points, some: Uint16Array, found: Float64Array): void {
    const [row, column, start] = [Math.floor(pixel / this.width), pixel % this.width, pixel * this.maps];
    const { maps } = this;
    const own = this.guides;
    for (let nth = 0; nth < some.length; nth++) {
      const index = some[nth] as number;
      const down = row - (rows[index] as number);
      const right = column - (columns[index] as number);
      let squares = (down * down + right * right) * PER_PX;
      for (let map = start, place = index * maps; map < start + maps && squares < NOTHING; map++, place++) {
        const apart = (own[map] as number) - (guides[place] as number);
        squares += apart * apart;
      }
      found[nth] = squares < NOTHING ? kernel(squares) : 0;
    }
  }
}

/** Mean and standard deviation of what is known of a map; a map that is constant tells no pixel from another. */
function standard(map: Float32Array): [number, number] {
  let [count, sum, squares] = [0, 0, 0];
  for (const value of map) {
    if (!Number.isFinite(value)) continue;
    count++;
    sum += value;
  }
  const mean = sum / Math.max(1, count);
  for (const value of map) if (Number.isFinite(value)) squares += (value - mean) ** 2;
  return [mean, squares > 0 ? Math.sqrt(squares / count) : Infinity];
}

/** The weights of all classes of the first point, then those of the second, ... */
function interleaved(weights: readonly Float64Array[], count: number): Float64Array {
  const found = new Float64Array(count * weights.length);
  weights.forEach((own, value) => own.forEach((weight, index) => (found[index * weights.length + value] = weight)));
  return found;
}

function kernel(squares: number): number {
  const place = squares * STEPS;
  const step = place | 0;
  const below = KERNEL[step] as number;
  return below + ((KERNEL[step + 1] as number) - below) * (place - step);
}

/** Pixels that lie together, and which of the points are so near that their kernel may be more than 0. */
interface Block {
  pixels: number[];
  reached: Uint16Array;
}

/** The pixels that strokes through some points can change, squares around them, in blocks. */
function* blocks(points: readonly number[], height: number, width: number): Generator<Block> {
  const reach = Math.ceil(REACH * PLACE_PX);
  const within = new Uint8Array(height * width);
  for (const point of points) {
    const [row, column] = [Math.floor(point / width), point % width];
    const [left, end] = [Math.max(0, column - reach), Math.min(width, column + reach + 1)];
    for (let at = Math.max(0, row - reach); at <= Math.min(height - 1, row + reach); at++) within.fill(1, at * width + left, at * width + end);
  }
  for (let top = 0; top < height; top += BLOCK) {
    for (let left = 0; left < width; left += BLOCK) {
      const [bottom, right] = [Math.min(top + BLOCK, height) - 1, Math.min(left + BLOCK, width) - 1];
      const pixels: number[] = [];
      for (let row = top; row <= bottom; row++)
        for (let pixel = row * width + left; pixel <= row * width + right; pixel++) if (within[pixel]) pixels.push(pixel);
      if (!pixels.length) continue;
      const reached = points.flatMap((point, index) => {
        const down = outside(Math.floor(point / width), top, bottom);
        const across = outside(point % width, left, right);
        return down * down + across * across < NOTHING * PLACE_PX * PLACE_PX ? [index] : [];
      });
      yield { pixels, reached: Uint16Array.from(reached) };
    }
  }
}

/** How far a number lies outside of a range. */
function outside(place: number, first: number, last: number): number {
  return Math.max(first - place, 0, place - last);
}

/** Solve a symmetric positive definite system for several right sides (Cholesky). The matrix is overwritten. */
function solve(matrix: Float64Array[], sides: readonly Float64Array[]): Float64Array[] {
  const count = matrix.length;
  const cell = (row: number, column: number) => (matrix[row] as Float64Array)[column] as number;
  for (let row = 0; row < count; row++) {
    const own = matrix[row] as Float64Array;
    for (let column = 0; column <= row; column++) {
      const other = matrix[column] as Float64Array;
      let rest = own[column] as number;
      for (let index = 0; index < column; index++) rest -= (own[index] as number) * (other[index] as number);
      own[column] = row === column ? Math.sqrt(rest) : rest / (other[column] as number);
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
