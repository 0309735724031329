/** Polygons along the edges of pixels, with holes, from a map of classes. */

export type Ring = [row: number, column: number][];

/** A connected patch of one class (pixels that share an edge, as in the server's outlines). */
export interface Shape {
  value: number;
  pixels: number;
  /** Mean row and column of its pixels' centres. */
  centre: [row: number, column: number];
  /** The outer ring first, then the holes; each ends where it began. */
  rings: Ring[];
}

// Directions of edges, clockwise: east, south, west, north; the inside is on the right-hand side.
const STEP = [[0, 1], [1, 0], [0, -1], [-1, 0]] as const;

/** Trace all classes but those that are left out. */
export function trace(classes: Uint8Array, height: number, width: number, leftOut: readonly number[]): Shape[] {
  const seen = new Uint8Array(height * width);
  const edges = new Uint8Array((height + 1) * (width + 1)); // by corner, a bit for each direction that leaves it
  const shapes: Shape[] = [];
  for (let start = 0; start < classes.length; start++) {
    if (seen[start] || leftOut.includes(classes[start] as number)) continue;
    shapes.push(traceOne(classes, height, width, start, seen, edges));
  }
  return shapes;
}

function traceOne(classes: Uint8Array, height: number, width: number, start: number, seen: Uint8Array, edges: Uint8Array): Shape {
  const value = classes[start] as number;
  const corners: number[] = [];
  const waiting = [start];
  seen[start] = 1;
  let [pixels, rows, columns] = [0, 0, 0];
  const isInside = (row: number, column: number): boolean =>
    row >= 0 && row < height && column >= 0 && column < width && classes[row * width + column] === value;
  const leave = (row: number, column: number, direction: number): void => {
    const corner = row * (width + 1) + column;
    edges[corner] = (edges[corner] as number) | (1 << direction);
    corners.push(corner);
  };
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    const [row, column] = [Math.floor(at / width), at % width];
    pixels += 1;
    rows += row + 0.5;
    columns += column + 0.5;
    const visit = (toRow: number, toColumn: number, edge: [number, number, number]): void => {
      if (!isInside(toRow, toColumn)) {
        leave(...edge);
        return;
      }
      const to = toRow * width + toColumn;
      if (!seen[to]) {
        seen[to] = 1;
        waiting.push(to);
      }
    };
    visit(row - 1, column, [row, column, 0]);
    visit(row, column + 1, [row, column + 1, 1]);
    visit(row + 1, column, [row + 1, column + 1, 2]);
    visit(row, column - 1, [row + 1, column, 3]);
  }
  const rings = corners.flatMap((corner) => {
    const found: Ring[] = [];
    while (edges[corner]) found.push(follow(corner, width, edges));
    return found;
  });
  rings.sort((a, b) => area(b) - area(a)); // holes run the other way round: their areas are negative
  return { value, pixels, centre: [rows / pixels, columns / pixels], rings };
}

/** Follow the edges from a corner until they come back, taking them away. */
function follow(first: number, width: number, edges: Uint8Array): Ring {
  const ring: Ring = [];
  let corner = first;
  let direction = lowest(edges[corner] as number);
  let before = -1;
  do {
    const [row, column] = [Math.floor(corner / (width + 1)), corner % (width + 1)];
    if (direction !== before) ring.push([row, column]);
    edges[corner] = (edges[corner] as number) & ~(1 << direction);
    const [down, across] = STEP[direction] as readonly [number, number];
    corner = (row + down) * (width + 1) + column + across;
    before = direction;
    // Where two pixels touch at a corner only, turning right keeps them apart.
    direction = [1, 0, 3].map((turn) => (before + turn) % 4).find((next) => (edges[corner] as number) & (1 << next)) ?? before;
  } while (corner !== first || (edges[corner] as number) & (1 << direction));
  ring.push(ring[0] as [number, number]);
  return ring;
}

function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/** Twice the signed area; positive clockwise on the screen. */
function area(ring: Ring): number {
  let sum = 0;
  for (let i = 1; i < ring.length; i++) {
    const [[r0, c0], [r1, c1]] = [ring[i - 1] as [number, number], ring[i] as [number, number]];
    sum += c0 * r1 - c1 * r0;
  }
  return sum;
}
