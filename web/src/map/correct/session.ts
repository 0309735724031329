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

/** What was sent last: whether it arrived may not be known. */
interface Sent {
  id: string;
  edits: number;
  onlyChanged: boolean;
}

/** The ground that a draft is of: numbers of scenes are given again in other installations, and after a restore. */
export interface Ground {
  id: number;
  name: string;
  width: number;
  height: number;
}

interface Draft {
  ground?: Ground; // drafts of earlier releases lack it
  id: string;
  edits?: number; // drafts of earlier releases lack it
  sent?: Sent | null;
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
  private open: State | null = null; // before the step that is being drawn
  private past: State[] = [];
  private future: State[] = [];
  private last = Date.now();
  private edits = 0;
  private sent: Sent | null = null;

  private constructor(
    private readonly ground: Ground,
    private readonly id: string,
    readonly window: Window,
    readonly shown: Shown | null,
    readonly began: Grid,
    values: Uint8Array<ArrayBuffer>,
    private worked: number,
  ) {
    this.grid = new Grid(window.height, window.width, values);
  }

  static begin(ground: Ground, window: Window, shown: Shown | null, began: Uint8Array<ArrayBuffer>): Session {
    const grid = new Grid(window.height, window.width, began);
    return new Session(ground, newId(), window, shown, grid, began.slice(), 0);
  }

  /** The number of the scene. */
  get scene(): number {
    return this.ground.id;
  }

  /** A draft of a scene that was left; null if there is none that can be read. One of other ground stays where it is. */
  static draft(ground: Ground): Session | null {
    const scene = ground.id;
    for (const name of Object.keys(localStorage).filter((name) => isOf(name, scene)).sort()) {
      try {
        const { ground: of, id, edits, sent, window, shown, began, runs, seconds } = JSON.parse(localStorage.getItem(name) ?? "") as Draft;
        if (of && !isSame(of, ground)) continue;
        const size = window.height * window.width;
        const grid = new Grid(window.height, window.width, decodeRuns(began, size));
        const session = new Session(ground, id, window, shown, grid, decodeRuns(runs, size), Math.max(0, seconds));
        [session.edits, session.sent] = [edits ?? 0, sent ?? null];
        if (name === prefix(scene) && session.keep()) localStorage.removeItem(name); // else both would be there
        return session;
      } catch {
        localStorage.removeItem(name);
      }
    }
    return null;
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

  /**
   * The id to submit under: the same for what was sent before, of which it may not be known whether it arrived, and
   * another one for what was changed since.
   */
  idFor(onlyChanged: boolean): string {
    const { edits, sent } = this;
    if (sent?.edits === edits && sent.onlyChanged === onlyChanged) return sent.id;
    this.sent = { id: newId(), edits, onlyChanged };
    this.keep();
    return this.sent.id;
  }

  /** Note what undo goes back to, before the classes change. */
  beginStep(): void {
    this.endStep();
    this.open = this.state();
  }

  /** Remember the step that was begun, unless it changed no class: undo would seem to do nothing. */
  endStep(): void {
    const { open } = this;
    this.open = null;
    if (!open) return;
    const before = decodeRuns(open.runs, this.grid.values.length);
    if (this.grid.values.every((value, pixel) => value === before[pixel])) {
      this.mending ??= open.mending;
      return;
    }
    this.edits += 1;
    this.past = [...this.past.slice(1 - MOST_STEPS), open];
    this.future = [];
  }

  /** Put back what the step that was begun changed. */
  cancelStep(): void {
    if (this.open) this.putBack(this.open);
    this.open = null;
  }

  undo(): void {
    if (this.open) return; // it is still being drawn
    const state = this.past.pop();
    if (state) this.restore(state, this.future);
  }

  redo(): void {
    if (this.open) return;
    const state = this.future.pop();
    if (state) this.restore(state, this.past);
  }

  /** Keep the draft in this browser; return whether there was room for it. */
  keep(): boolean {
    const now = Date.now();
    this.worked += Math.max(0, Math.min(IDLE_S, (now - this.last) / 1000)); // the clock may have been set back
    this.last = now;
    const { id, edits, sent, window, shown } = this;
    const [began, runs] = [encodeRuns(this.began.values), encodeRuns(this.grid.values)];
    const draft: Draft = { ground: this.ground, id, edits, sent, window, shown, began, runs, seconds: this.worked };
    try {
      localStorage.setItem(`${prefix(this.scene)}:${this.id}`, JSON.stringify(draft));
    } catch {
      return false;
    }
    return true;
  }

  /** Whether it is kept as it is here: in another tab it may have been gone on with, sent or discarded. */
  get isKept(): boolean {
    const kept = localStorage.getItem(`${prefix(this.scene)}:${this.id}`);
    if (kept === null) return false;
    const { edits = 0, runs } = JSON.parse(kept) as Draft;
    return edits === this.edits && JSON.stringify(runs) === JSON.stringify(encodeRuns(this.grid.values));
  }

  forget(): void {
    localStorage.removeItem(`${prefix(this.scene)}:${this.id}`);
    localStorage.removeItem(prefix(this.scene));
  }

  private state(): State {
    return { runs: encodeRuns(this.grid.values), mending: this.mending };
  }

  private restore(state: State, other: State[]): void {
    other.push(this.state());
    this.putBack(state);
    this.edits += 1;
    this.keep();
  }

  private putBack(state: State): void {
    this.grid.values.set(decodeRuns(state.runs, this.grid.values.length));
    this.mending = state.mending;
  }
}

/** Colleagues may share a browser, and a person may correct in two tabs: each draft has a name of its own. */
function prefix(scene: number): string {
  return `glacier-al:correction:${who}:${scene}`;
}

function isSame(one: Ground, other: Ground): boolean {
  return one.name === other.name && one.width === other.width && one.height === other.height;
}

/** Whether a name is that of a draft of a scene; earlier releases kept one for each scene, without an id. */
function isOf(name: string, scene: number): boolean {
  return name === prefix(scene) || name.startsWith(`${prefix(scene)}:`);
}
