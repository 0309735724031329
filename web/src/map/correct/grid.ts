/** A window of class values, and what tools do to its pixels. Values are as in label masks; 255: not judged. */

export const BACKGROUND = 0;
export const NOT_JUDGED = 255;

/** Row and column of a pixel. */
export type Pixel = readonly [number, number];

/** Row and column with fractions: the upper left corner of the first pixel is (0, 0), its centre (0.5, 0.5). */
export type Place = readonly [number, number];

export function pixelOf([row, column]: Place): Pixel {
  return [Math.floor(row), Math.floor(column)];
}

export function centreOf([row, column]: Pixel): Place {
  return [row + 0.5, column + 0.5];
}

/**
 * Where the centre of a brush lies for the pointer at a place: the centre of a pixel if its diameter is odd, the nearest
 * corner if it is even. Only then is the footprint as many pixels high and wide as the diameter.
 */
export function brushCentre(place: Place, diameter: number): Place {
  return diameter % 2 ? centreOf(pixelOf(place)) : [Math.round(place[0]), Math.round(place[1])];
}

/** A ring of (column, row) corners in pixels; the corner (0, 0) is the upper left one of the first pixel. */
export type Ring = readonly (readonly [number, number])[];

export class Grid {
  constructor(
    readonly height: number,
    readonly width: number,
    readonly values: Uint8Array<ArrayBuffer> = new Uint8Array(height * width),
  ) {
    if (values.length !== height * width) throw new Error(`found ${values.length} values, expected ${height} x ${width}`);
  }

  copy(): Grid {
    return new Grid(this.height, this.width, this.values.slice());
  }

  at(row: number, column: number): number {
    return this.values[row * this.width + column] ?? NOT_JUDGED;
  }

  has(row: number, column: number): boolean {
    return row >= 0 && row < this.height && column >= 0 && column < this.width;
  }

  /** Set all pixels whose centre is no farther than half the diameter from the line between two centres of a brush. */
  paint(from: Place, to: Place, diameter: number, value: number): void {
    const radius = diameter / 2;
    const [top, left] = pixelOf([Math.min(from[0], to[0]) - radius, Math.min(from[1], to[1]) - radius]);
    const [bottom, right] = pixelOf([Math.max(from[0], to[0]) + radius, Math.max(from[1], to[1]) + radius]);
    for (let row = Math.max(0, top); row <= Math.min(this.height - 1, bottom); row++) {
      for (let column = Math.max(0, left); column <= Math.min(this.width - 1, right); column++) {
        if (distance(centreOf([row, column]), from, to) <= radius) this.values[row * this.width + column] = value;
      }
    }
  }

  /** Set the connected area of one class around a pixel. */
  fill(start: Pixel, value: number): void {
    const old = this.at(...start);
    if (old === value || !this.has(...start)) return;
    const waiting: Pixel[] = [start];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const [row, column] = next;
      if (!this.has(row, column) || this.at(row, column) !== old) continue;
      this.values[row * this.width + column] = value;
      waiting.push([row - 1, column], [row + 1, column], [row, column - 1], [row, column + 1]);
    }
  }

  /** The pixels whose centre lies inside of rings: 1, else 0. */
  inside(rings: readonly Ring[]): Uint8Array {
    const found = new Grid(this.height, this.width);
    found.paintRings(rings, 1);
    return found.values;
  }

  /** The pixels that touch some, by a side or a corner, and these themselves: 1, else 0. */
  around(pixels: Uint8Array): Uint8Array {
    const found = new Uint8Array(pixels.length);
    pixels.forEach((is, pixel) => {
      if (!is) return;
      const [row, column] = [Math.floor(pixel / this.width), pixel % this.width];
      for (let y = Math.max(0, row - 1); y <= Math.min(this.height - 1, row + 1); y++) {
        found.fill(1, y * this.width + Math.max(0, column - 1), y * this.width + Math.min(this.width, column + 2));
      }
    });
    return found;
  }

  /** Set the pixels whose centre lies inside of rings by the even-odd rule, so that inner rings are holes. */
  paintRings(rings: readonly Ring[], value: number): void {
    for (let row = 0; row < this.height; row++) {
      const crossings = crossingsOf(rings, row + 0.5);
      for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
        const first = Math.max(0, Math.ceil((crossings[pair] ?? 0) - 0.5));
        const end = Math.min(this.width, Math.ceil((crossings[pair + 1] ?? 0) - 0.5));
        if (first < end) this.values.fill(value, row * this.width + first, row * this.width + end);
      }
    }
  }

  /** Number of pixels by value. */
  counts(): Map<number, number> {
    const found = new Map<number, number>();
    for (const value of this.values) found.set(value, (found.get(value) ?? 0) + 1);
    return found;
  }
}

/** How far a place is from the line between two others. */
function distance([row, column]: Place, from: Place, to: Place): number {
  const [down, right] = [to[0] - from[0], to[1] - from[1]];
  const length = down * down + right * right;
  const share = length ? Math.min(1, Math.max(0, ((row - from[0]) * down + (column - from[1]) * right) / length)) : 0;
  return Math.hypot(row - from[0] - share * down, column - from[1] - share * right);
}

/** Where a horizontal line crosses rings, from left to right. */
function crossingsOf(rings: readonly Ring[], y: number): number[] {
  const found: number[] = [];
  for (const ring of rings) {
    for (let index = 0; index < ring.length; index++) {
      const [x1, y1] = ring[index] ?? [0, 0];
      const [x2, y2] = ring[(index + 1) % ring.length] ?? [0, 0];
      if (y1 <= y !== y2 <= y) found.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1));
    }
  }
  return found.sort((one, other) => one - other);
}

/** The run lengths of values, row by row: value, length, value, length, ... */
export function encodeRuns(values: Uint8Array): number[] {
  const runs: number[] = [];
  for (let start = 0; start < values.length; ) {
    let end = start + 1;
    while (end < values.length && values[end] === values[start]) end++;
    runs.push(values[start] ?? 0, end - start);
    start = end;
  }
  return runs;
}

export function decodeRuns(runs: readonly number[], size: number): Uint8Array<ArrayBuffer> {
  const values = new Uint8Array(size);
  let at = 0;
  for (let index = 0; index + 1 < runs.length; index += 2) {
    const end = at + (runs[index + 1] ?? 0);
    values.fill(runs[index] ?? 0, at, end);
    at = end;
  }
  if (at !== size) throw new Error(`found runs of ${at} pixels, expected ${size}`);
  return values;
}
