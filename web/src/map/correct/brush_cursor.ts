/** The circle that shows what the brush would paint at the pointer. */

import Feature from "ol/Feature";
import Circle from "ol/geom/Circle";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import type { CorrectionCanvas } from "./canvas";
import { brushCentre, type Place } from "./grid";

export class BrushCursor {
  private readonly circle = new Feature(new Circle([0, 0], 0));
  private readonly layer = new VectorLayer({
    source: new VectorSource({ features: [this.circle] }), zIndex: 30, visible: false,
    updateWhileAnimating: true, updateWhileInteracting: true,
    style: [ // seen on light and on dark ground
      new Style({ stroke: new Stroke({ color: "#0f172a", width: 4 }) }),
      new Style({ stroke: new Stroke({ color: "#ffffff", width: 2 }) }),
    ],
  });
  private diameter: number | null = null;
  private pointed: Place | null = null;

  constructor(private readonly canvas: CorrectionCanvas) {
    canvas.map.addLayer(this.layer);
    for (const kind of ["pointermove", "pointerdrag"] as const) {
      canvas.map.on(kind, ({ coordinate }) => {
        this.pointed = canvas.placeAt(coordinate);
        this.draw();
      });
    }
    canvas.map.getViewport()?.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.draw();
    });
  }

  /** @param diameter - of the brush, in pixels; null: there is none */
  show(diameter: number | null): void {
    this.diameter = diameter;
    this.draw();
  }

  private draw(): void {
    const { diameter, pointed } = this;
    this.layer.setVisible(diameter !== null && pointed !== null);
    if (diameter === null || pointed === null) return;
    this.circle.getGeometry()?.setCenterAndRadius(this.canvas.coordinateOf(brushCentre(pointed, diameter)), diameter / 2);
  }
}
