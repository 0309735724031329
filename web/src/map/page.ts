/** The map and its panel: one layout, which the address holds, is what both show. */

import OlMap from "ol/Map";
import View from "ol/View";
import { defaults as controls } from "ol/control/defaults";
import ScaleLine from "ol/control/ScaleLine";
import type BaseLayer from "ol/layer/Base";
import { fromLonLat, toLonLat, transformExtent } from "ol/proj";

import type { Api, Scene, SceneMap, Version } from "../api";
import { tell } from "../dom";
import { Compare } from "./compare";
import * as link from "./link";
import { outlineLayer, patchLayer } from "./outlines";
import { Panel } from "./panel";
import { tileLayer } from "./rasters";

export const OUTLINES = "outlines";
export const PATCHES = "patches";
const ABOVE_VIEWS = 10;
const ABOVE_MAPS = 100;

export class MapPage {
  layout: link.Layout = link.read(location.hash);
  scenes: Scene[] = [];
  versions: Version[] = [];
  map: SceneMap | null = null;

  readonly olMap: OlMap;
  private readonly compare: Compare;
  private readonly panel: Panel;
  private readonly loading = new Set<string>();
  private asked = new AbortController();

  constructor(
    private readonly api: Api,
    target: HTMLElement,
    panel: HTMLElement,
  ) {
    this.olMap = new OlMap({
      target,
      controls: controls({ rotate: false, attribution: false }).extend([new ScaleLine()]),
      view: new View({ center: [0, 0], zoom: 2, maxZoom: 20, enableRotation: false }),
    });
    this.compare = new Compare(this.olMap, target);
    this.panel = new Panel(panel, this);
    this.olMap.on("moveend", () => this.rememberCentre());
    window.addEventListener("hashchange", () => this.follow());
  }

  async start(): Promise<void> {
    [this.scenes, this.versions] = await Promise.all([this.api.scenes(), this.api.versions()]);
    this.scenes = this.scenes.filter((scene) => scene.state === "ready");
    const first = this.scenes.find((scene) => scene.id === this.layout.scene) ?? this.scenes[0];
    if (!first) {
      this.panel.show();
      return;
    }
    await this.choose({ scene: first.id });
  }

  get scene(): Scene | null {
    return this.scenes.find((scene) => scene.id === this.layout.scene) ?? null;
  }

  /** Change the layout, and show it. */
  async choose(changes: Partial<link.Layout>): Promise<void> {
    const before = this.layout;
    this.layout = { ...before, ...changes };
    const moved = before.scene !== this.layout.scene || this.map === null;
    if (moved || before.version !== this.layout.version) await this.load(moved && before.scene !== this.layout.scene);
    this.show();
  }

  private async load(elsewhere: boolean): Promise<void> {
    this.asked.abort();
    this.asked = new AbortController();
    this.compare.clear();
    this.loading.clear();
    const { scene, version } = this.layout;
    if (scene === null) return;
    this.map = await this.api.sceneMap(scene, version);
    const extent = transformExtent(this.map.bounds, "EPSG:4326", "EPSG:3857");
    if (this.layout.centre !== null && !elsewhere) {
      const [lon, lat, zoom] = this.layout.centre;
      this.olMap.getView().setCenter(fromLonLat([lon, lat]));
      this.olMap.getView().setZoom(zoom);
    } else {
      this.olMap.getView().fit(extent, { padding: [20, 20, 20, 20] });
    }
  }

  private show(): void {
    const map = this.map;
    if (!map) return;
    const names = map.views.map((view) => view.name);
    if (!names.includes(this.layout.view)) this.layout.view = names[0] ?? "";
    if (this.layout.mode !== "one" && !this.layout.other) this.layout.other = names[1] ?? this.layout.view;
    const view = (name: string | null) => map.views.find((item) => item.name === name);
    const [left, right] = [view(this.layout.view), this.layout.mode === "one" ? undefined : view(this.layout.other)];
    this.compare.show(
      left ? tileLayer(map, left.tiles, 0) : null,
      right ? tileLayer(map, right.tiles, 0) : null,
      this.layout.mode,
    );
    for (const name of this.layout.layers) if (!this.loading.has(name)) void this.add(name);
    this.compare.only(this.layout.layers);
    this.panel.show();
    this.write();
  }

  /** Add a layer that was asked for; what has to be made first is waited for. */
  private async add(name: string): Promise<void> {
    const map = this.map;
    const scene = this.scene;
    if (!map || !scene) return;
    const signal = this.asked.signal;
    const colours = new Map(map.classes.map((item) => [item.name, item.colour]));
    const order = ABOVE_VIEWS + this.loading.size;
    this.loading.add(name);
    try {
      let build: (() => BaseLayer) | null = null;
      const raster = map.layers.find((item) => item.name === name);
      if (raster) build = () => tileLayer(map, raster.tiles, order);
      else if (name === PATCHES) {
        const patches = await this.api.patches(scene.id);
        build = () => patchLayer(patches, order);
      } else if (name === OUTLINES && this.versions.length) {
        const outlines = await this.api.outlines(scene.id, (job) => this.panel.progress(name, job));
        build = () => outlineLayer(outlines, order + ABOVE_MAPS, (of) => colours.get(of) ?? "#f97316");
      }
      if (!build || signal.aborted) return;
      this.compare.overlay(name, build);
      this.compare.only(this.layout.layers);
    } catch (error) {
      if (!signal.aborted) tell((error as Error).message, "fault");
    }
  }

  private rememberCentre(): void {
    const view = this.olMap.getView();
    const centre = view.getCenter();
    const zoom = view.getZoom();
    if (!centre || zoom === undefined || !this.map) return;
    const [lon = 0, lat = 0] = toLonLat(centre);
    this.layout.centre = [lon, lat, zoom];
    this.write();
  }

  private write(): void {
    history.replaceState(null, "", link.write(this.layout));
  }

  private follow(): void {
    const wanted = link.read(location.hash);
    if (link.write(wanted) !== link.write(this.layout)) void this.choose(wanted);
  }
}
