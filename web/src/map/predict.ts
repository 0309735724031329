/** The section of the panel that predicts in the browser: a window is picked, and the served network is run on it. */

import type OlMap from "ol/Map";
import { always } from "ol/events/condition";
import DragBox from "ol/interaction/DragBox";

import type { Api, Scene } from "../api";
import { tell } from "../dom";
import { whenChanged } from "../live";
import type { Card } from "../predict/card";
import type { Backend, Loaded, Outcome, Predictor } from "../predict/client";
import { outlines, picture } from "../predict/drawn";
import { Ground } from "../predict/ground";
import type { Area } from "../predict/tiling";
import type { Compare } from "./compare";
import { enter, left } from "./mode";
import type { ColourOf } from "./outlines";
import { PredictOnServer } from "./predict_server";
import { PredictView, type Result, type Running } from "./predict_view";
import { outlinesOf, pictureOf } from "./predicted";

const POLL_MS = 30_000;
const HERE_PX = 512;
const LARGEST_PX = 1024;
const SMALLEST_PX = 16;
const PICTURE = "predicted-picture";
const OUTLINES = "predicted-outlines";

export class PredictHere {
  private readonly view = new PredictView({
    here: () => void this.here().catch((error: Error) => this.fail(error.message)),
    box: () => this.draw(!this.drawing),
    cancel: () => this.running?.cancel(),
    remove: () => this.forget(),
    computeOn: (backend) => void this.computeOn(backend),
  });
  private readonly box = new DragBox({ className: "predict-box", condition: always });
  private readonly server: PredictOnServer;
  drawing = false;
  private readonly stopDrawing = () => this.draw(false);
  private predictor: Predictor | null = null;
  private backend: Backend | null = null;
  loaded: Loaded | null = null;
  private scene: Scene | null = null;
  private ground: Ground | null = null;
  result: Result | null = null;
  fault = "";
  private lost = ""; // what kept the last look at the served version from being made
  running: (Running & { cancel: () => void }) | null = null;
  private isStale = false; // another version may be served since the prediction began

  constructor(
    private readonly api: Api,
    private readonly map: OlMap,
    private readonly compare: Compare,
    colourOf: ColourOf,
  ) {
    this.server = new PredictOnServer(api, compare, colourOf);
    this.view.element.append(this.server.element);
    this.box.on("boxend", () => void this.predictBox().catch((error: Error) => this.fail(error.message)));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.drawing) this.draw(false);
    });
    this.render();
  }

  get element(): HTMLElement {
    return this.view.element;
  }

  /** Begin with another scene. */
  show(scene: Scene | null): void {
    if (scene?.id === this.scene?.id) return;
    this.running?.cancel();
    this.scene = scene;
    this.ground = null;
    this.draw(false);
    this.forget();
  }

  private async here(): Promise<void> {
    const ground = await this.placed();
    const centre = this.map.getView().getCenter();
    if (!ground || !centre) return;
    const [row, column] = ground.toPixel(centre[0] as number, centre[1] as number);
    await this.predict({ row: row - HERE_PX / 2, column: column - HERE_PX / 2, height: HERE_PX, width: HERE_PX });
  }

  private async predictBox(): Promise<void> {
    const corners = this.box.getGeometry().getCoordinates()[0] ?? [];
    this.draw(false);
    const ground = await this.placed();
    if (!ground) return;
    const places = corners.map(([x, y]) => ground.toPixel(x as number, y as number));
    const [rows, columns] = [places.map(([row]) => row), places.map(([, column]) => column)];
    const [row, column] = [Math.min(...rows), Math.min(...columns)];
    await this.predict({ row, column, height: Math.max(...rows) - row, width: Math.max(...columns) - column });
  }

  /** Predict a window, as far as it is in the scene. */
  private async predict(wanted: Area): Promise<void> {
    const { scene } = this;
    if (!scene || this.running) return;
    const area = within(wanted, scene);
    const size = `${area.width} x ${area.height} px`;
    if (Math.min(area.width, area.height) < SMALLEST_PX) return this.fail(`The window has ${size} in the scene; at least ${SMALLEST_PX} x ${SMALLEST_PX} are needed.`);
    if (Math.max(area.width, area.height) > LARGEST_PX) {
      this.server.offer(scene, area);
      return this.fail(`The window has ${size}; in the browser at most ${LARGEST_PX} x ${LARGEST_PX} are predicted. Draw a smaller one, or:`);
    }
    this.fault = "";
    this.server.forget();
    let isCancelled = false;
    this.running = { done: 0, total: 0, since: 0, cancel: () => (isCancelled = true) };
    this.render();
    try {
      await this.load();
      const ground = await this.placed();
      if (!this.predictor || !ground || scene !== this.scene || isCancelled) return;
      const [answer, cancel] = this.predictor.predict(scene.id, scene, area, (done, total) => this.progress(done, total));
      this.running.cancel = cancel;
      const outcome = await answer;
      if (scene === this.scene && this.loaded) this.present(outcome, area, this.loaded.card, ground);
    } catch (error) {
      const { CancelledError } = await import("../predict/client");
      if (!(error instanceof CancelledError)) this.fault = (error as Error).message;
    } finally {
      this.running = null;
      this.render();
    }
    if (this.isStale) await this.refresh();
  }

  /** Load the network, once; from then on it is refreshed when another version is served. */
  private async load(): Promise<void> {
    if (!this.predictor) {
      const { Predictor } = await import("../predict/client");
      this.predictor = new Predictor();
      whenChanged(["models"], () => void this.refresh());
      setInterval(() => void this.refresh(), POLL_MS);
    }
    this.loaded = (await this.predictor.load(this.backend)).loaded;
  }

  /** Compute by something else from now on; null: by what is fit. */
  private async computeOn(backend: Backend | null): Promise<void> {
    this.backend = backend;
    await this.refresh();
  }

  /** Look whether another version is served, or something else computes it; if so, predict the shown window again. */
  private async refresh(): Promise<void> {
    if (!this.predictor) return;
    this.isStale = this.running !== null;
    if (this.isStale) return;
    try {
      const before = this.loaded?.version;
      const { changed, loaded } = await this.predictor.load(this.backend);
      this.loaded = loaded;
      if (this.fault === this.lost) this.fault = "";
      this.lost = "";
      if (!changed) return this.render();
      if (loaded.version !== before) tell(`Version ${loaded.version} is served now.`);
      const area = this.result?.area;
      this.forget();
      if (area) await this.predict(area);
    } catch (error) {
      this.lost = (error as Error).message; // what is predicted stays: it was right, and the next look may succeed
      this.fail(this.lost);
    }
  }

  private async placed(): Promise<Ground | null> {
    const { scene } = this;
    if (!this.ground && scene) {
      const ground = new Ground(await this.api.grid(scene.id));
      if (scene === this.scene) this.ground = ground;
    }
    return this.ground;
  }

  private present(outcome: Outcome, area: Area, card: Card, ground: Ground): void {
    const drawn = picture(outcome.classes, area, card, ground);
    const found = outlines(outcome.classes, area, card, ground);
    this.compare.overlay(PICTURE, { name: null, side: "both", build: (className) => pictureOf(drawn, className) });
    this.compare.overlay(OUTLINES, { name: null, side: "both", build: (className) => outlinesOf(found, className) });
    const km2 = new Map(card.classes.slice(1).map((name) => [name, 0]));
    for (const item of found) km2.set(item.className, (km2.get(item.className) ?? 0) + item.km2);
    this.result = { outcome, area, km2, outlines: found.length };
  }

  private forget(): void {
    this.result = null;
    this.fault = "";
    this.server.forget();
    this.compare.remove(PICTURE);
    this.compare.remove(OUTLINES);
    this.render();
  }

  private fail(fault: string): void {
    this.fault = fault;
    this.render();
  }

  private progress(done: number, total: number): void {
    const { running } = this;
    if (!running) return;
    if (done === 0) running.since = performance.now();
    Object.assign(running, { done, total });
    this.render();
  }

  private render(): void {
    this.view.show(this);
  }

  private draw(on: boolean): void {
    if (on) enter(this.stopDrawing);
    else left(this.stopDrawing);
    this.drawing = on;
    if (on) this.map.addInteraction(this.box);
    else this.map.removeInteraction(this.box);
    this.render();
  }
}

function within(wanted: Area, scene: Scene): Area {
  const clip = (at: number, limit: number): number => Math.max(0, Math.min(limit, Math.round(at)));
  const [row, column] = [clip(wanted.row, scene.height), clip(wanted.column, scene.width)];
  return {
    row,
    column,
    height: clip(wanted.row + wanted.height, scene.height) - row,
    width: clip(wanted.column + wanted.width, scene.width) - column,
  };
}
