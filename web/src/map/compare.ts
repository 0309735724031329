/** One view, two under a swipe, or two side by side. What lies above the views is shown on both. */

import OlMap from "ol/Map";
import type BaseLayer from "ol/layer/Base";
import type TileLayer from "ol/layer/Tile";
import { getRenderPixel } from "ol/render";
import type XYZ from "ol/source/XYZ";

import { make } from "../dom";
import type { Layout } from "./link";

type Raster = TileLayer<XYZ>;

export class Compare {
  private base: Raster[] = [];
  private makers = new Map<string, { make: () => BaseLayer; shown: [BaseLayer, BaseLayer?] }>();
  private second: OlMap | null = null;
  private readonly beside: HTMLElement;
  private readonly slider: HTMLInputElement;

  constructor(
    private readonly first: OlMap,
    target: HTMLElement,
  ) {
    this.beside = make("div", { class: "beside", hidden: true });
    target.after(this.beside);
    this.slider = make("input", {
      type: "range", min: 0, max: 100, value: 50, step: 0.5, class: "swipe", hidden: true,
      "aria-label": "Boundary between the two views", oninput: () => this.first.render(),
    });
    target.append(this.slider);
  }

  /** Show one view, or two. */
  show(left: Raster | null, right: Raster | null, mode: Layout["mode"]): void {
    for (const layer of this.base) this.first.removeLayer(layer);
    this.base = [];
    if (left) this.addBase(left);
    this.slider.hidden = mode !== "swipe";
    if (right && mode === "swipe") {
      this.clip(right);
      this.addBase(right);
    }
    this.showBeside(mode === "beside" ? right : null);
  }

  /** Show a layer above the views; `build` is called again for the map beside. */
  overlay(name: string, build: () => BaseLayer): void {
    const layer = build();
    this.makers.set(name, { make: build, shown: [layer] });
    this.first.addLayer(layer);
    if (this.second) this.addBeside(name);
  }

  has(name: string): boolean {
    return this.makers.has(name);
  }

  /** Show these layers of those that were added, and hide the others. */
  only(names: readonly string[]): void {
    for (const [name, { shown }] of this.makers) for (const layer of shown) layer?.setVisible(names.includes(name));
  }

  opacity(name: string, value: number): void {
    for (const layer of this.makers.get(name)?.shown ?? []) layer?.setOpacity(value);
  }

  /** Remove all layers above the views. */
  clear(): void {
    for (const { shown } of this.makers.values()) {
      this.first.removeLayer(shown[0]);
      if (shown[1]) this.second?.removeLayer(shown[1]);
    }
    this.makers.clear();
  }

  private addBase(layer: Raster): void {
    this.base.push(layer);
    this.first.addLayer(layer);
  }

  private clip(layer: Raster): void {
    layer.on("prerender", (event) => {
      const context = event.context as CanvasRenderingContext2D;
      const size = this.first.getSize();
      if (!size) return;
      const [width = 0, height = 0] = size;
      const edge = (width * Number(this.slider.value)) / 100;
      const corners = [[edge, 0], [width, 0], [width, height], [edge, height]].map((at) => getRenderPixel(event, at));
      context.save();
      context.beginPath();
      for (const [x = 0, y = 0] of corners) context.lineTo(x, y);
      context.closePath();
      context.clip();
    });
    layer.on("postrender", (event) => (event.context as CanvasRenderingContext2D).restore());
  }

  private showBeside(right: Raster | null): void {
    this.beside.hidden = right === null;
    this.second?.setTarget(undefined);
    this.second = null;
    for (const entry of this.makers.values()) entry.shown = [entry.shown[0]];
    if (right) {
      this.second = new OlMap({ target: this.beside, controls: [], view: this.first.getView(), layers: [right] });
      for (const name of this.makers.keys()) this.addBeside(name);
    }
    this.first.updateSize();
  }

  private addBeside(name: string): void {
    const entry = this.makers.get(name);
    if (!entry || !this.second) return;
    const layer = entry.make();
    layer.setVisible(entry.shown[0].getVisible());
    layer.setOpacity(entry.shown[0].getOpacity());
    entry.shown = [entry.shown[0], layer];
    this.second.addLayer(layer);
  }
}
