/** What the map could not load of what it shows: tiles, and layers that are loaded as a whole. */

import type OlMap from "ol/Map";
import type BaseLayer from "ol/layer/Base";
import TileLayer from "ol/layer/Tile";

import { ProblemError, UnreachableError } from "../api";
import type { Watcher } from "./compare";
import { type Fault, FaultNote } from "./fault_note";
import { TileWatch } from "./tile_watch";

const SETTLED_MS = 400; // many tiles fail at once, and layers are made anew at each choice: they are told together, and once

interface Whole {
  of: string;
  error: Error;
  isTried: boolean;
  again: () => void;
}

export class LoadFaults implements Watcher {
  private readonly note: FaultNote;
  private readonly tiles = new Map<BaseLayer, { of: string; watch: TileWatch }>();
  private readonly wholes = new Map<string, Whole>();
  private waits = 0;

  /**
   * @param target - the element of the map, before which the note is placed
   * @param titleOf - returns what people call a layer; null: it does not show now
   * @param gone - called when the server says that a layer does not exist any more
   */
  constructor(
    target: HTMLElement,
    private readonly titleOf: (of: string) => string | null,
    private readonly gone: () => void,
  ) {
    this.note = new FaultNote(target);
    target.before(this.note.element);
  }

  begin(of: string | null, layer: BaseLayer, map: OlMap): void {
    if (of === null || !(layer instanceof TileLayer)) return;
    let isGone = false;
    const watch = new TileWatch(layer, map, () => {
      this.update();
      const tells404 = !isGone && watch.inView().some(({ error }) => error instanceof ProblemError && error.status === 404);
      if (!tells404) return;
      isGone = true;
      this.gone();
    });
    this.tiles.set(layer, { of, watch });
  }

  end(layer: BaseLayer): void {
    this.tiles.get(layer)?.watch.stop();
    if (this.tiles.delete(layer)) this.update();
  }

  /** Tell that a layer could not be loaded. @param key - of the layer and its side */
  set(key: string, of: string, error: Error, again: () => void): void {
    this.wholes.set(key, { of, error, isTried: false, again });
    this.update();
  }

  /** Note that a layer has been loaded, or is not wanted any more. */
  clear(key: string): void {
    if (this.wholes.delete(key)) this.update();
  }

  /** Note that other layers are wanted now. */
  clearAll(): void {
    this.wholes.clear();
    this.update();
  }

  /** Show what is missing now, soon. */
  update(): void {
    this.waits ||= window.setTimeout(() => this.show(), SETTLED_MS);
  }

  /** Ask once more for what did not come because the server did not answer. */
  reachableAgain(): void {
    for (const fault of this.all()) if (fault.isUnreachable && !fault.isTried) fault.again();
  }

  private show(): void {
    clearTimeout(this.waits);
    this.waits = 0;
    this.note.show(this.all());
  }

  private all(): (Fault & { isUnreachable: boolean })[] {
    const tiles = [...this.tiles.values()].flatMap(({ of, watch }) => {
      const again = this.trying(() => watch.again());
      return watch.inView().map(({ error, isTried }) => ({ of, error, isTried, again }));
    });
    const wholes = [...this.wholes.values()].map((whole) => {
      const again = this.trying(() => {
        whole.isTried = true;
        whole.again();
      });
      return { ...whole, again };
    });
    return [...tiles, ...wholes].flatMap(({ of, error, isTried, again }) => {
      const title = this.titleOf(of);
      return title === null ? [] : [{ title, reason: error.message, isTried, again, isUnreachable: error instanceof UnreachableError }];
    });
  }

  /** An attempt that shows at once, and is made once, however many tiles of a layer ask for it. */
  private trying(attempt: () => void): () => void {
    let isMade = false;
    return () => {
      if (isMade) return;
      isMade = true;
      attempt();
      this.show();
    };
  }
}
