/** Where the pixels of a scene lie on the map, interpolated between the nodes that the server computed. */

export interface Grid {
  width: number;
  height: number;
  rows: number[];
  columns: number[];
  mercator: [x: number, y: number][];
  pixel_m2: number[];
}

type Place = [number, number];

const WORLD_M = 2 * Math.PI * 6_378_137; // once round the equator, in Web Mercator

export class Ground {
  constructor(readonly grid: Grid) {}

  /** Web Mercator coordinates of a place in pixels. */
  toMap(row: number, column: number): Place {
    const { x, y } = this.at(row, column);
    return [x, y];
  }

  /** Area of a pixel at a place, in square metres on the ellipsoid. */
  pixelM2(row: number, column: number): number {
    return this.at(row, column).m2;
  }

  /** Place in pixels of Web Mercator coordinates, in whichever world; beyond the scene it is extrapolated. */
  toPixel(x: number, y: number): Place {
    let [row, column] = [this.grid.height / 2, this.grid.width / 2];
    const [middle] = this.toMap(row, column); // a scene across 180 degrees goes on beyond the world
    x -= WORLD_M * Math.round((x - middle) / WORLD_M);
    for (let step = 0; step < 8; step++) {
      const [x0, y0] = this.toMap(row, column);
      const [xr, yr] = this.toMap(row + 1, column);
      const [xc, yc] = this.toMap(row, column + 1);
      const [a, b, c, d] = [xr - x0, xc - x0, yr - y0, yc - y0];
      const scale = a * d - b * c;
      const [down, across] = [(d * (x - x0) - b * (y - y0)) / scale, (a * (y - y0) - c * (x - x0)) / scale];
      row += down;
      column += across;
      if (Math.abs(down) + Math.abs(across) < 1e-4) break;
    }
    return [row, column];
  }

  private at(row: number, column: number): { x: number; y: number; m2: number } {
    const { rows, columns, mercator, pixel_m2 } = this.grid;
    const [i, u] = cell(rows, row);
    const [j, v] = cell(columns, column);
    const sum = { x: 0, y: 0, m2: 0 };
    for (const [di, dj, weight] of [[0, 0, (1 - u) * (1 - v)], [0, 1, (1 - u) * v], [1, 0, u * (1 - v)], [1, 1, u * v]] as const) {
      const node = (i + di) * columns.length + j + dj;
      const [x, y] = mercator[node] as Place;
      sum.x += weight * x;
      sum.y += weight * y;
      sum.m2 += weight * (pixel_m2[node] as number);
    }
    return sum;
  }
}

/** The cell of evenly spaced nodes that a place is in, and how far into it. */
function cell(nodes: number[], at: number): [number, number] {
  const step = nodes[1] as number;
  const index = Math.max(0, Math.min(nodes.length - 2, Math.floor(at / step)));
  return [index, at / step - index];
}
