/** Uploads of a scene's files: buttons that choose files, a place to drop a product, how far it is, and a way to stop. */

import { find } from "../dom";
import { api } from "../page";
import { upload, type Progress } from "../upload";
import { listed, sortOut, wholes } from "./chosen";
import type { SceneForm } from "./form";

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Show how far an upload is, and how long it takes. */
function show(progress: Progress, started: number): void {
  find<HTMLProgressElement>("upload-bar").value = progress.sent / progress.total;
  const seconds = (performance.now() - started) / 1000;
  const left = progress.sent ? Math.ceil((seconds * (progress.total - progress.sent)) / progress.sent) : 0;
  const duration = left > 90 ? `about ${Math.ceil(left / 60)} min left` : `about ${left} s left`;
  find("upload-text").textContent =
    `${progress.file} (${progress.number} of ${progress.files}): ${megabytes(progress.sent)} of ${megabytes(progress.total)}` +
    (progress.sent ? `, ${duration}` : "");
}

/** Let people upload files, which are then named in the form. */
export function takeFiles(form: SceneForm): void {
  let stop: AbortController | null = null;
  const endings = (form.element.dataset["endings"] ?? "").split(" ");
  const fault = find("fault");
  const refuse = (reason: string): void => {
    fault.textContent = reason;
    fault.scrollIntoView({ block: "center" });
  };
  const buttons = (): HTMLButtonElement[] => [...document.querySelectorAll<HTMLButtonElement>("[data-choose]"), find("look")];

  async function send(chosen: File[], name: (paths: string[], folder: string) => void): Promise<void> {
    if (!chosen.length || stop) return;
    const { taken: files, leftOut } = sortOut(chosen, endings);
    if (!files.length) {
      return refuse(`found ${listed(leftOut)}; expected files with the endings ${endings.join(" ")}. Of a folder, choose the files in it.`);
    }
    const mine = (stop = new AbortController());
    const started = performance.now();
    fault.textContent = "";
    find("upload").hidden = find("upload-stop").hidden = false;
    find("upload-left-out").textContent = leftOut.length ? `Left out, as the server does not take their endings: ${listed(leftOut)}.` : "";
    find("upload").scrollIntoView({ block: "nearest" });
    for (const button of buttons()) button.disabled = true;
    form.note();
    try {
      const sent = await upload(api, files, (progress) => show(progress, started), mine.signal);
      form.offer(sent.paths);
      name(sent.paths, sent.folder);
      form.note();
      find<HTMLProgressElement>("upload-bar").value = 1;
      find("upload-text").textContent = `${files.length === 1 ? files[0]?.name : `${files.length} files`} uploaded.`;
    } catch (error) {
      find("upload-text").textContent = "";
      find("upload").hidden = true;
      if (!mine.signal.aborted) refuse(error instanceof Error ? error.message : String(error));
    } finally {
      stop = null;
      for (const button of buttons()) button.disabled = false;
      find("upload-stop").hidden = true;
    }
  }

  const nameIn = (field: HTMLInputElement, path: string): void => {
    field.value = path;
    form.outlines.forget(field);
  };
  /** Name a product: several files by their folder. */
  const nameProduct = (paths: string[], folder: string): void =>
    nameIn(find("path"), paths.length === 1 ? (paths[0] as string) : folder);
  /** Send the one file that a field names; a shapefile is several files. */
  const sendOne = async (files: File[], field: HTMLInputElement, kinds: string[]): Promise<void> => {
    const found = wholes(files.map((file) => file.name), kinds);
    if (found.length > 1 || (!found.length && files.length > 1)) {
      const chosen = found.length ? found : files.map((file) => file.name);
      return refuse(
        `found ${chosen.length} files, ${listed(chosen)}; expected one, or the parts of one shapefile. ` +
          "Outlines of several files have a row each: “Add outlines” under “More about the files”.",
      );
    }
    await send(files, (paths) => nameIn(field, wholes(paths, kinds)[0] ?? (paths[0] as string)));
  };
  const addBands = (paths: string[]): void => paths.forEach((path) => form.bands.add({ path }));

  form.element.addEventListener("click", ({ target }) => {
    const button = (target as HTMLElement).closest<HTMLElement>("[data-choose]");
    (button?.nextElementSibling as HTMLInputElement | null | undefined)?.click();
  });
  form.element.addEventListener("change", ({ target }) => {
    const input = target as HTMLInputElement;
    const of = input.dataset["filesOf"];
    if (of === undefined) return;
    const field = of ? find<HTMLInputElement>(of) : input.parentElement?.querySelector<HTMLInputElement>("[data-member]");
    if (!field) return;
    const files = [...(input.files ?? [])];
    const sent = of === "path" ? send(files, nameProduct) : of === "bands" ? send(files, addBands) : sendOne(files, field, input.accept.split(","));
    void sent.then(() => (input.value = ""));
  });
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-choose]")) button.disabled = false;
  find("upload-stop").addEventListener("click", () => stop?.abort());

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
    void send([...(event.dataTransfer?.files ?? [])], nameProduct);
  });
  window.addEventListener("beforeunload", (event) => {
    if (stop) event.preventDefault();
  });
}
