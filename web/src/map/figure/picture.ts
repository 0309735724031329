/** A map as a picture of a given size: other maps than those of the page are drawn, out of sight, and copied. */

import OlMap from "ol/Map";
import View from "ol/View";
import TileLayer from "ol/layer/Tile";
import type TileSource from "ol/source/Tile";

import type { Copy } from "../compare";

export interface Picture {
  canvas: HTMLCanvasElement;
  /** What lacks tiles: they did not come in time, or not at all. */
  incomplete: (string | null)[];
}

/** What is drawn. `swipe`: share from the left of the side that layers of one side are cut to. */
export interface Ground {
  centre: [number, number];
  /** Metres of Web Mercator in a pixel. */
  resolution: number;
  swipe: number;
}

/** Draw layers, which no other map has. @param longestMs - tiles that did not come by then are left out */
export async function picture(copies: Copy[], ground: Ground, width: number, height: number, longestMs: number): Promise<Picture> {
  const target = document.createElement("div");
  Object.assign(target.style, { position: "fixed", left: "-20000px", top: "0", width: `${width}px`, height: `${height}px` });
  document.body.append(target);
  const view = new View({ center: ground.centre, resolution: ground.resolution, constrainResolution: false, minResolution: 1e-3, maxResolution: 1e6 });
  const layers = copies.map(({ layer }) => layer);
  const tiled = copies.map(({ of, layer }) => ({ of, tiles: new Tiles(layer) }));
  // All tiles at once, so that those that have not come are counted.
  const map = new OlMap({ target, layers, view, controls: [], interactions: [], pixelRatio: 1, maxTilesLoading: Infinity });
  try {
    const inTime = await new Promise<boolean>((resolve) => {
      map.once("rendercomplete", () => resolve(true));
      setTimeout(() => resolve(false), longestMs);
    });
    const incomplete = tiled.filter(({ tiles }) => !tiles.areComplete(inTime)).map(({ of }) => of);
    return { canvas: copy(target, width, height, ground.swipe), incomplete };
  } finally {
    map.setTarget(undefined);
    target.remove();
  }
}

/** Counts the tiles of a layer; a layer without tiles is always complete. */
class Tiles {
  private asked = 0;
  private came = 0;
  private readonly source: TileSource | null;

  constructor(layer: unknown) {
    this.source = layer instanceof TileLayer ? (layer.getSource() as TileSource | null) : null;
    const count = (kind: string, then: () => void): unknown => this.source?.addEventListener(kind, then);
    count("tileloadstart", () => (this.asked += 1));
    count("tileloadend", () => (this.came += 1));
  }

  /** @param inTime - whether all that was wanted was answered: also tiles that failed are */
  areComplete(inTime: boolean): boolean {
    return this.source === null || (this.came === this.asked && (inTime || this.asked > 0));
  }
}

/** Copy the canvases of a map onto one, as they lie on the page. */
function copy(target: HTMLElement, width: number, height: number, swipe: number): HTMLCanvasElement {
  const whole = document.createElement("canvas");
  [whole.width, whole.height] = [width, height];
  const context = whole.getContext("2d") as CanvasRenderingContext2D;
  for (const canvas of target.querySelectorAll<HTMLCanvasElement>(".ol-layers canvas")) {
    if (!canvas.width || !canvas.height) continue;
    context.save();
    const side = canvas.closest(".side-left, .side-right");
    if (side) {
      const cut = width * swipe;
      context.beginPath();
      if (side.classList.contains("side-left")) context.rect(0, 0, cut, height);
      else context.rect(cut, 0, width - cut, height);
      context.clip();
    }
    context.globalAlpha = Number(canvas.style.opacity || (canvas.parentElement as HTMLElement).style.opacity || 1);
    const numbers = /^matrix\((.*)\)$/.exec(canvas.style.transform)?.[1]?.split(",").map(Number);
    if (numbers) context.setTransform(new DOMMatrix(numbers));
    context.drawImage(canvas, 0, 0);
    context.restore();
  }
  return whole;
}
