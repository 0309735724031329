/** A map as a picture of a given size: other maps than those of the page are drawn, out of sight, and copied. */

import OlMap from "ol/Map";
import View from "ol/View";
import type BaseLayer from "ol/layer/Base";

const LONGEST_MS = 20_000; // tiles that did not come by then are left out

/** What is drawn. `swipe`: share from the left of the side that layers of one side are cut to. */
export interface Ground {
  centre: [number, number];
  /** Metres of Web Mercator in a pixel. */
  resolution: number;
  swipe: number;
}

/** Draw layers, which no other map has. */
export async function picture(layers: BaseLayer[], ground: Ground, width: number, height: number): Promise<HTMLCanvasElement> {
  const target = document.createElement("div");
  Object.assign(target.style, { position: "fixed", left: "-20000px", top: "0", width: `${width}px`, height: `${height}px` });
  document.body.append(target);
  const view = new View({ center: ground.centre, resolution: ground.resolution, constrainResolution: false, minResolution: 1e-3, maxResolution: 1e6 });
  const map = new OlMap({ target, layers, view, controls: [], interactions: [], pixelRatio: 1 });
  try {
    await new Promise<void>((resolve) => {
      map.once("rendercomplete", () => resolve());
      setTimeout(resolve, LONGEST_MS);
    });
    return copy(target, width, height, ground.swipe);
  } finally {
    map.setTarget(undefined);
    target.remove();
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
