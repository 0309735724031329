/**
 * Outlines of the classes, to be selected, reshaped, moved, cut, merged, deleted and given another class. Each has pixels
 * of its own, which it shows without their steps. A change is about these alone: what a shape comes to cover is taken
 * from the outlines beside it, what it leaves becomes background, and all else stays as it was.
 */

import Feature from "ol/Feature";
import LineString from "ol/geom/LineString";
import Polygon from "ol/geom/Polygon";
import type Interaction from "ol/interaction/Interaction";
import Modify from "ol/interaction/Modify";
import Select from "ol/interaction/Select";
import Snap from "ol/interaction/Snap";
import Translate from "ol/interaction/Translate";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import CircleStyle from "ol/style/Circle";
import MultiPoint from "ol/geom/MultiPoint";
import clipping from "polygon-clipping";

import { tell } from "../../dom";
import type { CorrectionCanvas } from "./canvas";
import { CornerDraw } from "./corners";
import { BACKGROUND, NOT_JUDGED, type Ring } from "./grid";
import type { Session } from "./session";
import { type Area, traceAreas, traceSome } from "./trace";

type Outline = Feature<Polygon>;

const SIMPLIFIED_PX = 0.75; // outlines follow pixel edges; without their steps they can be dragged
const CUT_PX = 0.01;

export class Outlines {
  private readonly source = new VectorSource<Outline>();
  private readonly select: Select;
  private readonly interactions: Interaction[];
  private readonly layer: VectorLayer;
  private drawing: CornerDraw | null = null;

  constructor(
    private readonly canvas: CorrectionCanvas,
    private readonly session: Session,
    colours: ReadonlyMap<number, string>,
    private readonly changed: () => void,
  ) {
    const colour = (feature: Feature) => colours.get(feature.get("value") as number) ?? "#f8fafc";
    this.layer = new VectorLayer({
      source: this.source, zIndex: 20,
      style: (feature) => [
        new Style({ stroke: new Stroke({ color: "#0f172a", width: 4 }) }),
        new Style({ fill: new Fill({ color: "#00000003" }), stroke: new Stroke({ color: colour(feature as Feature), width: 2 }) }),
      ],
    });
    this.select = new Select({
      layers: [this.layer], multi: false,
      style: [
        new Style({ fill: new Fill({ color: "#facc1533" }), stroke: new Stroke({ color: "#facc15", width: 3 }) }),
        new Style({
          image: new CircleStyle({ radius: 4, fill: new Fill({ color: "#facc15" }), stroke: new Stroke({ color: "#0f172a", width: 1 }) }),
          geometry: (feature) => new MultiPoint((feature.getGeometry() as Polygon).getCoordinates().flat()),
        }),
      ],
    });
    const features = this.select.getFeatures();
    const translate = new Translate({ features });
    const modify = new Modify({ features, pixelTolerance: 8 });
    const moved = () => (canvas.severalFingers ? this.putBack() : this.reshaped());
    translate.on("translateend", moved);
    modify.on("modifyend", moved);
    this.interactions = [this.select, translate, modify, new Snap({ source: this.source, pixelTolerance: 6 })];
    canvas.map.addLayer(this.layer);
    for (const interaction of this.interactions) canvas.map.addInteraction(interaction);
    this.trace();
  }

  /** Make the outlines anew from the classes. */
  trace(): void {
    this.stop();
    this.select.getFeatures().clear();
    this.source.clear();
    for (const area of traceAreas(this.session.grid)) this.show(area);
  }

  end(): void {
    this.stop();
    for (const interaction of this.interactions) this.canvas.map.removeInteraction(interaction);
    this.canvas.map.removeLayer(this.layer);
  }

  get selected(): Outline[] {
    return this.select.getFeatures().getArray() as Outline[];
  }

  /** Give the selected outlines another class. */
  reclass(value: number): void {
    this.give(this.some(), value);
  }

  /** Make the selected outlines background; what nobody judged stays so. */
  delete(): void {
    const chosen = this.some();
    const judged = chosen.filter((feature) => valueOf(feature) !== NOT_JUDGED);
    if (judged.length < chosen.length) tell("What is not judged stays so: choose a class for it, if you know it.");
    this.give(judged, BACKGROUND);
  }

  /** Give the selected outlines the class of the first; those that touch are one then. */
  merge(): void {
    const [first, ...others] = this.some();
    if (!first) return;
    if (!others.length) {
      tell("Select the outlines to merge: click one, then others with Shift.");
      return;
    }
    this.change([first, ...others], () => {
      for (const feature of others) {
        for (const pixel of pixelsOf(feature)) this.take(first, pixel);
        pixelsOf(feature).clear();
      }
    });
  }

  /** Cut the selected outline along a line that is drawn next. No pixel changes until a part gets another class. */
  cut(): void {
    const [chosen] = this.some();
    if (!chosen) return;
    this.begin("LineString", (drawn) => {
      const line = (drawn.getGeometry() as LineString).getCoordinates();
      const strips = line.slice(1).map((end, index) => strip(line[index] as number[], end));
      this.split(chosen, clipping.difference(geometry(chosen), ...strips));
    });
  }

  /** Make a hole in the selected outline, in the shape that is drawn next. */
  hole(): void {
    const [chosen] = this.some();
    if (!chosen) return;
    this.begin("Polygon", (drawn) => {
      const hole = (drawn.getGeometry() as Polygon).getCoordinates() as clipping.Polygon;
      const left = clipping.difference(geometry(chosen), hole).flat();
      this.reshape([[chosen, left.map((ring) => this.canvas.toRing(ring))]]);
    });
  }

  /** Leave what is being drawn. */
  stop(): void {
    if (this.drawing) this.canvas.map.removeInteraction(this.drawing);
    this.drawing = null;
    for (const interaction of this.interactions ?? []) interaction.setActive(true);
  }

  private some(): Outline[] {
    if (!this.selected.length) tell("Select an outline first: click it. With Shift, several.");
    return [...this.selected];
  }

  private begin(type: "LineString" | "Polygon", done: (drawn: Feature) => void): void {
    this.stop();
    for (const interaction of this.interactions) interaction.setActive(false);
    this.drawing = new CornerDraw(this.canvas, { type });
    this.drawing.on("drawend", ({ feature }) => {
      setTimeout(() => { // not the same click selects
        this.stop();
        done(feature);
      });
    });
    this.canvas.map.addInteraction(this.drawing);
  }

  private show({ value, pixels, rings }: Area): Outline {
    return this.add(value, new Set(pixels), rings.map(simplified));
  }

  private add(value: number, pixels: Set<number>, shape: readonly Ring[]): Outline {
    const feature = new Feature(this.polygonOf(shape));
    feature.setProperties({ value, pixels, shape });
    this.source.addFeature(feature);
    return feature;
  }

  private polygonOf(shape: readonly Ring[]): Polygon {
    return new Polygon(shape.map((ring) => closed(this.canvas.toCoordinates(ring))));
  }

  private drop(feature: Outline): void {
    this.select.getFeatures().remove(feature);
    this.source.removeFeature(feature);
  }

  /** Put the parts of an outline in its place; pixels that the shape without steps leaves out go to a part beside them. */
  private split(old: Outline, parts: clipping.MultiPolygon): void {
    if (parts.length < 2) return;
    const { grid } = this.session;
    const shapes = parts.map((rings) => rings.map((ring) => this.canvas.toRing(ring)));
    const owned = shapes.map(() => new Set<number>());
    const inside = shapes.map((shape) => grid.inside(shape));
    const steps = new Set<number>();
    for (const pixel of pixelsOf(old)) {
      const part = inside.findIndex((mask) => mask[pixel]);
      (owned[part] ?? steps).add(pixel);
    }
    for (let left = 0; steps.size !== left; ) {
      left = steps.size;
      for (const pixel of steps) {
        const part = owned.find((own) => [-1, 1, -grid.width, grid.width].some((step) => own.has(pixel + step)));
        if (part?.add(pixel)) steps.delete(pixel);
      }
    }
    for (const pixel of steps) owned[0]?.add(pixel);
    this.drop(old);
    shapes.forEach((shape, part) => this.select.getFeatures().push(this.add(valueOf(old), owned[part] ?? new Set(), shape)));
  }

  /** Give outlines another class: just their own pixels. */
  private give(features: readonly Outline[], value: number): void {
    const wanted = features.filter((feature) => valueOf(feature) !== value);
    if (!wanted.length) return;
    this.change(features, () => {
      for (const feature of wanted) {
        feature.set("value", value);
        for (const pixel of pixelsOf(feature)) this.session.grid.values[pixel] = value;
      }
    });
  }

  /** Draw the selected outlines whose corners were moved onto the pixels. */
  private reshaped(): void {
    this.reshape(this.selected.map((feature) => {
      const rings = (feature.getGeometry() as Polygon).getCoordinates();
      return [feature, rings.map((ring) => this.canvas.toRing(ring))] as const;
    }));
  }

  /** Show the selected outlines where they were before their corners were moved. */
  private putBack(): void {
    for (const feature of this.selected) feature.setGeometry(this.polygonOf(feature.get("shape") as Ring[]));
  }

  /**
   * Give outlines other shapes. Their pixels change where both shapes differ, and beside that, where the one without
   * steps may have left pixels out. What nobody judged stays so.
   */
  private reshape(shapes: readonly (readonly [Outline, readonly Ring[]])[]): void {
    const { grid } = this.session;
    const changes = shapes.map(([feature, shape]) => {
      const [before, after] = [grid.inside(feature.get("shape") as Ring[]), grid.inside(shape)];
      return { feature, after, differs: before.map((is, pixel) => is ^ (after[pixel] ?? 0)) };
    });
    const moved = changes.filter(({ differs }) => differs.includes(1)); // not after a click
    if (!moved.length) return;
    this.change(moved.map(({ feature }) => feature), () => {
      for (const { feature, after, differs } of moved) {
        grid.around(differs).forEach((is, pixel) => {
          if (is && !after[pixel] && valueOf(feature) !== NOT_JUDGED && pixelsOf(feature).delete(pixel)) grid.values[pixel] = BACKGROUND;
        });
      }
      for (const { feature, after, differs } of moved) {
        grid.around(differs).forEach((is, pixel) => is && after[pixel] && this.take(feature, pixel));
      }
    });
  }

  /** Give an outline a pixel, whosever it was. */
  private take(feature: Outline, pixel: number): void {
    pixelsOf(feature).add(pixel);
    this.session.grid.values[pixel] = valueOf(feature);
  }

  /**
   * Change pixels of outlines in one step that can be undone; then show these, selected, and those that lost pixels to
   * them, as they are.
   */
  private change(features: readonly Outline[], act: () => void): void {
    this.session.beginStep();
    this.session.mending = null;
    act();
    const taken = new Set(features.flatMap((feature) => [...pixelsOf(feature)]));
    for (const other of this.source.getFeatures().filter((feature) => !features.includes(feature))) {
      const left = [...pixelsOf(other)].filter((pixel) => !taken.has(pixel));
      if (left.length < pixelsOf(other).size) this.showAgain(other, left);
    }
    for (const feature of features) {
      for (const made of this.showAgain(feature, pixelsOf(feature))) this.select.getFeatures().push(made);
    }
    this.changed();
  }

  /** Show the areas that the pixels of an outline make up now in its place. */
  private showAgain(feature: Outline, pixels: Iterable<number>): Outline[] {
    this.drop(feature);
    if (valueOf(feature) === BACKGROUND) return [];
    return traceSome(this.session.grid, pixels, valueOf(feature)).map((area) => this.show(area));
  }
}

function valueOf(feature: Outline): number {
  return feature.get("value") as number;
}

function pixelsOf(feature: Outline): Set<number> {
  return feature.get("pixels") as Set<number>;
}

function geometry(feature: Outline): clipping.Polygon {
  return (feature.getGeometry() as Polygon).getCoordinates() as clipping.Polygon;
}

function closed(ring: [number, number][]): [number, number][] {
  return ring[0] ? [...ring, ring[0]] : ring;
}

/** A ring without the steps of its pixels. */
function simplified(ring: Ring): Ring {
  const line = new LineString(closed(ring.map(([x, y]) => [x, y]))).simplify(SIMPLIFIED_PX) as LineString;
  const corners = line.getCoordinates().slice(0, -1) as [number, number][];
  return corners.length >= 3 ? corners : ring;
}

/** A thin strip along a line, a little longer than it. */
function strip(from: number[], to: number[]): clipping.Polygon {
  const [x1 = 0, y1 = 0] = from;
  const [x2 = 0, y2 = 0] = to;
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [along, across] = [((x2 - x1) / length) * CUT_PX, ((y2 - y1) / length) * CUT_PX];
  const corners: [number, number][] = [
    [x1 - along - across, y1 - across + along],
    [x2 + along - across, y2 + across + along],
    [x2 + along + across, y2 + across - along],
    [x1 - along + across, y1 - across - along],
  ];
  return [closed(corners)];
}
