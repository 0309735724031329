/** A window that is too large for the browser: the server maps it, and its files can be taken away. */

import type { Api, FeatureCollection, Job, Scene } from "../api";
import { waitForJob } from "../api";
import { make } from "../dom";
import type { Area } from "../predict/tiling";
import type { Compare } from "./compare";
import type { ColourOf } from "./outlines";
import { featuresOf, outlineLayer } from "./outlines";
import { FILES } from "./takeaway";

const OVERLAY = "server-predicted";
const ABOVE_ALL = 202;
const TITLES = new Map<string, string>(FILES);

interface Asked {
  id: string;
  version: number;
  job: Job;
  files: Record<string, string>;
}

export class PredictOnServer {
  readonly element = make("div", { class: "on-server", hidden: true });
  private readonly start = make("button", { type: "button", onclick: () => void this.run() }, "Have the server map it");
  private readonly bar = make("progress", { max: 1, "aria-label": "Mapped by the server" });
  private readonly said = make("p", { class: "soft", role: "status" });
  private readonly fault = make("p", { class: "bad", role: "alert" });
  private readonly files = make("ul", { class: "files" });
  private wanted: { scene: Scene; area: Area } | null = null;

  constructor(
    private readonly api: Api,
    private readonly compare: Compare,
    private readonly colourOf: ColourOf,
  ) {
    this.element.append(this.start, this.bar, this.said, this.files);
  }

  /** Offer to map a window of a scene. */
  offer(scene: Scene, area: Area): void {
    this.forget();
    this.wanted = { scene, area };
    this.element.hidden = false;
  }

  forget(): void {
    this.wanted = null;
    this.element.hidden = true;
    this.start.hidden = false;
    this.start.disabled = false;
    this.bar.hidden = true;
    this.said.textContent = "";
    this.fault.remove();
    this.files.replaceChildren();
    this.compare.remove(OVERLAY);
  }

  private async run(): Promise<void> {
    const { wanted } = this;
    if (!wanted) return;
    this.start.disabled = true;
    this.fault.remove();
    this.bar.hidden = false;
    try {
      const { area, scene } = wanted;
      const window = { row_off: area.row, col_off: area.column, height: area.height, width: area.width };
      const asked = await this.api.post<Asked>("/api/v1/predict", { scene_id: scene.id, window });
      await waitForJob(this.api, asked.job.id, (job) => wanted === this.wanted && this.tell(job));
      const done = await this.api.get<Asked>(`/api/v1/predict/${asked.id}`);
      const outlines = await this.api.get<FeatureCollection>(done.files["geojson"] as string);
      if (wanted === this.wanted) this.present(done, outlines);
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.fault.textContent = (error as Error).message;
      this.said.after(this.fault);
      this.start.disabled = false;
    } finally {
      if (wanted === this.wanted) this.bar.hidden = true;
    }
  }

  private tell(job: Job): void {
    if (job.progress === null) this.bar.removeAttribute("value");
    else this.bar.value = job.progress;
    this.said.textContent = job.state === "queued" ? "The server does this when nothing else waits for its network." : (job.message ?? "");
  }

  private present(done: Asked, outlines: FeatureCollection): void {
    const source = featuresOf(outlines);
    this.compare.overlay(OVERLAY, { name: null, side: "both", build: (className) => outlineLayer(source, ABOVE_ALL, className, this.colourOf) });
    this.start.hidden = true;
    this.said.textContent = `Version ${done.version}: ${outlines.features.length} outlines.`;
    const items = Object.entries(done.files).map(([kind, url]) => make("li", {}, make("a", { href: url, download: "" }, TITLES.get(kind) ?? kind)));
    this.files.replaceChildren(...items);
  }
}
