/**
 * The window that is corrected, pixel by pixel on the scene's own grid: nothing is warped. A map in pixels, whose
 * coordinates are columns to the right and rows upwards from the window's lower left corner.
 */

import OlMap from "ol/Map";
import type MapBrowserEvent from "ol/MapBrowserEvent";
import View from "ol/View";
import { getCenter, getHeight, getWidth } from "ol/extent";
import { defaults as interactions } from "ol/interaction/defaults";
import DragPan from "ol/interaction/DragPan";
import ImageLayer from "ol/layer/Image";
import Projection from "ol/proj/Projection";
import ImageSource from "ol/source/Image";
import ImageCanvas from "ol/source/ImageCanvas";

import { api } from "../../page";
import { FaultNote } from "../fault_note";
import { BACKGROUND, NOT_JUDGED, type Grid, type Place, type Ring } from "./grid";
import { viewAddress } from "./server";
import type { Session, Window } from "./session";

const [EDGE_ALPHA, INSIDE_ALPHA] = [255, 140]; // edges are seen on ground of the same tone, too
const SURROUNDINGS = 0.25; // of the window's longer side, shown around it

export const START_OPACITY = 0.8;

export class CorrectionCanvas {
  readonly map: OlMap;
  readonly projection: Projection;
  /** Whether the last finger that came down was not alone: two move the view, and what the first one did does not count. */
  severalFingers = false;
  private readonly classes = document.createElement("canvas");
  private readonly drawn: ImageCanvas;
  private readonly layer: ImageLayer<ImageCanvas>;
  private readonly view = new ImageLayer<ImageSource>({ zIndex: 0 });
  private readonly note: FaultNote;
  private wanted = Symbol("no view");
  private readonly extent: [number, number, number, number];
  private readonly around: Window;

  constructor(
    target: HTMLElement,
    private readonly session: Session,
    private readonly colours: ReadonlyMap<number, string>,
    size: { height: number; width: number },
    mayPan: () => boolean,
  ) {
    const { row_off, col_off, height, width } = session.window;
    const margin = Math.round(Math.max(height, width) * SURROUNDINGS);
    const [top, left] = [Math.max(0, row_off - margin), Math.max(0, col_off - margin)];
    const [bottom, right] = [Math.min(size.height, row_off + height + margin), Math.min(size.width, col_off + width + margin)];
    this.around = { row_off: top, col_off: left, height: bottom - top, width: right - left };
    this.extent = [left - col_off, height - (bottom - row_off), right - col_off, height - (top - row_off)];
    this.projection = new Projection({ code: "scene-pixels", units: "pixels", extent: this.extent });
    this.classes.width = width;
    this.classes.height = height;
    this.drawn = new ImageCanvas({
      projection: this.projection, ratio: 1, interpolate: false,
      canvasFunction: (extent, resolution, ratio, [across, down]) => this.draw(extent, resolution / ratio, across ?? 0, down ?? 0),
    });
    this.layer = new ImageLayer({ source: this.drawn, zIndex: 10, opacity: START_OPACITY });
    this.map = new OlMap({
      target,
      controls: [],
      layers: [this.view, this.layer],
      interactions: interactions({ dragPan: false, altShiftDragRotate: false, pinchRotate: false, doubleClickZoom: false }).extend([
        new DragPan({ condition: (event) => mayPan() || (event.originalEvent as PointerEvent).button === 1 || event.activePointers?.length === 2 }),
      ]),
      view: new View({ projection: this.projection, center: getCenter([0, 0, width, height]), minResolution: 1 / 32, maxResolution: 8, enableRotation: false, showFullExtent: true }),
    });
    this.map.addEventListener("pointerdown", (event) => {
      this.severalFingers = ((event as MapBrowserEvent).activePointers?.length ?? 1) > 1;
    });
    this.note = new FaultNote(target);
    target.append(this.note.element);
    this.fit();
    this.show();
  }

  /** Show the whole window. */
  fit(): void {
    this.map.getView().fit([0, 0, this.session.window.width, this.session.window.height], { padding: [24, 24, 24, 24] });
  }

  /** Show another view of the scene below the classes; if it cannot be loaded, nothing is below them, and a note says why. */
  async showView(name: string, title: string): Promise<void> {
    const mine = (this.wanted = Symbol(name));
    const { extent, projection } = this;
    const again = (): void => {
      this.note.show([{ title, reason, isTried: true, again }]);
      void this.showView(name, title);
    };
    let reason = "";
    try {
      const image = await api.picture(viewAddress(this.session.scene, name, this.around));
      if (this.wanted !== mine) return;
      const resolution = [getWidth(extent) / image.width, getHeight(extent) / image.height];
      this.view.setSource(new ImageSource({ projection, interpolate: false, loader: () => ({ image, extent, resolution, pixelRatio: 1 }) }));
      this.note.show([]);
    } catch (error) {
      if (this.wanted !== mine) return;
      reason = (error as Error).message;
      this.view.setSource(null);
      this.note.show([{ title, reason, isTried: false, again }]);
    }
  }

  opacity(share: number): void {
    this.layer.setOpacity(share);
  }

  /** Show the classes as they are now. */
  show(grid: Grid = this.session.grid): void {
    const context = this.classes.getContext("2d");
    if (!context) throw new Error("this browser draws no canvas");
    const picture = context.createImageData(grid.width, grid.height);
    const pixels = new Uint32Array(picture.data.buffer);
    const [edge, inside] = [EDGE_ALPHA, INSIDE_ALPHA].map((alpha) => {
      const colours = new Uint32Array(256);
      for (const [value, colour] of this.colours) if (value !== BACKGROUND) colours[value] = packed(colour, alpha);
      return colours;
    }) as [Uint32Array, Uint32Array];
    const { values, width } = grid;
    values.forEach((value, pixel) => {
      // Not judged is hatched, so that it cannot be taken for a class.
      const hatched = value === NOT_JUDGED && (Math.floor(pixel / width) + pixel) % 4 > 1;
      const isEdge = [pixel - 1, pixel + 1, pixel - width, pixel + width].some((beside) => (values[beside] ?? value) !== value);
      pixels[pixel] = hatched ? packed("#ffffff", INSIDE_ALPHA) : ((isEdge ? edge : inside)[value] ?? 0);
    });
    context.putImageData(picture, 0, 0);
    this.drawn.changed();
  }

  /** The place in the window at a coordinate of the map; it may lie outside of the window. */
  placeAt([x = 0, y = 0]: readonly number[]): Place {
    return [this.session.window.height - y, x];
  }

  coordinateOf([row, column]: Place): [number, number] {
    return [column, this.session.window.height - row];
  }

  /** Corners in pixels of a ring of coordinates of the map. */
  toRing(coordinates: readonly (readonly number[])[]): Ring {
    return coordinates.map((coordinate) => {
      const [row, column] = this.placeAt(coordinate);
      return [column, row] as const;
    });
  }

  toCoordinates(ring: Ring): [number, number][] {
    return ring.map(([column, row]) => this.coordinateOf([row, column]));
  }

  private draw(extent: readonly number[], resolution: number, across: number, down: number): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    canvas.width = across;
    canvas.height = down;
    const context = canvas.getContext("2d");
    const [left = 0, , , top = 0] = extent;
    if (context) {
      const { height, width } = this.session.window;
      context.imageSmoothingEnabled = false;
      context.drawImage(this.classes, -left / resolution, (top - height) / resolution, width / resolution, height / resolution);
      context.strokeStyle = "#facc15";
      context.lineWidth = 2;
      context.strokeRect(-left / resolution, (top - height) / resolution, width / resolution, height / resolution);
    }
    return canvas;
  }
}

/** A colour `#rrggbb` as the bytes of a pixel. */
function packed(colour: string, alpha: number): number {
  const rgb = Number.parseInt(colour.slice(1), 16);
  return ((alpha << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}
