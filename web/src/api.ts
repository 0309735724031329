/** A client of the HTTP API: what the pages ask of the server, with types. The contract is `/openapi.json`. */

import type { Grid } from "./predict/ground";

/** An error that the server explains (RFC 9457). */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    /** After how many seconds the server wants to be asked again; null: it does not say. */
    readonly retryAfterS: number | null = null,
  ) {
    super(detail);
    this.name = "ProblemError";
  }
}

/** No response came: the server or the network is gone. */
export class UnreachableError extends Error {
  constructor() {
    super("the server does not answer");
    this.name = "UnreachableError";
  }
}

const PICTURE_TRIES = 3; // of a picture for which the server is too busy

export interface Scene {
  id: number;
  name: string;
  role: "pool" | "validation" | "test";
  state: string;
  acquired: string | null;
  sensor: string | null;
  width: number;
  height: number;
  crs: string;
  has_outlines: boolean;
  /** A polygon, or several, in degrees. */
  footprint: { coordinates: unknown[] };
}

export interface View {
  name: string;
  title: string;
  hint: string | null;
  tiles: string;
}

export interface MapClass {
  value: number;
  name: string;
  colour: string;
}

export interface Layer {
  name: string;
  title: string;
  kind: "classes" | "percent" | "entropy";
  version: number | null;
  /** Of its file: another one once it was made anew. */
  checksum: string | null;
  tiles: string;
  /** What its values mean; a model may tell other classes apart than people draw. */
  classes: MapClass[];
  /** How its values are coloured; null: they are classes. */
  scale: Scale | null;
}

/** Colours of values, evenly spaced from the lowest to the highest. */
export interface Scale {
  quantity: string;
  unit: string;
  low: number;
  high: number;
  colours: string[];
}

/** A value at an end of a scale, with its unit: 0 nats, 1.10 nats, 100 %. */
export function scaleEnd(scale: Scale, value: number): string {
  return `${Number.isInteger(value) ? value : value.toFixed(2)} ${scale.unit}`;
}

export interface SceneMap {
  bounds: [number, number, number, number];
  deepest_zoom: number;
  views: View[];
  layers: Layer[];
  /** Those that people draw. */
  classes: MapClass[];
}

/** All classes that a map of a scene may show, each once: those that people draw first. */
export function classesOn(...maps: (SceneMap | null)[]): MapClass[] {
  const all = maps.flatMap((map) => [...(map?.classes ?? []), ...(map?.layers ?? []).flatMap((layer) => layer.classes)]);
  return [...new Map(all.reverse().map((item) => [item.name, item] as const)).values()].reverse();
}

export interface Version {
  version: number;
  aliases: string[];
  labels: number;
  verdict: string;
}

export interface Job {
  id: string;
  kind: string;
  state: "queued" | "running" | "finished" | "failed" | "cancelled";
  progress: number | null;
  message: string | null;
  eta_s: number | null;
  error: string | null;
}

/** Where a scene is asked for: a new one is registered, an old one replaced. */
export interface SceneTarget {
  method: "POST" | "PUT";
  path: string;
}

/** What was stored, and what became of the labels of a scene that was replaced. */
export interface SceneOutcome {
  scene_id: number;
  labels_kept: number;
  labels_superseded: number;
  learnt_from: number[];
}

/** A request about a scene whose files lie on another machine; `Summary` is what was understood of it. */
export interface SceneRequest<Summary> {
  id: number;
  state: "waiting" | "done" | "refused";
  job_id: string;
  fault: string | null;
  summary: Summary | null;
  outcome: SceneOutcome | null;
}

/** What was registered or replaced at once, or the request that a job carries out. */
interface SceneAccepted extends Partial<SceneOutcome> {
  scene: Scene | null;
  request: SceneRequest<unknown> | null;
}

/** Features as GeoJSON; the map library reads their geometry. */
export interface FeatureCollection {
  type: "FeatureCollection";
  features: unknown[];
  next?: string | null;
  withheld?: number[];
}

/** A file of a scene as a version maps it. */
export type PredictionFile = "tif" | "confidence.tif" | "geojson" | "gpkg" | "shp.zip" | "areas.json" | "glims.zip";

/** West, south, east, north in degrees (WGS 84). */
export type Box = [number, number, number, number];

/** An area with its 95 % interval, in km²; null where it is not known. */
export interface Area {
  name: string;
  mapped_km2: number;
  area_km2: number | null;
  low_km2: number | null;
  high_km2: number | null;
}

export interface AreaReport {
  model_version: number;
  totals: (Area & { outlines: number | null; undefined_because: string | null })[];
  glaciers: { id: string; areas: Area[] }[];
}

export class Api {
  /** @param csrfToken - value that our pages hold; requests that change something need it. */
  constructor(private csrfToken: string) {}

  scenes = (): Promise<Scene[]> => this.list("/api/v1/scenes");
  versions = (): Promise<Version[]> => this.list("/api/v1/models");
  sceneMap = (scene: number, version: number | null): Promise<SceneMap> =>
    this.get(`/api/v1/scenes/${scene}/map${version === null ? "" : `?version=${version}`}`);
  grid = (scene: number): Promise<Grid> => this.get(`/api/v1/scenes/${scene}/grid`);
  job = (id: string): Promise<Job> => this.get(`/api/v1/jobs/${id}`);

  /** The patches of a scene with states and scores. */
  patches = (scene: number, signal?: AbortSignal): Promise<FeatureCollection> =>
    this.allPages(`/api/v1/scenes/${scene}/patches?limit=1000`, signal);
  /** What people drew on a scene; `withheld` are patches that wait for an annotator, labelled before or not. */
  labels = (scene: number, signal?: AbortSignal): Promise<FeatureCollection> =>
    this.allPages(`/api/v1/scenes/${scene}/labels?limit=100`, signal);

  private async allPages(first: string, signal?: AbortSignal): Promise<FeatureCollection> {
    const all: unknown[] = [];
    const withheld: number[] = [];
    let next: string | null = first;
    while (next) {
      const page: FeatureCollection = await this.get(next, signal);
      all.push(...page.features);
      withheld.push(...(page.withheld ?? []));
      next = page.next ?? null;
    }
    return { type: "FeatureCollection", features: all, withheld };
  }

  /**
   * A file of a scene as a version maps it (null: the served one), cut to a box if one is given; what does not exist yet is
   * made at the first request.
   */
  async prediction(
    scene: number, version: number | null, file: PredictionFile, box: Box | null, tell: (job: Job) => void, signal?: AbortSignal,
  ): Promise<Response> {
    const query = new URLSearchParams();
    if (version !== null) query.set("version", String(version));
    if (box !== null) query.set("bbox", box.map((degrees) => degrees.toFixed(7)).join(","));
    for (;;) {
      const response = await this.request("GET", `/api/v1/scenes/${scene}/prediction.${file}?${query}`, undefined, signal);
      if (response.status === 200) return response;
      await waitForJob(this, ((await response.json()) as Job).id, tell);
    }
  }

  /** The outlines of a whole scene. */
  async outlines(scene: number, version: number | null, tell: (job: Job) => void): Promise<FeatureCollection> {
    return (await this.prediction(scene, version, "geojson", null, tell)).json() as Promise<FeatureCollection>;
  }

  /** The glaciers on a scene that have an id. */
  glaciers = (scene: number): Promise<FeatureCollection> => this.get(`/api/v1/scenes/${scene}/glaciers`);

  /** The areas in a box, or of the whole scene. */
  async areas(scene: number, version: number | null, box: Box | null, signal?: AbortSignal): Promise<AreaReport> {
    return (await this.prediction(scene, version, "areas.json", box, () => {}, signal)).json() as Promise<AreaReport>;
  }

  /** Have a scene described; it takes a job if its files lie on another machine. */
  async describeScene<Summary>(target: SceneTarget, body: object, tell: (job: Job) => void): Promise<Summary> {
    const response = await this.request(target.method, target.path, { ...body, dry_run: true });
    if (response.status === 200) return (await response.json()) as Summary;
    const accepted = (await response.json()) as { request: SceneRequest<Summary> };
    return (await this.carriedOut(accepted.request, tell)).summary as Summary;
  }

  /** Register or replace a scene; it takes a job if its files lie on another machine. */
  async storeScene(target: SceneTarget, body: object, tell: (job: Job) => void): Promise<SceneOutcome> {
    const accepted = (await (await this.request(target.method, target.path, body)).json()) as SceneAccepted;
    if (accepted.request !== null) return (await this.carriedOut(accepted.request, tell)).outcome as SceneOutcome;
    const { labels_kept = 0, labels_superseded = 0, learnt_from = [] } = accepted;
    return { scene_id: (accepted.scene as Scene).id, labels_kept, labels_superseded, learnt_from };
  }

  private async carriedOut<Summary>(request: SceneRequest<Summary>, tell: (job: Job) => void): Promise<SceneRequest<Summary>> {
    await waitForJob(this, request.job_id, tell);
    const ended: SceneRequest<Summary> = await this.get(`/api/v1/scenes/requests/${request.id}`);
    if (ended.state !== "done") throw new ProblemError(422, ended.fault ?? "the request has not ended");
    return ended;
  }

  async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return (await this.request("GET", path, undefined, signal)).json() as Promise<T>;
  }

  /** All items of a list, page by page: the header `Link` of a page leads to the next one. */
  async list<T>(first: string): Promise<T[]> {
    const all: T[] = [];
    let next: string | null = first;
    while (next) {
      const response = await this.request("GET", next);
      all.push(...((await response.json()) as T[]));
      next = /<([^>]*)>;\s*rel="next"/.exec(response.headers.get("Link") ?? "")?.[1] ?? null;
    }
    return all;
  }

  async post<T>(path: string, body: unknown): Promise<T> {
    return (await this.request("POST", path, body)).json() as Promise<T>;
  }

  /** Load a picture after all else that is asked for. A server that is busy is asked again when it says, a few times. */
  async picture(path: string, signal?: AbortSignal): Promise<ImageBitmap> {
    for (let left = PICTURE_TRIES - 1; ; left -= 1) {
      try {
        return await createImageBitmap(await (await this.request("GET", path, undefined, signal, "low")).blob());
      } catch (error) {
        const pauseS = error instanceof ProblemError && error.status === 503 ? error.retryAfterS : null;
        if (left === 0 || pauseS === null || signal?.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * pauseS));
      }
    }
  }

  /**
   * Send a request, its body as JSON unless it is bytes or a form; the response is good, or an error says what the server
   * said. Who has logged in anew in another tab can go on: the value that proves a request to be ours is another one then.
   */
  async request(method: string, path: string, body?: unknown, signal?: AbortSignal, priority: RequestPriority = "auto"): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (method !== "GET") headers["X-CSRFToken"] = this.csrfToken;
    const options: RequestInit = { method, headers, priority };
    if (body instanceof FormData) options.body = body; // the browser says where its parts end
    else if (body !== undefined) {
      const isBytes = body instanceof Blob;
      headers["Content-Type"] = isBytes ? body.type || "application/octet-stream" : "application/json";
      options.body = isBytes ? body : JSON.stringify(body);
    }
    if (signal) options.signal = signal;
    const send = (): Promise<Response> => fetch(path, options).catch((error: Error) => {
      throw error instanceof TypeError ? new UnreachableError() : error; // a request that is given up is no TypeError
    });
    let response = await send();
    if (response.status === 403 && method !== "GET" && (await this.takeNewToken())) {
      headers["X-CSRFToken"] = this.csrfToken;
      response = await send();
    }
    if (response.ok) return response;
    if (response.status === 401) logInAgain();
    const type = response.headers.get("Content-Type") ?? "";
    const detail = type.includes("json") ? ((await response.json()) as { detail?: string }).detail : undefined;
    const pauseS = Number.parseInt(response.headers.get("Retry-After") ?? "", 10); // not a date: our server gives seconds
    throw new ProblemError(response.status, detail ?? `the server answered with status ${response.status}, and does not say why`, Number.isNaN(pauseS) ? null : pauseS);
  }

  /** Take the value of our pages as they are now, if it is another one and the same person reads them; return whether. */
  private async takeNewToken(): Promise<boolean> {
    const page = await fetch(location.pathname, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!page?.ok) return false;
    const { csrf = "", name } = new DOMParser().parseFromString(await page.text(), "text/html").body.dataset;
    const isNew = csrf !== "" && csrf !== this.csrfToken && name === document.body.dataset["name"];
    if (isNew) this.csrfToken = csrf;
    return isNew;
  }
}

/** Return whether the page holds what somebody is writing, and would be lost if it were loaded again. */
export function isWriting(): boolean {
  const { body } = document;
  return document.querySelector("dialog[open]") !== null || body.dataset["written"] !== undefined || body.classList.contains("correcting");
}

/** Lead to the log-in, and back; but not from what somebody is writing. */
function logInAgain(): void {
  if (isWriting()) throw new ProblemError(401, "You are logged out. Log in in another tab, then try again here: what you wrote stays.");
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}

/** Wait for a job to end, telling of its progress. */
export async function waitForJob(api: Api, id: string, tell: (job: Job) => void): Promise<Job> {
  for (;;) {
    const job = await api.job(id);
    tell(job);
    if (job.state === "finished") return job;
    if (job.state === "failed" || job.state === "cancelled") throw new ProblemError(409, job.error ?? `the job was ${job.state}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
