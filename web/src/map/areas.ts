/** The section of the panel with areas: in the view, of the outline under the cursor, and of its glacier, on the side where it is; and the patch there. */

import type Feature from "ol/Feature";
import type OlMap from "ol/Map";
import type { Coordinate } from "ol/coordinate";
import type VectorSource from "ol/source/Vector";

import type { Api, Area, AreaReport } from "../api";
import { make, tell } from "../dom";
import type { OneSide, Side } from "./compare";
import { areaText, intervalText } from "./km2";
import { featuresOf } from "./outlines";
import type { Ground, MapPage } from "./page";
import { boxInView, isPredicted } from "./places";

const STILL_MS = 300; // after the last move, before areas are asked for

/** What is known of the glaciers of a scene as a version maps it. */
interface Glaciers {
  polygons: VectorSource;
  areas: Map<string, Area[]>;
}

/** A place on the map, on the side that shows there. */
type Pointed = [Coordinate, OneSide];

/** What is known of one side; if there is but one, of the left. */
class SideAreas {
  readonly table: HTMLElement;
  readonly note = make("p", { class: "soft", role: "status" });
  readonly caption = make("caption");
  private readonly rows = make("tbody");
  glaciers: Glaciers | null = null;
  /** The scene and version that `glaciers` are of. */
  glaciersOf = "";
  outlines: VectorSource | null = null;
  patches: VectorSource | null = null;

  constructor() {
    const heads = ["Class", "km²", "95 % interval"].map((title, place) => make("th", { scope: "col", class: place ? "n" : "" }, title));
    this.table = make("table", { class: "areas" }, this.caption, make("thead", {}, make("tr", {}, ...heads)), this.rows);
    this.forget();
  }

  forget(): void {
    this.outlines = this.patches = this.glaciers = null;
    this.glaciersOf = "";
    this.show(null, "");
  }

  show(report: AreaReport | null, note: string): void {
    this.rows.replaceChildren(...(report?.totals ?? []).map((total) => row(total)));
    this.note.textContent = note;
    this.note.hidden = note === "";
  }
}

export class Areas {
  readonly element: HTMLElement;
  private readonly here = make("div", { class: "here" });
  private readonly patch = make("p", { role: "status" });
  private readonly of: Record<OneSide, SideAreas> = { left: new SideAreas(), right: new SideAreas() };
  private asked = new AbortController();
  private still = 0;
  private pointed: Pointed | null = null;
  /** The glaciers of scenes: those of two versions of a scene are the same. */
  private readonly glaciers = new Map<number, Promise<VectorSource>>();

  constructor(
    private readonly api: Api,
    private readonly page: MapPage,
  ) {
    const { left, right } = this.of;
    this.element = make(
      "section", { class: "areas-section", "aria-labelledby": "areas-title" },
      make("h2", { id: "areas-title" }, "Areas in view"),
      left.table,
      left.note,
      right.table,
      right.note,
      make("h3", {}, "Under the cursor"),
      this.here,
      this.patch,
    );
    page.olMap.on("moveend", () => {
      this.update();
      this.choosePatch();
    });
    this.listen(page.olMap, page.target);
    this.showSides();
    this.tell();
  }

  /** Tell what is under the cursor on a map; the one on the right is another one each time that it is shown. */
  listen(map: OlMap, target: HTMLElement): void {
    map.on("pointermove", ({ coordinate, pixel, dragging }) => {
      if (!dragging) this.point([coordinate, this.page.sideAt(map, pixel)]);
    });
    map.on("click", ({ coordinate, pixel }) => {
      const place: Pointed = [coordinate, this.page.sideAt(map, pixel)];
      this.point(place); // fingers do not hover
      this.choosePatch(place);
    });
    target.onpointerleave = ({ pointerType }) => {
      if (pointerType !== "touch") this.point(null); // a finger that is lifted leaves, too
    };
  }

  /** Forget all that is known: other maps show. */
  forget(): void {
    this.asked.abort();
    for (const side of Object.values(this.of)) side.forget();
    this.glaciers.clear();
    this.look();
  }

  /** Take the outlines that show on a side. */
  setOutlines(side: Side, outlines: VectorSource): void {
    this.of[side === "right" ? side : "left"].outlines = outlines;
    this.tell();
  }

  /** Take the patches that show on a side. */
  setPatches(side: Side, patches: VectorSource): void {
    this.of[side === "right" ? side : "left"].patches = patches;
    this.choosePatch();
  }

  /** Tell of what shows in the middle, where it may be another side now. */
  look(): void {
    this.choosePatch();
    this.tell();
  }

  /** Lead to the page of the patch that was clicked, or in the middle of the view. Hovering must not change a link on the way to it. */
  choosePatch(chosen = this.middle()): void {
    const patch = chosen && this.page.showsPatches ? firstAt(this.at(chosen[1]).patches, chosen[0]) : undefined;
    const text = patch && `Patch ${patch.getId()}, ${patch.get("state")}`;
    this.patch.replaceChildren(...(patch && text ? [make("a", { href: `/patches/${patch.getId()}` }, text)] : []));
  }

  /** Ask for what is in view, once the map has been still for a moment. */
  update(): void {
    this.showSides();
    clearTimeout(this.still);
    this.still = window.setTimeout(() => void this.ask(), STILL_MS);
    this.tell();
  }

  /** Show areas of one side, or of both and which is which. */
  private showSides(): void {
    const { left, right } = this.of;
    const captions = this.page.sideTitles;
    [left.caption.textContent, right.caption.textContent] = [captions[0] ?? "", captions[1] ?? ""];
    const isOne = captions.length < 2;
    left.caption.hidden = right.table.hidden = isOne;
    if (isOne) right.note.hidden = true;
  }

  private async ask(): Promise<void> {
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    const { left, right } = this.of;
    const [first, second] = this.page.grounds;
    await Promise.all([first && this.askOf(left, first, signal), second && this.askOf(right, second, signal)]);
  }

  private async askOf(side: SideAreas, { scene, map, version }: Ground, signal: AbortSignal): Promise<void> {
    if (!isPredicted(map)) return side.show(null, "Not known: show the outlines, and the scene is predicted.");
    const box = boxInView(this.page.olMap, map);
    if (!box) return side.show(null, "Nothing of the scene is in view.");
    try {
      const report = await this.api.areas(scene.id, version, box, signal);
      if (signal.aborted) return;
      side.show(report, report.totals.find((total) => total.undefined_because)?.undefined_because ?? "");
    } catch (error) {
      if (!signal.aborted) side.show(null, (error as Error).message);
      return;
    }
    try {
      await this.loadGlaciers(side, scene.id, version, signal);
    } catch (error) {
      if (!signal.aborted) tell(`The glaciers cannot be told: ${(error as Error).message}`, "fault");
    }
  }

  private async loadGlaciers(side: SideAreas, scene: number, version: number | null, signal: AbortSignal): Promise<void> {
    const of = `${scene} ${version}`;
    if (signal.aborted || of === side.glaciersOf) return;
    side.glaciers = null;
    const [polygons, report] = await Promise.all([this.glaciersOn(scene), this.api.areas(scene, version, null, signal)]);
    if (signal.aborted) return;
    side.glaciersOf = of;
    side.glaciers = { polygons, areas: new Map(report.glaciers.map(({ id, areas }) => [id, areas])) };
    this.tell();
  }

  private glaciersOn(scene: number): Promise<VectorSource> {
    const asked = this.glaciers.get(scene);
    if (asked) return asked;
    const found = this.api.glaciers(scene).then(featuresOf);
    found.catch(() => this.glaciers.delete(scene)); // so that they can be asked for again
    this.glaciers.set(scene, found);
    return found;
  }

  private point(place: Pointed | null): void {
    this.pointed = place;
    this.tell();
  }

  /** The middle of the view, on the side that shows there. */
  private middle(): Pointed | null {
    const { olMap } = this.page;
    const [place, [width = 0, height = 0] = []] = [olMap.getView().getCenter(), olMap.getSize()];
    return place ? [place, this.page.sideAt(olMap, [width / 2, height / 2])] : null;
  }

  /** What is known of a side: of the left, unless two are shown. */
  private at(side: OneSide): SideAreas {
    return this.of[this.page.grounds.length < 2 ? "left" : side];
  }

  /** Say what is under the cursor; without one, as when the map is moved by keys, in the middle. */
  private tell(): void {
    const chosen = this.pointed ?? this.middle();
    if (!chosen) return;
    const [place, side] = chosen;
    const { outlines, glaciers } = this.at(side);
    const outline = firstAt(outlines, place);
    const glacier = firstAt(glaciers?.polygons ?? null, place);
    const lines = [...(outline ? ofOutline(outline) : []), ...(glacier && glaciers ? ofGlacier(glacier, glaciers) : [])];
    const none = outlines ? "No outline here." : "Show the outlines to see theirs.";
    const which = this.page.sideTitles[side === "left" ? 0 : 1];
    const notes = [...(which ? [which] : []), ...(outline ? [] : [none])].map((text) => make("p", { class: "soft" }, text));
    this.here.replaceChildren(...notes, ...lines);
  }
}

function firstAt(source: VectorSource | null, place: Coordinate): Feature | undefined {
  return source?.getFeaturesAtCoordinate(place)[0];
}

function ofOutline(outline: Feature): HTMLElement[] {
  const number = (name: string): number | null => (outline.get(name) as number | null | undefined) ?? null;
  const area: Area = {
    name: String(outline.get("class")), mapped_km2: number("area_km2") ?? 0,
    area_km2: number("area_best"), low_km2: number("area_low"), high_km2: number("area_high"),
  };
  const confidence = number("conf_mean");
  return [
    make("table", { class: "areas" }, make("tbody", {}, row(area))),
    ...(confidence === null ? [] : [make("p", { class: "soft" }, `Mean probability ${Math.round(100 * confidence)} %`)]),
  ];
}

function ofGlacier(glacier: Feature, { areas }: Glaciers): HTMLElement[] {
  const id = String(glacier.get("id"));
  const name = glacier.get("name") as string | null;
  return [
    make("p", { class: "glacier" }, `Glacier ${name ? `${name}, ${id}` : id}`),
    make("table", { class: "areas" }, make("tbody", {}, ...(areas.get(id) ?? []).map(row))),
  ];
}

function row(area: Area): HTMLElement {
  return make("tr", {}, make("th", { scope: "row" }, area.name), make("td", { class: "n" }, areaText(area).replace(" km²", "")), make("td", { class: "n" }, intervalText(area)));
}
