/** The section of the panel with areas: in the view, of the outline under the cursor, and of its glacier; and the patch there. */

import type Feature from "ol/Feature";
import type { Coordinate } from "ol/coordinate";
import type VectorSource from "ol/source/Vector";

import type { Api, Area, AreaReport } from "../api";
import { make, tell } from "../dom";
import { areaText, intervalText } from "./km2";
import { featuresOf } from "./outlines";
import type { MapPage } from "./page";
import { boxInView } from "./places";

const STILL_MS = 300; // after the last move, before areas are asked for

/** What is known of the glaciers of a scene as a version maps it. */
interface Glaciers {
  polygons: VectorSource;
  areas: Map<string, Area[]>;
}

export class Areas {
  readonly element: HTMLElement;
  private readonly table = make("tbody");
  private readonly note = make("p", { class: "soft", role: "status" });
  private readonly here = make("div", { class: "here" });
  private readonly patch = make("p", { role: "status" });
  private glaciers: Glaciers | null = null;
  /** The scene and version that `glaciers` are of. */
  private glaciersOf = "";
  private outlines: VectorSource | null = null;
  private patches: VectorSource | null = null;
  private asked = new AbortController();
  private still = 0;
  private pointed: Coordinate | null = null;

  constructor(
    private readonly api: Api,
    private readonly page: MapPage,
  ) {
    const heads = ["Class", "km²", "95 % interval"].map((title, place) => make("th", { scope: "col", class: place ? "n" : "" }, title));
    this.element = make(
      "section", { class: "areas-section", "aria-labelledby": "areas-title" },
      make("h2", { id: "areas-title" }, "Areas in view"),
      make("table", { class: "areas" }, make("thead", {}, make("tr", {}, ...heads)), this.table),
      this.note,
      make("h3", {}, "Under the cursor"),
      this.here,
      this.patch,
    );
    const map = page.olMap;
    map.on("moveend", () => {
      this.update();
      this.choosePatch();
    });
    map.on("pointermove", ({ coordinate, dragging }) => {
      if (!dragging) this.point(coordinate);
    });
    map.on("click", ({ coordinate }) => {
      this.point(coordinate); // fingers do not hover
      this.choosePatch(coordinate);
    });
    page.target.addEventListener("pointerleave", () => this.point(null));
    this.tell();
  }

  /** Forget all that is known: other maps show. */
  forget(): void {
    this.asked.abort();
    this.outlines = this.patches = this.glaciers = null;
    this.glaciersOf = "";
    this.show(null, "");
    this.tell();
    this.choosePatch();
  }

  /** Take the outlines that show, on the left if there are two versions. */
  setOutlines(outlines: VectorSource): void {
    this.outlines = outlines;
    this.tell();
  }

  /** Take the patches that show. */
  setPatches(patches: VectorSource): void {
    this.patches = patches;
    this.choosePatch();
  }

  /** Lead to the page of the patch that was clicked, or in the middle of the view. Hovering must not change a link on the way to it. */
  choosePatch(place = this.page.olMap.getView().getCenter()): void {
    const patch = place && this.page.showsPatches ? firstAt(this.patches, place) : undefined;
    const text = patch && `Patch ${patch.getId()}, ${patch.get("state")}`;
    this.patch.replaceChildren(...(patch && text ? [make("a", { href: `/patches/${patch.getId()}` }, text)] : []));
  }

  /** Ask for what is in view, once the map has been still for a moment. */
  update(): void {
    clearTimeout(this.still);
    this.still = window.setTimeout(() => void this.ask(), STILL_MS);
    if (this.pointed === null) this.tell();
  }

  private async ask(): Promise<void> {
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    const { ground, olMap } = this.page;
    if (!ground) return;
    const { scene, map, version } = ground;
    if (!this.page.isPredicted) return this.show(null, "Not known: show the outlines, and the scene is predicted.");
    const box = boxInView(olMap, map);
    if (!box) return this.show(null, "Nothing of the scene is in view.");
    try {
      const report = await this.api.areas(scene.id, version, box, signal);
      if (signal.aborted) return;
      this.show(report, report.totals.find((total) => total.undefined_because)?.undefined_because ?? "");
    } catch (error) {
      if (!signal.aborted) this.show(null, (error as Error).message);
      return;
    }
    try {
      await this.loadGlaciers(scene.id, version, signal);
    } catch (error) {
      if (!signal.aborted) tell(`The glaciers cannot be told: ${(error as Error).message}`, "fault");
    }
  }

  private show(report: AreaReport | null, note: string): void {
    this.table.replaceChildren(...(report?.totals ?? []).map((total) => row(total)));
    this.note.textContent = note;
    this.note.hidden = note === "";
  }

  private async loadGlaciers(scene: number, version: number | null, signal: AbortSignal): Promise<void> {
    const of = `${scene} ${version}`;
    if (signal.aborted || of === this.glaciersOf) return;
    this.glaciers = null;
    const [found, report] = await Promise.all([this.api.glaciers(scene), this.api.areas(scene, version, null, signal)]);
    if (signal.aborted) return;
    this.glaciersOf = of;
    this.glaciers = { polygons: featuresOf(found), areas: new Map(report.glaciers.map(({ id, areas }) => [id, areas])) };
    this.tell();
  }

  private point(place: Coordinate | null): void {
    this.pointed = place;
    this.tell();
  }

  /** Say what is under the cursor; without one, as when the map is moved by keys, in the middle. */
  private tell(): void {
    const place = this.pointed ?? this.page.olMap.getView().getCenter();
    const outline = place && firstAt(this.outlines, place);
    const glacier = place && firstAt(this.glaciers?.polygons ?? null, place);
    const lines = [...(outline ? ofOutline(outline) : []), ...(glacier && this.glaciers ? ofGlacier(glacier, this.glaciers) : [])];
    const none = this.outlines ? "No outline here." : "Show the outlines to see theirs.";
    this.here.replaceChildren(...(outline ? [] : [make("p", { class: "soft" }, none)]), ...lines);
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
