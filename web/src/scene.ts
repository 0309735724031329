/** The page that registers a scene: upload and describe it, show what was understood, map outlines to classes, register it. */

import "./dashboard/dashboard.css";
import type { Job } from "./api";
import { find, make } from "./dom";
import { api } from "./page";
import { upload, type Progress } from "./upload";

interface Outline {
  file: string;
  layer: string | null;
  class: string;
  class_field: string | null;
  class_values: string[];
  polygons: number;
  notes: string[];
}

interface Summary {
  name: string;
  kind: string;
  sensor: string | null;
  acquired: string | null;
  crs: string;
  width: number;
  height: number;
  pixel_size_m: [number, number];
  bands: { name: string }[];
  channels: string[];
  pixels: { usable: number; no_data: number };
  cloud_share: number | null;
  outlines: Outline[];
  classes: { class: string; polygons: number; area_km2: number }[];
  prior_outlines: { date: string | null; outlines: Outline[]; classes: Summary["classes"] } | null;
  notes: string[];
  left_out: { file: string; reason: string }[];
}

type Request = Record<string, unknown>;

/** What a person chose for values of a field of the outlines; empty: all is as the server recognised it. */
let chosen: Record<string, string> = {};
/** What the server recognised: one item for each class of a layer. */
let recognised: Outline[] = [];

const classes = [...find<HTMLSelectElement>("class").options].map((option) => option.value).filter(Boolean);
const value = (id: string): string => find<HTMLInputElement | HTMLSelectElement>(id).value.trim();
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

function request(): Request {
  const asked: Request = { path: value("path"), role: value("role") };
  if (value("name")) asked["name"] = value("name");
  if (value("outlines")) {
    const outline: Request = { path: value("outlines") };
    if (value("layer")) outline["layer"] = value("layer");
    if (value("class")) outline["class"] = value("class");
    const changed = !value("class") && Object.keys(chosen).length > 0;
    asked[find<HTMLInputElement>("prior").checked ? "prior_outlines" : "outlines"] = changed ? byLayer() : [outline];
  }
  if (value("dem")) asked["dem"] = [{ path: value("dem") }];
  return asked;
}

/** Ask for each layer with the classes of its own values, as a person changed them. */
function byLayer(): Request[] {
  return [...new Set(recognised.map((item) => item.layer))].map((layer) => {
    const items = recognised.filter((item) => item.layer === layer);
    const told = items.filter((item) => item.class_field !== null);
    const classes = told.flatMap((item) => item.class_values.map((text) => [text, chosen[text] ?? item.class]));
    const how = told[0] ? { class_field: told[0].class_field, classes: Object.fromEntries(classes) } : { class: items[0]?.class };
    return { path: value("outlines"), layer, ...how };
  });
}

function fact(term: string, description: string | Node): Node[] {
  return [make("dt", {}, term), make("dd", {}, description)];
}

/** Rows in which a person chooses the class of each value that the outlines' field has. */
function mapping(outlines: Outline[]): Node[] {
  recognised = outlines;
  const told = outlines.filter((outline) => outline.class_field !== null);
  const values = told.flatMap((outline) => outline.class_values.map((text) => ({ text, field: outline.class_field, of: outline.class })));
  return values.map(({ text, field, of }, index) => {
    const id = `value-${index}`;
    const select = make(
      "select",
      { id, onchange: () => ((chosen[text] = select.value), void look()) },
      ...[...new Set([...classes, of])].map((name) => make("option", { selected: name === (chosen[text] ?? of) }, name)),
    );
    return make("div", {}, make("label", { for: id }, `${field}: “${text}” is`), select);
  });
}

/** Show what the server understood of a request, which is the one that is registered then. */
function show(summary: Summary, asked: Request): void {
  const outlines = summary.prior_outlines?.outlines ?? summary.outlines;
  const areas = summary.prior_outlines?.classes ?? summary.classes;
  const register = make("button", { type: "button", class: "act main", onclick: () => void store(register, asked) }, `Register ${summary.name}`);
  const notes = [...summary.notes, ...outlines.flatMap((outline) => outline.notes)];
  find("summary").replaceChildren(
    make("h2", {}, "What was understood"),
    make(
      "dl",
      { class: "facts" },
      ...fact("name", summary.name),
      ...fact("product", summary.kind),
      ...fact("taken", `${summary.acquired ?? "unknown"}${summary.sensor ? `, ${summary.sensor}` : ""}`),
      ...fact("size", `${summary.width} × ${summary.height} px of ${summary.pixel_size_m[0].toFixed(0)} m, ${summary.crs}`),
      ...fact("channels", summary.channels.join(", ")),
      ...fact("usable", percent(summary.pixels.usable) + (summary.cloud_share === null ? "" : `, cloud ${percent(summary.cloud_share)}`)),
      ...areas.flatMap((area) => fact(area.class, `${area.polygons} polygons, ${area.area_km2.toFixed(1)} km²`)),
    ),
    ...mapping(outlines),
    ...(notes.length ? [make("h3", {}, "Read this first"), make("ul", {}, ...notes.map((note) => make("li", {}, note)))] : []),
    ...(summary.left_out.length
      ? [
          make(
            "details",
            {},
            make("summary", {}, `${summary.left_out.length} files are not used`),
            make("ul", {}, ...summary.left_out.map((left) => make("li", {}, `${left.file}: ${left.reason}`))),
          ),
        ]
      : []),
    make("p", { class: "buttons" }, register),
  );
  find("summary").hidden = false;
}

/** Say that a job reads from another machine, which takes longer than a reader expects. */
function progress(job: Job): void {
  find("progress").textContent = job.state === "queued" || job.state === "running" ? "The server reads from another machine; this may take minutes." : "";
}

async function attempt(button: HTMLButtonElement, work: () => Promise<void>): Promise<void> {
  const fault = find("fault");
  fault.textContent = "";
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    fault.textContent = error instanceof Error ? error.message : String(error);
    fault.scrollIntoView({ block: "center" });
  } finally {
    button.disabled = false;
    find("progress").textContent = "";
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Show how far an upload is, and how long it takes. */
function uploading(progress: Progress, started: number): void {
  find<HTMLProgressElement>("upload-bar").value = progress.sent / progress.total;
  const seconds = (performance.now() - started) / 1000;
  const left = progress.sent ? Math.ceil((seconds * (progress.total - progress.sent)) / progress.sent) : 0;
  const duration = left > 90 ? `about ${Math.ceil(left / 60)} min left` : `about ${left} s left`;
  find("upload-text").textContent =
    `${progress.file} (${progress.number} of ${progress.files}): ${megabytes(progress.sent)} of ${megabytes(progress.total)}` +
    (progress.sent ? `, ${duration}` : "");
}

let stopUpload: AbortController | null = null;

/** Upload files of this computer, and name them in a field of the form. */
async function send(target: string, files: File[]): Promise<void> {
  if (!files.length || stopUpload) return;
  const stop = (stopUpload = new AbortController());
  const started = performance.now();
  const fault = find("fault");
  const looked = find<HTMLButtonElement>("look");
  fault.textContent = "";
  find("summary").hidden = true;
  find("upload").hidden = find("upload-stop").hidden = false;
  looked.disabled = true;
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-choose]")) button.disabled = true;
  try {
    const sent = await upload(api, files, (progress) => uploading(progress, started), stop.signal);
    // A shapefile is several files and named by one of them; a product of several files by its folder.
    const shape = sent.paths.find((path) => path.toLowerCase().endsWith(".shp"));
    const one = shape ?? (sent.paths.length === 1 || target !== "path" ? sent.paths[0] : undefined);
    find<HTMLInputElement>(target).value = one ?? sent.folder;
    if (target === "outlines") chosen = {};
    find<HTMLProgressElement>("upload-bar").value = 1;
    find("upload-text").textContent = `${files.length === 1 ? files[0]?.name : `${files.length} files`} uploaded.`;
  } catch (error) {
    find("upload-text").textContent = "";
    find("upload").hidden = true;
    if (!stop.signal.aborted) fault.textContent = error instanceof Error ? error.message : String(error);
  } finally {
    stopUpload = null;
    looked.disabled = false;
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-choose]")) button.disabled = false;
    find("upload-stop").hidden = true;
  }
}

async function look(): Promise<void> {
  find("summary").hidden = true;
  await attempt(find<HTMLButtonElement>("look"), async () => {
    const asked = request();
    const summary = await api.describeScene<Summary>(asked, progress);
    // The form may have changed while the server was looking, which may take minutes.
    if (JSON.stringify(request()) === JSON.stringify(asked)) show(summary, asked);
    else throw new Error("The form was changed while the server looked at the scene: press Look at it again.");
  });
}

async function store(button: HTMLButtonElement, asked: Request): Promise<void> {
  await attempt(button, async () => {
    await api.registerScene(asked, progress);
    location.assign("/#scenes");
  });
}

find("scene").addEventListener("submit", (event) => {
  event.preventDefault();
  void look();
});
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-choose]")) {
  const target = button.dataset["choose"] ?? "path";
  const input = document.querySelector<HTMLInputElement>(`[data-files-of="${target}"]`);
  button.addEventListener("click", () => input?.click());
  button.disabled = false;
  input?.addEventListener("change", () => void send(target, [...(input.files ?? [])]).then(() => (input.value = "")));
}
find("upload-stop").addEventListener("click", () => stopUpload?.abort());

const drop = find("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  void send("path", [...(event.dataTransfer?.files ?? [])]);
});
window.addEventListener("beforeunload", (event) => {
  if (stopUpload) event.preventDefault();
});
// What was shown no longer holds once the form has changed.
find("scene").addEventListener("input", (event) => {
  if ((event.target as HTMLElement).id === "outlines" || (event.target as HTMLElement).id === "class") chosen = {};
  find("summary").hidden = true;
});
