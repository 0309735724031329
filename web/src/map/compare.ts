/**
 * One view, two under a swipe, or two side by side. What lies above the views is shown on both, or on one side only, where
 * two versions are compared.
 */

import OlMap from "ol/Map";
import type BaseLayer from "ol/layer/Base";
import type { Pixel } from "ol/pixel";

import { make } from "../dom";
import type { Layout } from "./link";

export type OneSide = "left" | "right";
export type Side = OneSide | "both";
/** Makes a layer; a layer of one side of a swipe is cut off by the style of its class. */
export type Build = (className: string) => BaseLayer;

export interface Overlay {
  /** By this name layers are shown and hidden; null: it always shows. */
  name: string | null;
  side: Side;
  build: Build;
}

/** A layer for another map; `of`: the name of a layer above the views, or the side of a view. */
export interface Copy {
  of: string | null;
  layer: BaseLayer;
}

/** Is told which layers are on the maps; `of` as in a copy. */
export interface Watcher {
  begin(of: string | null, layer: BaseLayer, map: OlMap): void;
  end(layer: BaseLayer): void;
}

interface Placed extends Overlay {
  first: BaseLayer | null;
  second: BaseLayer | null;
}

const WHOLE = "ol-layer";

export class Compare {
  private base: [layer: BaseLayer, map: OlMap][] = [];
  private readonly overlays = new Map<string, Placed>();
  private shown: readonly string[] = [];
  private mode: Layout["mode"] = "one";
  private isOneScene = true;
  private second: OlMap | null = null;
  private readonly beside: HTMLElement;
  private readonly slider: HTMLInputElement;
  private readonly cut: () => void;
  private views: [Build | null, Build | null] = [null, null];

  constructor(
    private readonly first: OlMap,
    target: HTMLElement,
    private readonly watcher: Watcher,
    /** Called when a person has moved the boundary of a swipe, in percent from the left. */
    swiped: (percent: number) => void,
    /** Called when a map is shown on the right. */
    private readonly begun: (map: OlMap, target: HTMLElement) => void,
  ) {
    this.beside = make("div", { class: "beside", hidden: true });
    target.after(this.beside);
    this.cut = () => target.style.setProperty("--swipe", `${this.slider.value}%`);
    this.slider = make("input", {
      type: "range", min: 0, max: 100, value: 50, step: 0.5, class: "swipe", hidden: true,
      "aria-label": "Boundary between the two sides", oninput: this.cut, onchange: () => swiped(Number(this.slider.value)),
    });
    this.cut();
    target.append(this.slider);
  }

  /**
   * Show one view, or two.
   *
   * @param swipe - where their boundary is, in percent from the left.
   * @param isOneScene - whether both are of one scene; else what always shows is of the left one.
   */
  show(left: Build | null, right: Build | null, mode: Layout["mode"], swipe: number, isOneScene: boolean): void {
    this.views = [left, right];
    this.slider.value = String(swipe);
    this.cut();
    for (const [layer, map] of this.base) this.removeFrom(map, layer);
    this.base = [];
    for (const overlay of this.overlays.values()) this.takeAway(overlay);
    if (left) this.addBase("left", left(WHOLE), this.first);
    this.slider.hidden = mode !== "swipe";
    if (right && mode === "swipe") this.addBase("right", right(this.classOf("right", mode)), this.first);
    this.showBeside(mode === "beside" ? right : null);
    this.mode = mode;
    this.isOneScene = isOneScene;
    for (const overlay of this.overlays.values()) this.place(overlay);
  }

  /** The side that shows at a pixel of a map. */
  sideAt(map: OlMap, [x = 0]: Pixel): OneSide {
    const [width = 0] = map.getSize() ?? [];
    return map === this.second || (this.mode === "swipe" && x > (width * Number(this.slider.value)) / 100) ? "right" : "left";
  }

  /** Show a layer above the views. */
  overlay(key: string, overlay: Overlay): void {
    this.remove(key);
    const placed = { ...overlay, first: null, second: null };
    this.overlays.set(key, placed);
    this.place(placed);
  }

  /** Show these layers of those that have names, and hide the others. */
  only(names: readonly string[]): void {
    this.shown = names;
    for (const overlay of this.overlays.values()) this.setVisible(overlay);
  }

  has(key: string): boolean {
    return this.overlays.has(key);
  }

  remove(key: string): void {
    const overlay = this.overlays.get(key);
    if (overlay) this.takeAway(overlay);
    this.overlays.delete(key);
  }

  /** Remove all layers above the views but those that always show. */
  clear(): void {
    for (const [key, { name }] of [...this.overlays]) if (name !== null) this.remove(key);
  }

  /** Layers like those that show, for other maps: of the map, and of the one beside it if there is one. */
  copies(): [Copy[], Copy[] | null] {
    const { mode } = this;
    const [left, right] = this.views;
    const shown = [...this.overlays.values()].filter(({ name }) => name === null || this.shown.includes(name));
    const first: Copy[] = left ? [{ of: "left", layer: left(WHOLE) }] : [];
    if (right && mode === "swipe") first.push({ of: "right", layer: right(this.classOf("right", mode)) });
    for (const overlay of shown) {
      const side = this.sideOf(overlay);
      if (side !== "right" || mode === "swipe") first.push({ of: overlay.name, layer: overlay.build(this.classOf(side, mode)) });
    }
    if (!right || mode !== "beside") return [first, null];
    const above = shown.filter((overlay) => this.sideOf(overlay) !== "left").map(({ name, build }) => ({ of: name, layer: build(WHOLE) }));
    return [first, [{ of: "right", layer: right(WHOLE) }, ...above]];
  }

  private addBase(of: string, layer: BaseLayer, map: OlMap): void {
    this.base.push([layer, map]);
    this.addTo(map, of, layer);
  }

  private addTo(map: OlMap, of: string | null, layer: BaseLayer): void {
    this.watcher.begin(of, layer, map); // first: its first tile may fail at once
    map.addLayer(layer);
  }

  private removeFrom(map: OlMap, layer: BaseLayer): void {
    map.removeLayer(layer);
    this.watcher.end(layer);
  }

  private place(overlay: Placed): void {
    const side = this.sideOf(overlay);
    if (side !== "right" || this.mode === "swipe") {
      overlay.first = overlay.build(this.classOf(side, this.mode));
      this.addTo(this.first, overlay.name, overlay.first);
    }
    if (side !== "left" && this.second) {
      overlay.second = overlay.build(WHOLE);
      this.addTo(this.second, overlay.name, overlay.second);
    }
    this.setVisible(overlay);
  }

  private takeAway(overlay: Placed): void {
    if (overlay.first) this.removeFrom(this.first, overlay.first);
    if (overlay.second && this.second) this.removeFrom(this.second, overlay.second);
    overlay.first = overlay.second = null;
  }

  private setVisible({ name, first, second }: Placed): void {
    for (const layer of [first, second]) layer?.setVisible(name === null || this.shown.includes(name));
  }

  private sideOf({ name, side }: Overlay): Side {
    return name === null && !this.isOneScene && this.mode !== "one" ? "left" : side;
  }

  private classOf(side: Side, mode: Layout["mode"]): string {
    return mode === "swipe" && side !== "both" ? `${WHOLE} side-${side}` : WHOLE;
  }

  private showBeside(right: Build | null): void {
    this.beside.hidden = right === null;
    this.second?.setTarget(undefined);
    this.second = right && new OlMap({ target: this.beside, controls: [], view: this.first.getView() });
    if (right && this.second) {
      this.addBase("right", right(WHOLE), this.second);
      this.begun(this.second, this.beside);
    }
    this.first.updateSize();
  }
}
