/** A correction in the making: its window, its classes, and what can be undone. It is kept as a draft in the browser. */

import { newId } from "../../dom";
import { who } from "../../page";
import { decodeRuns, encodeRuns, Grid } from "./grid";
import type { Stroke } from "./strokes";

export interface Window {
  row_off: number;
  col_off: number;
  height: number;
  width: number;
}

export interface Shown {
  layer: string;
  version: number | null;
}

/** What undo goes back to: the classes, and the strokes that mended them with the map that they mended. */
interface State {
  runs: number[];
  mending: Mending | null;
}

export interface Mending {
  base: number[];
  strokes: Stroke[];
}

interface Draft {
  id: string;
  window: Window;
  shown: Shown | null;
  began: number[];
  runs: number[];
  seconds: number;
}

const MOST_STEPS = 100;
const IDLE_S = 60; // longer pauses are no working time

export class Session {
  readonly grid: Grid;
  mending: Mending | null = null;
  private past: State[] = [];
  private future: State[] = [];
  private last = Date.now();

  private constructor(
    readonly scene: number,
    readonly id: string,
    readonly window: Window,
    readonly shown: Shown | null,
    readonly began: Grid,
    values: Uint8Array<ArrayBuffer>,
    private worked: number,
  ) {
    this.grid = new Grid(window.height, window.width, values);
  }

  static begin(scene: number, window: Window, shown: Shown | null, began: Uint8Array<ArrayBuffer>): Session {
    const grid = new Grid(window.height, window.width, began);
    return new Session(scene, newId(), window, shown, grid, began.slice(), 0);
  }

  /** The draft of a scene that was left; null if there is none that can be read. */
  static draft(scene: number): Session | null {
    const kept = localStorage.getItem(key(scene));
    if (kept === null) return null;
    try {
      const { id, window, shown, began, runs, seconds } = JSON.parse(kept) as Draft;
      const size = window.height * window.width;
      const grid = new Grid(window.height, window.width, decodeRuns(began, size));
      return new Session(scene, id, window, shown, grid, decodeRuns(runs, size), seconds);
    } catch {
      localStorage.removeItem(key(scene));
      return null;
    }
  }

  get isChanged(): boolean {
    return this.grid.values.some((value, pixel) => value !== this.began.values[pixel]);
  }

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  get seconds(): number {
    return this.worked;
  }

  /** Note what undo goes back to, before the classes change. */
  mark(): void {
    this.past = [...this.past.slice(1 - MOST_STEPS), this.state()];
    this.future = [];
  }

  undo(): void {
    const state = this.past.pop();
    if (state) this.restore(state, this.future);
  }

  redo(): void {
    const state = this.future.pop();
    if (state) this.restore(state, this.past);
  }

  /** Keep the draft in this browser; return whether there was room for it. */
  keep(): boolean {
    const now = Date.now();
    this.worked += Math.min(IDLE_S, (now - this.last) / 1000);
    this.last = now;
    const { id, window, shown } = this;
    const [began, runs] = [encodeRuns(this.began.values), encodeRuns(this.grid.values)];
    const draft: Draft = { id, window, shown, began, runs, seconds: this.worked };
    try {
      localStorage.setItem(key(this.scene), JSON.stringify(draft));
    } catch {
      return false;
    }
    return true;
  }

  forget(): void {
    localStorage.removeItem(key(this.scene));
  }

  private state(): State {
    return { runs: encodeRuns(this.grid.values), mending: this.mending };
  }

  private restore(state: State, other: State[]): void {
    other.push(this.state());
    this.grid.values.set(decodeRuns(state.runs, this.grid.values.length));
    this.mending = state.mending;
    this.keep();
  }
}

function key(scene: number): string {
  return `glacier-al:correction:${who}:${scene}`; // colleagues may share a browser
}
