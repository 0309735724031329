/** The map and its panel: one layout, which the address holds, is what both show. */

import OlMap from "ol/Map";
import View from "ol/View";
import { defaults as controls } from "ol/control/defaults";
import ScaleLine from "ol/control/ScaleLine";
import type { Pixel } from "ol/pixel";
import { fromLonLat, toLonLat, transformExtent } from "ol/proj";

import { type Api, classesOn, type FeatureCollection, ProblemError, type Scene, type SceneMap, UnreachableError, type Version } from "../api";
import { tell } from "../dom";
import { whenChanged } from "../live";
import { whenReachableAgain } from "../reachable";
import { Areas } from "./areas";
import { type Build, Compare, type OneSide, type Side } from "./compare";
import * as link from "./link";
import { LoadFaults } from "./load_faults";
import { leaveMode } from "./mode";
import type { ColourOf } from "./outlines";
import { featuresOf, labelLayer, outlineLayer, patchLayer } from "./outlines";
import { Panel } from "./panel";
import { PredictHere } from "./predict";
import { tileLayer } from "./rasters";
import { SendBack } from "./send_back";
import { TakeAway } from "./takeaway";

export const OUTLINES = "outlines";
export const PATCHES = "patches";
export const LABELS = "labels";
const ABOVE_VIEWS = 10;
const ABOVE_MAPS = 100;
const SCENES = "scenes"; // what cannot be loaded may be the list of them, too
const NOTHING = { scene: -1, sides: "", grounds: [] as Ground[] };
const PAUSE_MS = 20_000; // between two looks at what people drew meanwhile: it may be much

/** A scene with its map, and the version that both are of; null: there is none yet. */
export interface Ground {
  scene: Scene;
  map: SceneMap;
  version: number | null;
}

/** A side, and the version and the scene whose maps it shows; null: the version that is served, or there is no scene. */
export type ShownSide = [Side, number | null, Scene | null];

export class MapPage {
  layout: link.Layout = link.read(location.hash);
  scenes: Scene[] = [];
  versions: Version[] = [];
  map: SceneMap | null = null;
  /** As `map`, of the scene and version on the right, where either is another one. */
  otherMap: SceneMap | null = null;

  readonly olMap: OlMap;
  readonly predictHere: PredictHere;
  readonly takeAway: TakeAway;
  readonly sendBack: SendBack;
  readonly areas: Areas;
  private readonly compare: Compare;
  private readonly faults: LoadFaults;
  private readonly panel: Panel;
  private readonly loading = new Map<string, AbortController>(); // layers that are loaded or being loaded
  private asked = new AbortController(); // layers of the maps that show
  private wanted = new AbortController(); // maps that are to show instead
  private shown: link.Layout = this.layout; // a choice whose maps cannot be had goes back to it
  private mapsOf = NOTHING; // what the maps that show were asked for
  private readonly withheld = new Map<number, number>(); // patches by scene whose labels are not shown

  constructor(
    private readonly api: Api,
    readonly target: HTMLElement,
    panel: HTMLElement,
  ) {
    this.olMap = new OlMap({
      target,
      controls: controls({ rotate: false, attribution: false }).extend([new ScaleLine()]),
      view: new View({ center: [0, 0], zoom: 2, maxZoom: 20, enableRotation: false }),
    });
    this.faults = new LoadFaults(target, (of) => this.titleIfShown(of), () => void this.lookForMaps().catch(() => {})); // the note tells already
    this.compare = new Compare(this.olMap, target, this.faults, (swipe) => {
      this.layout.swipe = swipe;
      this.areas.look();
      this.write();
    }, (map, beside) => this.areas.listen(map, beside));
    this.predictHere = new PredictHere(api, this.olMap, this.compare, (name) => coloursOf(this.map)(name));
    this.takeAway = new TakeAway(api, this);
    this.sendBack = new SendBack(api);
    this.areas = new Areas(api, this);
    this.panel = new Panel(panel, this);
    this.olMap.on("moveend", () => {
      this.rememberCentre();
      this.faults.update();
    });
    whenReachableAgain(() => this.faults.reachableAgain());
    window.addEventListener("hashchange", () => this.follow());
  }

  async start(): Promise<void> {
    try {
      await this.list();
      await this.begin();
    } catch (error) {
      this.faults.set(SCENES, SCENES, error as Error, () => void this.start());
      return;
    }
    this.faults.clear(SCENES);
    whenChanged(["scenes", "models"], () => void this.refresh().catch((error: Error) => tell(error.message, "fault")));
    whenChanged(["jobs"], () => void this.lookForMaps().catch(tellUnlessItPasses), PAUSE_MS);
    whenChanged(["labels", "rounds"], () => this.renew([LABELS, PATCHES]), PAUSE_MS);
  }

  /** Ask again for layers of these names: for those that show at once, for others as soon as they show. */
  private renew(names: string[]): void {
    for (const key of [...this.loading.keys()]) {
      const [name = ""] = key.split(" ");
      if (!names.includes(name)) continue;
      this.loading.get(key)?.abort();
      this.loading.delete(key);
      if (!this.layout.layers.includes(name)) this.compare.remove(key);
    }
    for (const name of names.filter((item) => this.layout.layers.includes(item))) {
      for (const side of this.sides) void this.add(name, side);
    }
  }

  private async list(): Promise<void> {
    [this.scenes, this.versions] = await Promise.all([this.api.scenes(), this.api.versions()]);
    this.scenes = this.scenes.filter((scene) => scene.state === "ready");
  }

  /** Show the scene of the address, or the first one, if there is any. */
  private async begin(): Promise<void> {
    const wanted = this.layout.scene;
    const first = this.scenes.find((scene) => scene.id === wanted) ?? this.scenes[0];
    if (wanted !== null && first?.id !== wanted) tell(`Scene ${wanted} cannot be shown: it is not ready, or was removed.`, "fault");
    if (!first) {
      this.map = null;
      this.panel.show();
      return;
    }
    await this.choose(first.id === this.layout.scene ? {} : { scene: first.id, centre: null, correct: null });
  }

  /** Take in scenes that were registered and versions that were trained or served since. */
  private async refresh(): Promise<void> {
    await this.list();
    if (this.map === null || this.scene === null) return this.begin();
    this.dropOtherScene();
    const isOther = this.mapsOf.scene !== this.layout.scene; // it is being loaded
    if (!isOther && this.mapsOf.sides === this.groundOfSides) return this.panel.show();
    try {
      if (await (isOther ? this.load() : this.loadMaps())) this.show();
    } catch (error) {
      if (isOther) {
        this.layout = this.shown;
        this.show();
        throw error;
      }
      const why = (error as Error).message;
      throw new Error(`Version ${this.version} is served now, but its maps could not be loaded: ${why}. What was shown stays.`);
    }
  }

  get scene(): Scene | null {
    return this.scenes.find((scene) => scene.id === this.layout.scene) ?? null;
  }

  /** What shows, on the left if there are two; null: no scene is chosen, or what shows is still of another one. */
  get ground(): Ground | null {
    return this.grounds[0] ?? null;
  }

  /** What shows on each side: but one, unless two scenes or versions are compared. */
  get grounds(): Ground[] {
    return this.scene && this.mapsOf.scene === this.scene.id ? this.mapsOf.grounds : [];
  }

  /** The scene on the right: the one that was chosen there, else the same. */
  get otherScene(): Scene | null {
    return this.scenes.find((scene) => scene.id === this.layout.otherScene) ?? this.scene;
  }

  /** The version whose maps show on the left: the one that was chosen, else the served one; null before the first. */
  get version(): number | null {
    return this.layout.version ?? this.versions.find((version) => version.aliases.includes("champion"))?.version ?? null;
  }

  /** The side that shows at a pixel of a map. */
  sideAt(map: OlMap, pixel: Pixel): OneSide {
    return this.compare.sideAt(map, pixel);
  }

  /** Layers like those that show, for a figure. */
  layersShown(): ReturnType<Compare["copies"]> {
    return this.compare.copies();
  }

  /** The title of a layer for a figure. */
  titleOf(of: string | null): string {
    const view = of === "left" ? this.layout.view : of === "right" ? this.layout.other : null;
    if (view !== null) return viewTitle(of === "right" ? this.otherMap ?? this.map : this.map, view);
    return of === null ? "What was predicted here" : this.panel.layerTitle(of);
  }

  /** The title of what could not be loaded; null: it does not show now. */
  private titleIfShown(of: string): string | null {
    if (of === SCENES) return "the scenes";
    return of === "left" || of === "right" || this.layout.layers.includes(of) ? this.titleOf(of) : null;
  }

  /** The titles of layers that were chosen, but are not there, or not yet. */
  layersMissing(): string[] {
    const chosen = this.layout.layers.filter((name) => name !== OUTLINES || this.versions.length);
    return chosen.filter((name) => this.sides.some(([side]) => !this.compare.has(`${name} ${side}`))).map((name) => this.titleOf(name));
  }

  /** What the view is, and where two are compared, what each is. */
  captions(): string[] {
    const { mode, view, other } = this.layout;
    const titles = [viewTitle(this.map, view), viewTitle(this.otherMap ?? this.map, other ?? "")];
    if (mode === "one") return titles.slice(0, 1);
    return titles.map((title, place) => [title, ...(this.differences[place] ?? [])].join(", "));
  }

  /** What each side is, in what they differ; empty if both are the same. */
  get sideTitles(): string[] {
    return this.differences.map((said, place) => `${place ? "Right" : "Left"}: ${said.join(", ")}`);
  }

  /** The scene and version of each side, if there are two: what both have in common is left out. */
  private get differences(): string[][] {
    const { grounds } = this;
    const [left, right] = grounds;
    if (!left || !right) return [];
    const isOneScene = left.scene.id === right.scene.id;
    const hasVersion = grounds.some(({ version }) => version !== null);
    return grounds.map(({ scene, version }) => [
      ...(isOneScene ? [] : [scene.name]),
      ...(hasVersion ? [version === null ? "no version" : `version ${version}`] : []),
    ]);
  }

  get showsPatches(): boolean {
    return this.layout.layers.includes(PATCHES);
  }

  /** The layers that show, by their titles. */
  layerTitles(): string[] {
    const titles = this.panel.layerTitles();
    return this.layout.layers.flatMap((name) => titles.get(name) ?? []);
  }

  /** The scales of the layers that show, by their titles. */
  layerScales(): ReturnType<Panel["scales"]> {
    return this.panel.scales();
  }

  /** The sides that show maps of a scene by a version: both the same, unless two scenes or versions are compared. */
  get sides(): ShownSide[] {
    const { scene, otherScene } = this;
    const { version, mode } = this.layout;
    const otherVersion = this.layout.otherVersion ?? version;
    if (mode === "one" || (otherVersion === version && otherScene === scene)) return [["both", version, scene]];
    return [["left", version, scene], ["right", otherVersion, otherScene]];
  }

  /** The sides with the numbers of their scenes and versions: what `mapsOf` is compared with. */
  private get groundOfSides(): string {
    return String(this.sides.map(([side, version, scene]) => [side, version ?? this.version, scene?.id]));
  }

  /** Change the layout, and show it, unless something else is chosen meanwhile. What cannot be had leaves all as it was. */
  async choose(changes: Partial<link.Layout>): Promise<void> {
    if (changes.scene !== undefined || changes.version !== undefined) leaveMode(); // it is about what showed so far
    const alone = changes.scene === undefined ? {} : { otherScene: null }; // which may lie elsewhere
    this.layout = { ...this.layout, ...alone, ...changes };
    this.dropOtherScene();
    this.wanted.abort();
    try {
      if (this.map === null || this.mapsOf.scene !== this.layout.scene) {
        if (!(await this.load())) return;
      } else if (this.mapsOf.sides !== this.groundOfSides && !(await this.loadMaps())) return;
    } catch (error) {
      if (this.map === null) throw error;
      this.layout = this.shown;
      tell((error as Error).message, "fault");
    }
    this.show();
  }

  /** Compare with the same scene where the one on the right is not there. */
  private dropOtherScene(): void {
    const { otherScene } = this.layout;
    if (otherScene === null || !this.scenes.length || this.scenes.some((scene) => scene.id === otherScene)) return;
    this.layout.otherScene = null;
    tell(`Scene ${otherScene} cannot be shown on the right: it is not ready, or was removed.`, "fault");
  }

  /**
   * Ask what can be shown of the scene, by each version that is chosen; return whether that is still wanted then. What
   * shows stays until it is known.
   */
  private async loadMaps(): Promise<boolean> {
    this.wanted.abort();
    const { signal } = (this.wanted = new AbortController());
    const { scene } = this.layout;
    if (scene === null) {
      this.removeLayers();
      return true;
    }
    const { sides, groundOfSides, version } = this;
    try {
      const maps = await Promise.all(sides.map(([, by, of]) => this.api.sceneMap(of?.id ?? scene, by)));
      if (signal.aborted) return false;
      this.removeLayers();
      [this.map = null, this.otherMap = null] = maps;
      this.mapsOf = { scene, sides: groundOfSides, grounds: this.groundsOf(sides, maps, version) };
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    }
    this.areas.update();
    return true;
  }

  private groundsOf(sides: ShownSide[], maps: SceneMap[], served: number | null): Ground[] {
    return sides.flatMap(([, version, scene], place) => {
      const map = maps[place];
      return scene && map ? [{ scene, map, version: version ?? served }] : [];
    });
  }

  private removeLayers(): void {
    this.asked.abort();
    this.asked = new AbortController();
    this.compare.clear();
    this.faults.clearAll();
    this.loading.clear();
    this.areas.forget();
    this.panel.forgetProgress();
    this.mapsOf = NOTHING;
  }

  private async load(): Promise<boolean> {
    if (!(await this.loadMaps())) return false;
    if (!this.map) return true;
    if (this.layout.centre === null) {
      const extent = transformExtent(this.map.bounds, "EPSG:4326", "EPSG:3857");
      this.olMap.getView().fit(extent, { padding: [20, 20, 20, 20] });
    } else this.goTo(this.layout.centre);
    return true;
  }

  private goTo([lon, lat, zoom]: [number, number, number]): void {
    const view = this.olMap.getView();
    view.setCenter(fromLonLat([lon, lat]));
    view.setZoom(zoom);
  }

  private show(): void {
    const map = this.map;
    if (!map) return;
    const there = this.otherMap ?? map;
    const [names, others] = [map, there].map(({ views }) => views.map((view) => view.name)) as [string[], string[]];
    if (!names.includes(this.layout.view)) this.layout.view = names[0] ?? "";
    if (this.layout.mode !== "one" && !others.includes(this.layout.other ?? "")) {
      // The same of another scene; another one of the same.
      this.layout.other = (this.scene === this.otherScene ? others[1] : others.find((name) => name === this.layout.view)) ?? others[0] ?? "";
    }
    const left = map.views.find((item) => item.name === this.layout.view);
    const right = this.layout.mode === "one" ? undefined : there.views.find((item) => item.name === this.layout.other);
    this.compare.show(
      left ? (className) => tileLayer(this.api, map, left.tiles, 0, className) : null,
      right ? (className) => tileLayer(this.api, there, right.tiles, 0, className) : null,
      this.layout.mode,
      this.layout.swipe,
      this.scene === this.otherScene,
    );
    this.predictHere.show(this.scene);
    for (const name of this.layout.layers) for (const side of this.sides) void this.add(name, side);
    this.compare.only(this.layout.layers);
    this.areas.look();
    this.faults.update();
    this.shown = this.layout;
    this.panel.show();
    this.write();
    this.beginCorrection();
  }

  /** Open the editor on the window that the address names, once. */
  private beginCorrection(): void {
    const { correct } = this.layout;
    if (correct === null) return;
    this.layout.correct = null;
    this.panel.correctWindow(correct);
  }

  /** Add a layer that was asked for; what has to be made first is waited for. */
  private async add(name: string, shown: ShownSide): Promise<void> {
    const [side] = shown;
    const map = side === "right" ? this.otherMap : this.map;
    const key = `${name} ${side}`;
    if (!map || !this.scene || this.mapsOf.scene !== this.scene.id || this.loading.has(key)) return;
    const mine = new AbortController();
    const signal = AbortSignal.any([this.asked.signal, mine.signal]);
    const order = ABOVE_VIEWS + this.layout.layers.indexOf(name); // the one that was chosen last lies on top
    this.loading.set(key, mine);
    try {
      const build = await this.build(name, shown, map, order, signal);
      if (signal.aborted || this.loading.get(key) !== mine) return;
      this.faults.clear(key);
      if (!build) {
        this.loading.delete(key); // it may exist later
        this.compare.remove(key);
      } else this.compare.overlay(key, { name, side, build });
    } catch (error) {
      if (this.loading.get(key) === mine) this.loading.delete(key); // so that it can be asked for again
      if (signal.aborted) return;
      this.panel.progress(name, null);
      this.faults.set(key, name, error as Error, () => void this.add(name, shown));
    }
  }

  private async build(
    name: string, [side, version, shown]: ShownSide, map: SceneMap, order: number, signal: AbortSignal,
  ): Promise<Build | null> {
    const scene = shown as Scene;
    const raster = map.layers.find((item) => item.name === name);
    if (raster) return (className) => tileLayer(this.api, map, raster.tiles, order, className);
    if (name === PATCHES) {
      const patches = featuresOf(await this.api.patches(scene.id, signal));
      if (!signal.aborted) this.areas.setPatches(side, patches);
      return (className) => patchLayer(patches, order, className);
    }
    if (name === LABELS) {
      const drawn = await this.api.labels(scene.id, signal);
      const waiting = drawn.withheld?.length ?? 0;
      const isNews = waiting !== (this.withheld.get(scene.id) ?? 0) && !signal.aborted;
      this.withheld.set(scene.id, waiting);
      if (waiting && isNews) tell(`Not shown: labels of patches that wait for an annotator (${waiting}), if there are any.`);
      const labels = featuresOf(drawn);
      return (className) => labelLayer(labels, order + ABOVE_MAPS, className, coloursOf(map, "#94a3b8"));
    }
    if (name !== OUTLINES || !this.versions.length) return null;
    const outlines = featuresOf(await this.outlines(scene.id, version));
    if (!signal.aborted) this.areas.setOutlines(side, outlines);
    return (className) => outlineLayer(outlines, order + ABOVE_MAPS, className, coloursOf(map));
  }

  /** Ask for outlines; once they had to be made, there are more maps of the scene. */
  private async outlines(scene: number, version: number | null): Promise<FeatureCollection> {
    let made = false;
    const signal = this.asked.signal;
    const found = await this.api.outlines(scene, version, (job) => {
      made = true;
      if (!signal.aborted) this.panel.progress(OUTLINES, job);
    });
    if (made && !signal.aborted) await this.lookForMaps();
    return found;
  }

  /** Take in which maps of the scene exist now: it was predicted, or the pool was scored anew. What changed is said. */
  async lookForMaps(): Promise<void> {
    const { scene, sides } = this.mapsOf;
    const signal = this.asked.signal;
    const isShown = (): boolean => !signal.aborted && scene === this.layout.scene && sides === this.groundOfSides;
    if (!isShown()) return;
    const maps = await Promise.all(this.sides.map(([, version, of]) => this.api.sceneMap(of?.id ?? scene, version)));
    if (!isShown()) return;
    const changed = new Set([this.map, this.otherMap].flatMap((map, side) => replaced(map, maps[side] ?? null)));
    if (!changed.size) return;
    const before = this.panel.layerTitles();
    [this.map = null, this.otherMap = null] = maps;
    this.mapsOf.grounds = this.groundsOf(this.sides, maps, this.version);
    this.renew([...changed]);
    this.areas.update();
    this.panel.show();
    const now = this.panel.layerTitles();
    for (const name of this.layout.layers.filter((item) => changed.has(item) && before.has(item))) {
      const [was, is] = [before.get(name), now.get(name)];
      if (is === undefined) tell(`${was} does not exist any more.`, "fault");
      else if (was !== is) tell(`${is} shows now, in place of ${was}.`);
    }
  }

  private rememberCentre(): void {
    const view = this.olMap.getView();
    const centre = view.getCenter();
    const zoom = view.getZoom();
    if (!centre || zoom === undefined || !this.map || this.mapsOf.scene !== this.layout.scene) return; // still of another scene
    const [lon = 0, lat = 0] = toLonLat(centre);
    this.layout.centre = [lon, lat, zoom];
    this.write();
  }

  private write(): void {
    history.replaceState(null, "", link.write(this.layout));
  }

  private follow(): void {
    const wanted = link.read(location.hash);
    wanted.scene ??= this.layout.scene; // e.g. the link of a version
    if (wanted.correct === null && link.write(wanted) === link.write(this.layout)) return;
    const stays = wanted.scene === this.layout.scene;
    this.choose(wanted)
      .then(() => stays && wanted.centre && this.goTo(wanted.centre))
      .catch((error: Error) => tell(error.message, "fault"));
  }
}

/** The title of a view, or its name if it is not there. */
function viewTitle(map: SceneMap | null, name: string): string {
  return map?.views.find((view) => view.name === name)?.title ?? name;
}

/** The names of the maps that are others now, there no more, or new. */
function replaced(before: SceneMap | null, now: SceneMap | null): string[] {
  const [old, fresh] = [before, now].map((map) => new Map((map?.layers ?? []).map((layer) => [layer.name, JSON.stringify(layer)])));
  const names = new Set([...(old?.keys() ?? []), ...(fresh?.keys() ?? [])]);
  return [...names].filter((name) => old?.get(name) !== fresh?.get(name));
}

/** Tell of an error of what nobody asked for, unless it passes by itself: the next change asks again. */
function tellUnlessItPasses(error: Error): void {
  const passes = error instanceof UnreachableError || (error instanceof ProblemError && error.status === 503);
  if (!passes) tell(error.message, "fault");
}

/** The colours of classes by their names; `other`: that of names which are none. */
function coloursOf(map: SceneMap | null, other = "#e879f9"): ColourOf {
  const known = new Map(classesOn(map).map((item) => [item.name, item.colour]));
  return (name) => known.get(name) ?? other;
}
