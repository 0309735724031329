/** The page of settings: find one, change it by the API, and show what the server says of it then. */

import "./dashboard/dashboard.css";
import "./settings.css";
import { ProblemError } from "./api";
import { find, make, tell } from "./dom";
import { api } from "./page";

type Value = boolean | number | string | string[] | null;

/** What a person edits: elements to show, and a way to read the value. */
interface Editor {
  shown: HTMLElement;
  field: HTMLElement;
  read: () => Value;
}

const NOT_SET = "not set (null)";

function select(id: string, choices: readonly (readonly [string, string])[], chosen: string): HTMLSelectElement {
  return make("select", { id }, ...choices.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
}

/** Make the field for a setting; an empty one means that it is not set, where that is possible. */
function editor(setting: HTMLElement): Editor {
  const { kind, value, choices } = setting.dataset;
  const current = JSON.parse(value ?? "null") as Value;
  const words = JSON.parse(choices ?? "[]") as string[];
  const id = `${setting.id}-value`;
  if (kind === "list") {
    const boxes = words.map((word) => make("input", { type: "checkbox", value: word, checked: Array.isArray(current) && current.includes(word) }));
    const first = boxes[0] ?? make("input", { type: "checkbox" });
    const labels = boxes.map((box) => make("label", {}, box, ` ${box.value}`));
    const shown = make("fieldset", {}, make("legend", {}, "New value"), ...labels);
    return { shown, field: first, read: () => boxes.filter((box) => box.checked).map((box) => box.value) };
  }
  const label = make("label", { for: id }, "New value");
  const wrapped = (field: HTMLElement, read: () => Value): Editor => ({ shown: make("div", { class: "field" }, label, field), field, read });
  if (kind === "boolean") {
    const field = select(id, [["true", "on"], ["false", "off"]], String(current));
    return wrapped(field, () => field.value === "true");
  }
  const isOptional = "optional" in setting.dataset;
  if (words.length) {
    const open: [string, string][] = isOptional ? [["", NOT_SET]] : [];
    const field = select(id, [...open, ...words.map((word) => [word, word] as const)], typeof current === "string" ? current : "");
    return wrapped(field, () => field.value || null);
  }
  const field = make("input", {
    id,
    value: current === null ? "" : String(current),
    autocomplete: "off",
    inputmode: kind === "number" ? "decimal" : "text",
    placeholder: isOptional ? NOT_SET : "",
  });
  return wrapped(field, () => {
    const text = field.value.trim();
    if (!text && isOptional) return null;
    const figure = Number(text);
    return kind === "number" && text && !Number.isNaN(figure) ? figure : text; // the server says what is wrong with others
  });
}

/** Show a setting, and the record of changes, as the server shows them now. */
async function showAgain(name: string): Promise<void> {
  const text = await (await fetch("/settings", { headers: { Accept: "text/html" } })).text();
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const id of [name, "changes"]) {
    const now = page.getElementById(id);
    if (now) find(id).replaceWith(document.adoptNode(now));
  }
}

async function change(setting: HTMLElement, value: Value): Promise<void> {
  await api.request("PATCH", "/api/v1/settings", { settings: { [setting.id]: value } });
  await showAgain(setting.id);
  find(setting.id).querySelector<HTMLElement>("[data-does=edit]")?.focus();
  tell(`${find(setting.id).querySelector("h3")?.firstChild?.textContent?.trim() ?? setting.id}: saved.`);
}

function said(error: unknown): string {
  return error instanceof ProblemError || error instanceof Error ? error.message : String(error);
}

function edit(setting: HTMLElement): void {
  const { shown, field, read } = editor(setting);
  const fault = make("p", { class: "fault", role: "alert", id: `${setting.id}-fault` });
  const save = make("button", { class: "act main" }, "Save");
  const form = make("form", { novalidate: true }, shown, save, make("button", { type: "button", class: "act", onclick: close }, "Cancel"), fault);
  const actions = setting.querySelector<HTMLElement>(".do");
  function close(): void {
    form.remove();
    if (actions) actions.hidden = false;
    actions?.querySelector("button")?.focus();
  }
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save.disabled = true;
    change(setting, read())
      .catch((error: unknown) => {
        fault.textContent = said(error);
        field.setAttribute("aria-invalid", "true");
        field.setAttribute("aria-describedby", fault.id);
        field.focus();
      })
      .finally(() => (save.disabled = false));
  });
  if (actions) actions.hidden = true;
  setting.append(form);
  field.focus();
}

document.querySelector(".settings")?.addEventListener("click", (event) => {
  const button = (event.target as HTMLElement).closest<HTMLButtonElement>("button[data-does]");
  const setting = button?.closest<HTMLElement>(".setting");
  if (!button || !setting) return;
  if (button.dataset["does"] === "edit") edit(setting);
  else {
    button.disabled = true;
    change(setting, null).catch((error: unknown) => {
      button.disabled = false;
      tell(said(error), "fault");
    });
  }
});

const search = find<HTMLInputElement>("find");
function filter(): void {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const group of document.querySelectorAll<HTMLElement>("[data-group]")) {
    let some = false;
    for (const setting of group.querySelectorAll<HTMLElement>(".setting")) {
      const text = (setting.textContent ?? "").toLowerCase();
      setting.hidden = !words.every((word) => text.includes(word));
      some ||= !setting.hidden;
      count += Number(!setting.hidden);
    }
    group.hidden = !some;
  }
  find("found").textContent = words.length ? `${count} found` : "";
}
search.addEventListener("input", filter);
find("find-row").hidden = false;
