/** The section of the panel that takes away what is in view, or a whole scene: files, a link, a figure. */

import type { Api, Job, PredictionFile } from "../api";
import { make, tell } from "../dom";
import * as link from "./link";
import type { MapPage } from "./page";
import { boxInView } from "./places";

/** The files of a prediction, with what people read. */
export const FILES: [PredictionFile, string][] = [
  ["gpkg", "Outlines, GeoPackage"],
  ["geojson", "Outlines, GeoJSON"],
  ["shp.zip", "Outlines, shapefile (zipped)"],
  ["tif", "Class map, GeoTIFF (COG)"],
  ["confidence.tif", "Confidence, GeoTIFF (COG)"],
  ["areas.json", "Areas, JSON"],
  ["glims.zip", "Package for GLIMS and RGI"],
];

export class TakeAway {
  readonly element: HTMLElement;
  private readonly file = make("select", { id: "take-file" }, ...FILES.map(([file, title]) => make("option", { value: file }, title)));
  private readonly whole = make("input", { type: "checkbox", id: "take-whole" });
  private readonly download: HTMLButtonElement;
  private readonly said = make("p", { class: "soft", role: "status" });
  private readonly address = make("input", { type: "text", readonly: true, hidden: true, "aria-label": "Link to this view" });

  constructor(
    private readonly api: Api,
    private readonly page: MapPage,
  ) {
    const button = (title: string, act: () => void): HTMLButtonElement => make("button", { type: "button", onclick: act }, title);
    this.download = button("Download", () => void this.save());
    this.element = make(
      "section", { class: "take", "aria-labelledby": "take-title" },
      make("h2", { id: "take-title" }, "Take away"),
      make("label", { for: "take-file" }, "File"), this.file,
      make("div", { class: "layer" }, this.whole, make("label", { for: "take-whole" }, "The whole scene")),
      make("div", { class: "modes" }, this.download),
      make(
        "div", { class: "modes" },
        button("Layers for QGIS", () => void this.saveForQgis("layers.qlr")),
        button("Model for QGIS", () => void this.saveForQgis("deepness.onnx")),
      ),
      make("div", { class: "modes" }, button("Copy link", () => void this.copyLink()), button("Figure…", () => void this.figure())),
      this.address, this.said,
    );
  }

  /** Save a file of the scene and version that show (of two versions, the one on the left). */
  private async save(): Promise<void> {
    const { ground } = this.page;
    if (!ground) return;
    const { scene, map, version } = ground;
    const box = this.whole.checked ? null : boxInView(this.page.olMap, map);
    if (!this.whole.checked && box === null) return this.say("Nothing of the scene is in view.");
    const file = this.file.value as PredictionFile;
    this.download.disabled = true;
    const fetched = this.api.prediction(scene.id, version, file, box, (job) => this.say(progressOf(job)));
    try {
      if (await this.saved(fetched, `${scene.name}.${file}`)) await this.page.lookForMaps();
    } catch (error) {
      tell((error as Error).message, "fault");
    } finally {
      this.download.disabled = false;
    }
  }

  /** Save what QGIS opens for the scene that shows: its layers by the version that shows, or the served one for Deepness. */
  private async saveForQgis(file: "layers.qlr" | "deepness.onnx"): Promise<void> {
    const { ground } = this.page;
    if (!ground) return;
    const { scene: { id, name }, version } = ground;
    const query = file === "layers.qlr" && version !== null ? `?version=${version}` : "";
    await this.saved(this.api.request("GET", `/api/v1/scenes/${id}/qgis/${file}${query}`), `${name}.${file}`);
  }

  /** Save a file that is being fetched, under the name that the server gives it; tell what went wrong, and whether it was saved. */
  private async saved(fetched: Promise<Response>, otherwise: string): Promise<boolean> {
    this.say("Fetching the file…");
    try {
      const response = await fetched;
      const name = /filename="(.+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? otherwise;
      saveAs(await response.blob(), name);
      this.say(`Saved ${name}.`);
      return true;
    } catch (error) {
      this.say("");
      tell((error as Error).message, "fault");
      return false;
    }
  }

  /** Copy the address of what shows; it names the version, which may no longer be served when the link is followed. */
  private async copyLink(): Promise<void> {
    const address = `${location.origin}${location.pathname}${link.write({ ...this.page.layout, version: this.page.version })}`;
    try {
      await navigator.clipboard.writeText(address);
      this.say("The link is copied: it restores this view.");
    } catch { // only pages by https, or of this machine, may write to the clipboard
      this.address.value = address;
      this.address.hidden = false;
      this.address.select();
      this.say("Copy the link above: it restores this view.");
    }
  }

  private async figure(): Promise<void> {
    try {
      const { showFigure } = await import("./figure/dialog");
      await showFigure(this.api, this.page);
    } catch (error) {
      tell((error as Error).message, "fault");
    }
  }

  private say(text: string): void {
    this.said.textContent = text;
  }
}

/** Hand a file to the reader. */
export function saveAs(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be reading it
}

function progressOf(job: Job): string {
  const share = job.progress === null ? "" : ` (${Math.round(100 * job.progress)} %)`;
  return `It has to be made first: ${job.message ?? "waiting"}${share}`;
}
