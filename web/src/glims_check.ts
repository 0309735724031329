/** The form that has a package for GLIMS checked: a zip is sent, and what was found is shown below. */

import { send } from "./actions";
import { find, make } from "./dom";
import { api } from "./page";

interface Check {
  fit: boolean;
  findings: { severity: "error" | "warning"; layer: string; feature: number | null; message: string }[];
}

/** Let the form work, if the page has it. */
export function checkPackages(): void {
  const dialog = document.getElementById("check");
  if (!(dialog instanceof HTMLDialogElement)) return;
  const file = find<HTMLInputElement>("check-file");
  const found = find("check-found");
  file.onchange = () => found.replaceChildren();
  dialog.onreset = () => found.replaceChildren();
  dialog.onsubmit = (event) => {
    event.preventDefault();
    found.replaceChildren(make("p", { class: "soft" }, "It is sent and checked…"));
    const sent = file.files?.[0];
    const show = (...shown: HTMLElement[]): void => { // not beside another file that was chosen meanwhile
      if (file.files?.[0] === sent) found.replaceChildren(...shown);
    };
    send(dialog, async () => {
      try {
        const content = new Blob([...(file.files ?? [])], { type: "application/zip" });
        const response = await api.request("POST", "/api/v1/glims-checks", content);
        show(...describe((await response.json()) as Check));
      } catch (error) {
        show();
        throw error;
      }
      return false;
    });
  };
}

function describe({ fit, findings }: Check): HTMLElement[] {
  const end = findings.length ? ", with these warnings." : ".";
  const verdict = fit ? `It keeps GLIMS's published requirements${end}` : "It is not fit for GLIMS yet.";
  const told = make("p", { class: fit ? "" : "bad" }, verdict);
  if (!findings.length) return [told];
  const rows = findings.map(({ severity, layer, feature, message }) =>
    make("tr", {}, make("td", { class: severity === "error" ? "bad" : "" }, severity), make("td", {}, layer),
      make("td", { class: "n" }, feature === null ? "–" : String(feature)), make("td", {}, message)));
  const head = make("tr", {}, ...["what", "layer", "first feature", "found and expected"].map((name) => make("th", {}, name)));
  const table = make("table", { class: "few" }, head, ...rows);
  return [told, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Findings" }, table)];
}
