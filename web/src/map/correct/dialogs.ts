/** What the editor asks and explains: the summary before a submission, and the keys. */

import { make, tell } from "../../dom";
import type { ClassChoice } from "./editor";
import { NOT_JUDGED } from "./grid";
import { submit } from "./server";
import type { Session } from "./session";
import { OTHER_KEYS, TOOLS } from "./tools";

/** Show what changed and submit it; return whether it was submitted. An error leaves the draft as it is. */
export function confirmSubmission(session: Session, choices: readonly ClassChoice[]): Promise<boolean> {
  const { grid, began } = session;
  const [now, before] = [grid.counts(), began.counts()];
  const changed = grid.values.reduce((sum, value, pixel) => sum + Number(value !== began.values[pixel]), 0);
  const judged = grid.values.length - (now.get(NOT_JUDGED) ?? 0);
  const rows = choices.map(({ value, name }) => {
    const [pixels, earlier] = [now.get(value) ?? 0, before.get(value) ?? 0];
    const difference = pixels - earlier;
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, text(pixels)), make("td", {}, difference > 0 ? `+${text(difference)}` : text(difference)));
  });
  return new Promise((resolve) => {
    const only = make("input", { type: "checkbox", id: "only-changed", disabled: changed === 0 });
    const send = make("button", { type: "button", class: "main", disabled: judged === 0 }, "Submit");
    const back = make("button", { type: "button", onclick: () => dialog.close() }, "Back");
    const dialog: HTMLDialogElement = open(
      "Submit this correction?",
      make("p", {}, `${text(changed)} pixels changed. All ${text(judged)} judged pixels of the window become a label, the unchanged ones too.`),
      make("p", {}, only, " ", make("label", { for: only.id }, "I only looked at what I changed: leave the rest as not judged")),
      make("table", {}, make("thead", {}, make("tr", {}, ...["Class", "Pixels", "Change"].map((title) => make("th", { scope: "col" }, title)))), make("tbody", {}, ...rows)),
      make("div", { class: "steps" }, send, back),
    );
    let [sending, sent] = [false, false];
    dialog.addEventListener("close", () => resolve(sent));
    dialog.addEventListener("cancel", (event) => sending && event.preventDefault());
    dialog.addEventListener("keydown", (event) => sending && event.key === "Escape" && event.preventDefault());
    send.addEventListener("click", () => {
      [sending, send.disabled, back.disabled, only.disabled] = [true, true, true, true];
      session.keep();
      submit(session, only.checked)
        .then(({ label_events }) => {
          sent = true;
          tell(`Submitted: a label for ${label_events.length} ${label_events.length === 1 ? "patch" : "patches"}.`);
          dialog.close();
        })
        .catch((error: Error) => {
          tell(`${error.message.replace(/\.?$/, ".")} The draft is kept.`, "fault");
          dialog.close();
        });
    });
  });
}

/** Ask whether a draft may be thrown away. */
export function confirmDiscard(): Promise<boolean> {
  return new Promise((resolve) => {
    let sure = false;
    const dialog = open(
      "Discard this correction?",
      make("p", {}, "What you drew is lost. “Later” keeps it as a draft."),
      make(
        "div", { class: "steps" },
        make("button", { type: "button", class: "main", onclick: () => { sure = true; dialog.close(); } }, "Discard it"),
        make("button", { type: "button", onclick: () => dialog.close() }, "Back"),
      ),
    );
    dialog.addEventListener("close", () => resolve(sure));
  });
}

export function showKeys(): void {
  const keys = [...TOOLS.map(({ key, title }) => [key, title] as const), ...OTHER_KEYS];
  const dialog: HTMLDialogElement = open(
    "Keys",
    make("table", { class: "keys" }, make("tbody", {}, ...keys.map(([key, title]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, title))))),
    make("div", { class: "steps" }, make("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close")),
  );
}

function open(title: string, ...children: Node[]): HTMLDialogElement {
  const dialog = make("dialog", { "aria-labelledby": "dialog-title" }, make("h2", { id: "dialog-title" }, title), ...children);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
  return dialog;
}

function text(count: number): string {
  return count.toLocaleString("en");
}
