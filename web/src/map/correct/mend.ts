/** Strokes that mend the classes of a correction, guided by the bands of its window. */

import { decodeRuns, encodeRuns, Grid, NOT_JUDGED, type Pixel } from "./grid";
import type { Mending, Session } from "./session";
import { repaint } from "./strokes";

/** The pixels of a line between two pixels. */
export function line(from: Pixel, to: Pixel): Pixel[] {
  const steps = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
  return Array.from({ length: steps + 1 }, (_, step) => [
    Math.round(from[0] + ((to[0] - from[0]) * step) / steps),
    Math.round(from[1] + ((to[1] - from[1]) * step) / steps),
  ]);
}

/**
 * Add a stroke and repaint. All strokes drawn in a row mend the map before the first of them together. What was not
 * judged stays so, except under the strokes: there may be no data.
 *
 * @param classes - number of classes, not judged not among them
 */
export function mend(session: Session, bands: Float32Array, classes: number, value: number, pixels: readonly Pixel[], before: Mending | null): void {
  const { grid } = session;
  const [base, earlier] = before ? [before.base, before.strokes] : [encodeRuns(grid.values), []];
  const places = pixels.filter(([row, column]) => grid.has(row, column)).map(([row, column]) => row * grid.width + column);
  if (!places.length) return; // beside the window
  const stroke = { value: value === NOT_JUDGED ? classes : value, pixels: [...new Set(places)] };
  session.mending = { base, strokes: [...earlier, stroke] };
  const start = decodeRuns(base, grid.values.length);
  const proposal = new Grid(grid.height, grid.width, start.map((item) => (item === NOT_JUDGED ? classes : item)));
  const mended = repaint(bands, proposal, classes + 1, session.mending.strokes).values;
  const drawn = new Set(session.mending.strokes.flatMap((one) => one.pixels));
  mended.forEach((item, pixel) => {
    const stays = start[pixel] === NOT_JUDGED && !drawn.has(pixel);
    grid.values[pixel] = stays || item === classes ? NOT_JUDGED : item;
  });
}
