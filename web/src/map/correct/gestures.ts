/** The gestures of the tools: each is one step that can be undone. */

import type { Pixel } from "./grid";
import { line, mend } from "./mend";
import type { Gesture } from "./pointer";
import type { Session } from "./session";

/** What a gesture needs of the editor. */
export interface Desk {
  session: Session;
  /** The class to draw with. */
  value: number;
  radius: number;
  classes: number;
  /** Show what was drawn so far. */
  show(): void;
  /** The gesture is over. */
  done(): void;
}

export function painting(desk: Desk, value: number): Gesture {
  const { session, radius } = desk;
  return stepwise(desk, (from, to) => session.grid.paint(from, to, radius, value));
}

export function filling(desk: Desk): Gesture {
  const fill = (pixel: Pixel) => desk.session.grid.fill(pixel, desk.value);
  return { ...stepwise(desk, () => undefined), begin: (pixel) => step(desk, () => fill(pixel)) };
}

/** Give whole superpixels the class. @param numbers - the superpixel of each pixel; 0: no data */
export function assigning(desk: Desk, numbers: Int32Array): Gesture {
  const { grid } = desk.session;
  return stepwise(desk, (from, to) => {
    const touched = new Set(line(from, to).filter((pixel) => grid.has(...pixel)).map(([row, column]) => numbers[row * grid.width + column]));
    touched.delete(0);
    numbers.forEach((number, pixel) => touched.has(number) && (grid.values[pixel] = desk.value));
  });
}

export function mending(desk: Desk, bands: Float32Array): Gesture {
  const { session } = desk;
  const before = session.mending;
  const start = session.grid.values.slice();
  const pixels: Pixel[] = [];
  const add = (from: Pixel, to: Pixel) => {
    pixels.push(...line(from, to));
    session.grid.paint(from, to, 0.5, desk.value);
    desk.show();
  };
  return {
    begin: (pixel) => {
      session.mark();
      add(pixel, pixel);
    },
    to: add,
    end: () => {
      session.grid.values.set(start);
      mend(session, bands, desk.classes, desk.value, pixels, before);
      desk.done();
    },
  };
}

function stepwise(desk: Desk, draw: (from: Pixel, to: Pixel) => void): Gesture {
  const to = (from: Pixel, pixel: Pixel) => {
    draw(from, pixel);
    desk.show();
  };
  return { begin: (pixel) => step(desk, () => to(pixel, pixel)), to, end: () => desk.done() };
}

function step(desk: Desk, act: () => void): void {
  desk.session.mark();
  desk.session.mending = null;
  act();
  desk.show();
}
