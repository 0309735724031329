/** The panel beside the map: which scene, which views, which layers. */

import { classesOn, type Job, type Scale, scaleEnd } from "../api";
import { make, refill } from "../dom";
import type { Layout } from "./link";
import { ANNOTATOR, OPERATOR, role } from "../page";
import type { Window } from "./correct/session";
import { correctAt, correctSection } from "./correct/start";
import { PATCH_STATES } from "./outlines";
import { LABELS, OUTLINES, PATCHES, type MapPage } from "./page";
import { mayOverlap } from "./places";

const MODES: [Layout["mode"], string][] = [
  ["one", "One"],
  ["swipe", "Swipe"],
  ["beside", "Side by side"],
];
/** What the titles of maps have in common, whichever version made them: for maps of two versions, and for those that do not exist now. */
const ANY_VERSION: Record<string, string> = {
  prediction: "Prediction", confidence: "Confidence", uncertainty: "Uncertainty", learner: "Classes",
  prior: "Old outlines", reference: "Outlines that came with the scene",
};
const OF_CHOSEN_VERSION = ["prediction", "confidence"];
const ROLES = { pool: "to be labelled", validation: "validation", test: "test" };

export class Panel {
  private readonly working = new Map<string, Job>();

  constructor(
    private readonly element: HTMLElement,
    private readonly page: MapPage,
  ) {}

  /** Tell how far something is that a layer waits for; null: nothing is waited for any more. */
  progress(layer: string, job: Job | null): void {
    if (job?.state === "queued" || job?.state === "running") this.working.set(layer, job);
    else this.working.delete(layer);
    // Nothing else changes: who has opened a list or types is not to be interrupted at every step.
    this.element.querySelector(`#working-${layer}`)?.replaceChildren(...this.workOn(layer));
  }

  /** Forget what layers waited for: another scene or version shows. */
  forgetProgress(): void {
    this.working.clear();
  }

  show(): void {
    const { page } = this;
    if (!page.scene || !page.map) {
      this.element.replaceChildren(
        make("p", {}, "There is no scene to show yet. One that is registered shows here by itself."),
        ...(role < OPERATOR ? [] : [make("p", {}, make("a", { href: "/scenes/add" }, "Add a scene"))]),
      );
      return;
    }
    const ofVersions = page.versions.length ? [page.areas.element, page.predictHere.element, page.takeAway.element] : [];
    refill(this.element, this.scene(), this.views(), this.layers(), this.legend(), ...this.correct(), ...ofVersions);
  }

  private scene(): HTMLElement {
    const { page } = this;
    const select = make("select", {
      id: "scene",
      onchange: (event) => void page.choose({ scene: Number((event.target as HTMLSelectElement).value), centre: null }),
    });
    for (const scene of page.scenes) {
      select.append(make("option", { value: scene.id, selected: scene.id === page.layout.scene }, `${scene.name} (${ROLES[scene.role]})`));
    }
    const scene = page.scene;
    const facts = scene ? [scene.acquired?.slice(0, 10), scene.sensor].filter(Boolean).join(", ") : "";
    return make("section", {}, make("label", { for: "scene" }, "Scene"), select, make("p", { class: "soft" }, facts));
  }

  private views(): HTMLElement {
    const { page } = this;
    const buttons = MODES.map(([mode, title]) =>
      make("button", { type: "button", id: `mode-${mode}`, "aria-pressed": String(page.layout.mode === mode), onclick: () => void page.choose({ mode }) }, title),
    );
    const section = make("section", {}, make("h2", {}, "View"), make("div", { class: "modes", role: "group", "aria-label": "Compare" }, ...buttons));
    section.append(this.viewSelect("view", page.layout.mode === "one" ? "Shown" : "Left", page.layout.view));
    if (page.layout.mode !== "one") section.append(...this.otherScene(), this.viewSelect("other", "Right", page.layout.other ?? ""));
    return section;
  }

  /** Which scene is on the right, where others show the same ground. */
  private otherScene(): HTMLElement[] {
    const { page } = this;
    const { scene } = page;
    const others = page.scenes.filter((other) => scene && other !== scene && (other === page.otherScene || mayOverlap(scene, other)));
    if (!others.length) return [];
    const choose = (event: Event): void => void page.choose({ otherScene: Number((event.target as HTMLSelectElement).value) || null });
    const select = make("select", { id: "otherScene", onchange: choose }, make("option", { value: "", selected: page.otherScene === scene }, "the same"));
    for (const other of others) {
      const day = other.acquired ? `, ${other.acquired.slice(0, 10)}` : "";
      select.append(make("option", { value: other.id, selected: other === page.otherScene }, `${other.name}${day}`));
    }
    return [make("label", { for: "otherScene" }, "Scene on the right"), select];
  }

  private viewSelect(key: "view" | "other", title: string, chosen: string): HTMLElement {
    const { page } = this;
    const select = make("select", { id: key, onchange: (event) => void page.choose({ [key]: (event.target as HTMLSelectElement).value }) });
    const views = (key === "other" ? page.otherMap ?? page.map : page.map)?.views ?? [];
    for (const view of views) select.append(make("option", { value: view.name, selected: view.name === chosen }, view.title));
    const hint = views.find((view) => view.name === chosen)?.hint;
    return make("div", {}, make("label", { for: key }, title), select, ...(hint ? [make("p", { class: "soft" }, hint)] : []));
  }

  /** The layers that can be shown, by name. */
  layerTitles(): Map<string, string> {
    return new Map([
      ...(this.page.versions.length ? [[OUTLINES, "Outlines"] as [string, string]] : []),
      ...this.rasters(),
      [LABELS, "Labels"],
      [PATCHES, "Patches"],
    ]);
  }

  /** What people call a layer, also one that does not exist now. */
  layerTitle(name: string): string {
    return this.layerTitles().get(name) ?? ANY_VERSION[name] ?? capitalised(name);
  }

  /** The scales of the maps that show, with their titles. */
  scales(): [title: string, scale: Scale][] {
    const { map, otherMap, layout } = this.page;
    const layers = [...(map?.layers ?? []), ...(otherMap?.layers ?? [])];
    return [...this.rasters()].flatMap(([name, title]): [string, Scale][] => {
      const scale = layers.find((layer) => layer.name === name)?.scale;
      return scale && layout.layers.includes(name) ? [[title, scale]] : [];
    });
  }

  private layers(): HTMLElement {
    const { page } = this;
    const rows = this.layerTitles();
    for (const name of page.layout.layers) if (!rows.has(name) && page.versions.length) rows.set(name, `${this.layerTitle(name)}: does not exist now`);
    const section = make("section", {}, make("h2", {}, "Layers"), ...this.versions());
    for (const [name, title] of rows) {
      const shown = page.layout.layers.includes(name);
      const box = make("input", {
        type: "checkbox", id: `layer-${name}`, checked: shown,
        onchange: () => void page.choose({ layers: shown ? page.layout.layers.filter((other) => other !== name) : [...page.layout.layers, name] }),
      });
      const work = make("span", { id: `working-${name}`, class: "working" }, ...this.workOn(name));
      section.append(make("div", { class: "layer" }, box, make("label", { for: box.id }, title), work));
    }
    return section;
  }

  private workOn(layer: string): HTMLElement[] {
    const job = this.working.get(layer);
    if (!job) return [];
    return [make("progress", job.progress === null ? {} : { value: job.progress }), make("span", { class: "soft" }, job.message ?? "waiting")];
  }

  /** Correcting is for annotators, and for scenes that teach. */
  private correct(): HTMLElement[] {
    const { ground, olMap, layout } = this.page;
    if (!ground || role < ANNOTATOR || ground.scene.role !== "pool") return [];
    this.page.sendBack.show(ground);
    return [correctSection(olMap, { ...ground, view: layout.view }, () => this.show()), this.page.sendBack.element];
  }

  /** Open the editor on a window, for those who may correct the scene. */
  correctWindow(window: Window): void {
    const { ground, layout } = this.page;
    if (!ground || role < ANNOTATOR || ground.scene.role !== "pool") return;
    void correctAt({ ...ground, view: layout.view }, window, () => this.show());
  }

  /** The maps that exist of one of the sides. */
  private rasters(): Map<string, string> {
    const { map, otherMap, sides } = this.page;
    const layers = [...(map?.layers ?? []), ...(otherMap?.layers ?? [])];
    // Where two versions are compared, the same layer is of one version on the left and of another on the right.
    const isOfSide = (name: string): boolean => sides.length > 1 && OF_CHOSEN_VERSION.includes(name);
    return new Map(layers.map(({ name, title }) => [name, isOfSide(name) ? ANY_VERSION[name] ?? title : title]));
  }

  /** Which version's maps are shown; where two views are compared, on which side. */
  private versions(): HTMLElement[] {
    const { page } = this;
    if (!page.versions.length) return [];
    const { mode, version, otherVersion } = page.layout;
    if (mode === "one") return [this.versionSelect("version", "Version", version, "the served one")];
    return [
      this.versionSelect("version", "Version on the left", version, "the served one"),
      this.versionSelect("otherVersion", "Version on the right", otherVersion, "the same"),
    ];
  }

  private versionSelect(key: "version" | "otherVersion", title: string, chosen: number | null, none: string): HTMLElement {
    const { page } = this;
    const choose = (event: Event): void => void page.choose({ [key]: Number((event.target as HTMLSelectElement).value) || null });
    const select = make("select", { id: key, onchange: choose }, make("option", { value: "", selected: chosen === null }, none));
    for (const item of page.versions) {
      const served = item.aliases.includes("champion") ? ", served" : "";
      select.append(make("option", { value: item.version, selected: item.version === chosen }, `${item.version}${served}`));
    }
    return make("div", {}, make("label", { for: key }, title), select);
  }

  private legend(): HTMLElement {
    const classes = classesOn(this.page.map, this.page.otherMap).map(({ name, colour }): [string, string] => [name, colour]);
    const section = make("section", {}, make("h2", {}, "Classes"), swatches(classes));
    for (const [title, scale] of this.scales()) section.append(make("h2", {}, title), scaleBar(scale));
    if (this.page.showsPatches) {
      const doubt = this.page.versions.length ? [make("p", { class: "soft" }, "The fuller, the less sure the newest version is of the patch.")] : [];
      section.append(make("h2", {}, "Patches"), swatches(Object.values(PATCH_STATES)), ...doubt);
    }
    return section;
  }
}

function scaleBar(scale: Scale): HTMLElement {
  const bar = make("div", { class: "bar" });
  bar.style.backgroundImage = `linear-gradient(to right, ${scale.colours.join(", ")})`;
  const ends = [scale.low, scale.high].map((value) => make("span", {}, scaleEnd(scale, value)));
  return make("div", { class: "scale" }, bar, make("p", { class: "ends" }, ...ends), make("p", { class: "soft" }, capitalised(scale.quantity)));
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function swatches(items: [title: string, colour: string][]): HTMLElement {
  const list = make("ul", { class: "legend" });
  for (const [title, colour] of items) {
    const swatch = make("span", { class: "swatch" });
    swatch.style.backgroundColor = colour;
    list.append(make("li", {}, swatch, title));
  }
  return list;
}
