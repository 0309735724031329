/**
 * Outlines of the classes, to be selected, reshaped, moved, cut, merged, deleted and given another class. Only what is
 * changed is drawn onto the pixels anew, so that all else stays as it was.
 */

import Feature from "ol/Feature";
import { never } from "ol/events/condition";
import LineString from "ol/geom/LineString";
import Polygon from "ol/geom/Polygon";
import Draw from "ol/interaction/Draw";
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
import { BACKGROUND, type Ring } from "./grid";
import type { Session } from "./session";
import { traceAreas } from "./trace";

type Outline = Feature<Polygon>;

const SIMPLIFIED_PX = 0.75; // outlines follow pixel edges; without their steps they can be dragged
const CUT_PX = 0.01;

export class Outlines {
  private readonly source = new VectorSource<Outline>();
  private readonly select: Select;
  private readonly interactions: Interaction[];
  private readonly layer: VectorLayer;
  private drawing: Draw | null = null;

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
    translate.on("translateend", () => this.draw(features.getArray() as Outline[]));
    modify.on("modifyend", () => this.draw(features.getArray() as Outline[]));
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
    for (const { value, rings } of traceAreas(this.session.grid)) this.add(value, rings, rings.map(simplified));
  }

  end(): void {
    this.stop();
    for (const interaction of this.interactions) this.canvas.map.removeInteraction(interaction);
    this.canvas.map.removeLayer(this.layer);
  }

  get selected(): Outline[] {
    return this.select.getFeatures().getArray() as Outline[];
  }

  /** Give the selected outlines another class; background deletes them. */
  reclass(value: number): void {
    const chosen = this.some();
    for (const feature of chosen) feature.set("value", value);
    if (chosen.length) this.draw(chosen);
    if (value === BACKGROUND) this.drop(chosen);
  }

  /** Give the selected outlines the class of the first; those that touch are one then. */
  merge(): void {
    const [first, ...others] = this.some();
    if (!first) return;
    if (!others.length) {
      tell("Select the outlines to merge: click one, then others with Shift.");
      return;
    }
    for (const feature of others) feature.set("value", first.get("value"));
    this.draw([first, ...others]);
    this.trace();
  }

  /** Cut the selected outline along a line that is drawn next. */
  cut(): void {
    const [chosen] = this.some();
    if (!chosen) return;
    this.begin("LineString", (drawn) => {
      const line = (drawn.getGeometry() as LineString).getCoordinates();
      const strips = line.slice(1).map((end, index) => strip(line[index] as number[], end));
      this.replace([chosen], clipping.difference(geometry(chosen), ...strips), chosen.get("value") as number);
    });
  }

  /** Make a hole in the selected outline, in the shape that is drawn next. */
  hole(): void {
    const [chosen] = this.some();
    if (!chosen) return;
    this.begin("Polygon", (drawn) => {
      const hole = (drawn.getGeometry() as Polygon).getCoordinates() as clipping.Polygon;
      this.replace([chosen], clipping.difference(geometry(chosen), hole), chosen.get("value") as number);
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
    this.drawing = new Draw({ type, freehandCondition: never });
    this.drawing.on("drawend", ({ feature }) => {
      done(feature);
      setTimeout(() => this.stop()); // not the same click selects
    });
    this.canvas.map.addInteraction(this.drawing);
  }

  private add(value: number, pixels: readonly Ring[], rings: readonly Ring[]): Outline {
    const feature = new Feature(new Polygon(rings.map((ring) => closed(this.canvas.toCoordinates(ring)))));
    feature.setProperties({ value, pixels });
    this.source.addFeature(feature);
    return feature;
  }

  /** Put other outlines in the place of some. */
  private replace(old: readonly Outline[], shapes: clipping.MultiPolygon, value: number): void {
    const pixels = old.flatMap((feature) => feature.get("pixels") as Ring[]);
    this.drop(old);
    const made = shapes.map((rings) => this.add(value, [], rings.map((ring) => this.canvas.toRing(ring))));
    made[0]?.set("pixels", pixels);
    this.draw(made);
    made.forEach((feature) => this.select.getFeatures().push(feature));
  }

  private drop(features: readonly Outline[]): void {
    for (const feature of features) {
      this.select.getFeatures().remove(feature);
      this.source.removeFeature(feature);
    }
  }

  /** Draw outlines onto the pixels: clear what they covered, and fill what they cover now. */
  private draw(features: readonly Outline[]): void {
    const { grid } = this.session;
    this.session.mark();
    for (const feature of features) grid.paintRings(feature.get("pixels") as Ring[], BACKGROUND);
    for (const feature of features) {
      const rings = (feature.getGeometry() as Polygon).getCoordinates().map((ring) => this.canvas.toRing(ring));
      grid.paintRings(rings, feature.get("value") as number);
      feature.set("pixels", rings, true);
    }
    this.session.mending = null;
    this.changed();
  }
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
