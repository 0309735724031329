/** The section of the panel that takes labels drawn in a GIS: what was recognised shows before anything is used. */

import type { Api } from "../api";
import { make, tell } from "../dom";
import type { Ground } from "./page";

interface Layer {
  name: string;
  crs: string;
  features: Record<string, number>;
  notes: string[];
}

/** What the server recognised in a file, and what became of it. */
interface Recognised {
  layers: Layer[];
  row_off: number;
  col_off: number;
  height: number;
  width: number;
  classes_px: Record<string, number>;
  judged_px: number;
  edited_px: number;
  label_events: number[];
  sent_before: boolean;
}

export class SendBack {
  readonly element: HTMLElement;
  private readonly file = make("input", { type: "file", id: "labels-file", accept: ".gpkg,.zip", onchange: () => this.forget() });
  private readonly minutes = make("input", { type: "number", id: "labels-minutes", min: 0, step: "any" });
  private readonly edited = make("input", { type: "checkbox", id: "labels-edited", checked: true, onchange: () => this.forget() });
  private readonly editedWhat = make("label", { for: "labels-edited" });
  private readonly look: HTMLButtonElement;
  private readonly said = make("div", { class: "recognised", role: "status" });
  private version: number | null = null;
  private scene: number | null = null;

  constructor(private readonly api: Api) {
    this.look = make("button", { type: "button", onclick: () => void this.recognise() }, "What is in it?");
    this.element = make(
      "section", { class: "take", "aria-labelledby": "labels-title" },
      make(
        "details", {},
        make("summary", {}, make("h2", { id: "labels-title" }, "Labels from QGIS")),
        make("p", { class: "soft" }, "A GeoPackage of polygons with a field “class”, or a zip archive. A layer “judged” says which area was looked at."),
        make("label", { for: "labels-file" }, "File"), this.file,
        make("div", { class: "layer" }, this.edited, this.editedWhat),
        make("label", { for: "labels-minutes" }, "Minutes of work, if you know"), this.minutes,
        make("div", { class: "modes" }, this.look),
        this.said,
      ),
    );
  }

  /** Follow the map: labels are for the scene that it shows, and which prediction was edited is the version that it shows. */
  show({ scene, version }: Ground): void {
    if (version !== this.version || scene.id !== this.scene) this.forget();
    this.version = version;
    this.scene = scene.id;
    this.editedWhat.textContent = `Edited from the outlines of version ${version}`;
    (this.edited.parentElement as HTMLElement).hidden = version === null;
  }

  private forget(): void {
    this.said.replaceChildren();
  }

  private async recognise(): Promise<void> {
    const file = this.file.files?.[0];
    if (!file) return this.said.replaceChildren(make("p", {}, "Choose a file first."));
    await this.ask(file, true, (found) => {
      const send = make("button", { type: "button", class: "act main", onclick: () => void this.send(file) }, "Send as labels");
      this.said.replaceChildren(...summary(found), make("div", { class: "modes" }, send));
    });
  }

  private async send(file: File): Promise<void> {
    await this.ask(file, false, (found) => {
      this.minutes.value = "";
      this.said.replaceChildren(make("p", {}, outcomeOf(found)));
    });
  }

  private async ask(file: File, dryRun: boolean, then: (found: Recognised) => void): Promise<void> {
    const { scene } = this;
    if (scene === null) return;
    const query = new URLSearchParams({ dry_run: String(dryRun) });
    if (this.version !== null && this.edited.checked) query.set("version", String(this.version));
    if (this.minutes.value) query.set("seconds", String(60 * Number(this.minutes.value)));
    this.look.disabled = true;
    for (const button of this.said.querySelectorAll("button")) button.disabled = true;
    try {
      const type = file.name.toLowerCase().endsWith(".zip") ? "application/zip" : "application/geopackage+sqlite3";
      const content = file.slice(0, file.size, type); // browsers know no type of GeoPackages
      const response = await this.api.request("POST", `/api/v1/scenes/${scene}/labels?${query}`, content);
      const found = (await response.json()) as Recognised;
      if (scene === this.scene) then(found);
      else if (!dryRun) tell(`For the scene that showed before: ${outcomeOf(found)}`);
    } catch (error) {
      const why = (error as Error).message;
      if (scene === this.scene) this.said.replaceChildren(make("p", { class: "bad", role: "alert" }, why));
      else if (!dryRun) tell(`For the scene that showed before: ${why}`, "fault");
    } finally {
      this.look.disabled = false;
    }
  }
}

function outcomeOf(found: Recognised): string {
  return found.sent_before
    ? "This very file was sent before: nothing is taken in again. Save it anew to send the same once more."
    : `Labels of ${found.label_events.length} patches are taken in now; then they show on the layer Labels.`;
}

function summary(found: Recognised): HTMLElement[] {
  const rows = Object.entries(found.classes_px).filter(([, pixels]) => pixels > 0);
  const named = ({ name, crs, features }: Layer): string =>
    `${name}: ${Object.entries(features).map(([what, count]) => (what === name ? `${count}` : `${count} of ${what}`)).join(", ") || "nothing"} (${crs})`;
  return [
    make("ul", {}, ...found.layers.flatMap((layer) => [named(layer), ...layer.notes]).map((text) => make("li", {}, text))),
    make(
      "table", { class: "areas" },
      make("tbody", {}, ...rows.map(([name, pixels]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "n" }, `${pixels} px`)))),
    ),
    make(
      "p", { class: "soft" },
      `${found.judged_px} pixels are judged, ${found.edited_px} of them changed, in ${found.width} × ${found.height} pixels ` +
        `from row ${found.row_off}, column ${found.col_off}.`,
    ),
  ];
}
