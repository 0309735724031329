/** The gestures of the tools: each that changes a class is one step that can be undone. */

import { brushCentre, centreOf, pixelOf, type Pixel, type Place } from "./grid";
import { line, mend } from "./mend";
import type { Gesture } from "./pointer";
import type { Session } from "./session";

/** What a gesture needs of the editor. */
export interface Desk {
  session: Session;
  /** The class to draw with. */
  value: number;
  /** Of the brush, in pixels. */
  diameter: number;
  classes: number;
  /** Show what was drawn so far. */
  show(): void;
  /** The gesture is over. */
  done(): void;
}

export function painting(desk: Desk, value: number): Gesture {
  const { session, diameter } = desk;
  return stepwise(desk, (from, to) => session.grid.paint(brushCentre(from, diameter), brushCentre(to, diameter), diameter, value));
}

export function filling(desk: Desk): Gesture {
  const fill = (place: Place) => desk.session.grid.fill(pixelOf(place), desk.value);
  return { ...stepwise(desk, () => undefined), begin: (place) => step(desk, () => fill(place)) };
}

/** Give whole superpixels the class. @param numbers - the superpixel of each pixel; 0: no data */
export function assigning(desk: Desk, numbers: Int32Array): Gesture {
  const { grid } = desk.session;
  return stepwise(desk, (from, to) => {
    const touched = new Set(line(pixelOf(from), pixelOf(to)).filter((pixel) => grid.has(...pixel)).map(([row, column]) => numbers[row * grid.width + column]));
    touched.delete(0);
    numbers.forEach((number, pixel) => touched.has(number) && (grid.values[pixel] = desk.value));
  });
}

export function mending(desk: Desk, bands: Float32Array): Gesture {
  const { session } = desk;
  const before = session.mending;
  const start = session.grid.values.slice();
  const pixels: Pixel[] = [];
  const add = (from: Place, to: Place) => {
    const [first, last] = [pixelOf(from), pixelOf(to)];
    pixels.push(...line(first, last));
    session.grid.paint(centreOf(first), centreOf(last), 1, desk.value);
    desk.show();
  };
  return {
    begin: (place) => {
      session.beginStep();
      add(place, place);
    },
    to: add,
    end: () => {
      session.grid.values.set(start);
      mend(session, bands, desk.classes, desk.value, pixels, before);
      desk.done();
    },
  };
}

function stepwise(desk: Desk, draw: (from: Place, to: Place) => void): Gesture {
  const to = (from: Place, place: Place) => {
    draw(from, place);
    desk.show();
  };
  return { begin: (place) => step(desk, () => to(place, place)), to, end: () => desk.done() };
}

function step(desk: Desk, act: () => void): void {
  desk.session.beginStep();
  desk.session.mending = null;
  act();
  desk.show();
}
