/** Lines and polygons that are drawn corner by corner. */

import type MapBrowserEvent from "ol/MapBrowserEvent";
import { never } from "ol/events/condition";
import Draw, { type Options } from "ol/interaction/Draw";

import type { CorrectionCanvas } from "./canvas";

/** Sets a corner where a mouse clicks or a finger taps. Two fingers move the view, and set none. */
export class CornerDraw extends Draw {
  constructor(
    private readonly canvas: CorrectionCanvas,
    options: Options,
  ) {
    super({ ...options, freehandCondition: never });
  }

  override handleUpEvent(event: MapBrowserEvent<PointerEvent>): boolean {
    return this.canvas.severalFingers || super.handleUpEvent(event);
  }
}
