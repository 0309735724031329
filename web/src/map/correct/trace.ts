/** Outlines of the connected areas of a grid, along the edges of their pixels, holes included. */

import { BACKGROUND, Grid, type Ring } from "./grid";

export interface Area {
  value: number;
  /** Indices of its pixels, row by row. */
  pixels: number[];
  /** The outer ring first, then the holes. */
  rings: Ring[];
}

/** The areas of all values but background, each connected by the sides of its pixels. */
export function traceAreas(grid: Grid): Area[] {
  const { height, width, values } = grid;
  const seen = new Uint8Array(values.length);
  const areas: Area[] = [];
  values.forEach((value, start) => {
    if (value === BACKGROUND || seen[start]) return;
    const members: number[] = [];
    const waiting = [start];
    seen[start] = 1;
    for (let pixel = waiting.pop(); pixel !== undefined; pixel = waiting.pop()) {
      members.push(pixel);
      const column = pixel % width;
      for (const next of [pixel - width, pixel + width, column > 0 ? pixel - 1 : -1, column < width - 1 ? pixel + 1 : -1]) {
        if (next < 0 || next >= values.length || seen[next] || values[next] !== value) continue;
        seen[next] = 1;
        waiting.push(next);
      }
    }
    areas.push({ value, pixels: members, rings: ringsOf(new Set(members), width, height) });
  });
  return areas;
}

/** The areas of some pixels of a grid, whatever their class, as of one with this value. */
export function traceSome(grid: Grid, pixels: Iterable<number>, value: number): Area[] {
  const own = new Grid(grid.height, grid.width);
  for (const pixel of pixels) own.values[pixel] = 1;
  return traceAreas(own).map((area) => ({ ...area, value }));
}

/** Follow the edges of a set of pixels with the set on the right, and join them to rings; the largest comes first. */
function ringsOf(members: ReadonlySet<number>, width: number, height: number): Ring[] {
  const corners = width + 1;
  const onwards = new Map<number, number[]>(); // from a corner to those that edges lead to
  const edge = (from: number, to: number) => onwards.set(from, [...(onwards.get(from) ?? []), to]);
  const inside = (row: number, column: number) =>
    row >= 0 && row < height && column >= 0 && column < width && members.has(row * width + column);
  for (const pixel of members) {
    const [row, column] = [Math.floor(pixel / width), pixel % width];
    const corner = row * corners + column;
    if (!inside(row - 1, column)) edge(corner, corner + 1);
    if (!inside(row, column + 1)) edge(corner + 1, corner + corners + 1);
    if (!inside(row + 1, column)) edge(corner + corners + 1, corner + corners);
    if (!inside(row, column - 1)) edge(corner + corners, corner);
  }
  const rings: { ring: [number, number][]; size: number }[] = [];
  for (const first of onwards.keys()) {
    while (onwards.get(first)?.length) {
      const path = [first];
      let at = take(onwards, first, 0);
      let direction = at - first;
      while (at !== first) {
        path.push(at);
        const next = take(onwards, at, direction);
        direction = next - at;
        at = next;
      }
      const ring = path.map((corner): [number, number] => [corner % corners, Math.floor(corner / corners)]);
      rings.push({ ring: withoutStraight(ring), size: Math.abs(area(ring)) });
    }
  }
  return rings.sort((one, other) => other.size - one.size).map(({ ring }) => ring);
}

/** Take an edge from a corner; where two begin, the one that turns, so that pixels that touch at a corner stay apart. */
function take(onwards: Map<number, number[]>, corner: number, direction: number): number {
  const choices = onwards.get(corner) as number[];
  const index = Math.max(0, choices.findIndex((next) => next - corner !== direction));
  return choices.splice(index, 1)[0] as number;
}

function withoutStraight(ring: readonly [number, number][]): [number, number][] {
  return ring.filter(([x, y], index) => {
    const [before, after] = [ring.at(index - 1), ring[(index + 1) % ring.length]];
    return !before || !after || (before[0] === x) !== (after[0] === x) || (before[1] === y) !== (after[1] === y);
  });
}

function area(ring: Ring): number {
  return ring.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = ring[(index + 1) % ring.length] ?? [0, 0];
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
}
