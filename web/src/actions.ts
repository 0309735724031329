/**
 * Buttons and dialogs that call the API; what they call stands in their attributes.
 *
 * A button with `data-call` asks before it calls; one with `data-opens` opens the dialog of this id, whose form calls what
 * its own `data-call` names, or the button's `data-target`. The button's `data-subject` is told in the dialog, and its
 * `data-values` fill the fields. A form with `data-preview` is sent as a dry run first, and shows what would happen.
 */

import { accountInLabelStudio, newPassword } from "./accounts";
import { find, make, tell } from "./dom";
import { api } from "./page";
import { showOnce } from "./shown_once";

type Body = Record<string, unknown>;

/** Returns what to tell of the answer to a dry run, line by line. */
export type Preview = (answer: Body) => string[];

/** Send what an attribute names, a method and a path; forms have a body, also if all their fields are empty. */
function request(what: string, body?: Body | FormData): Promise<Response> {
  const [method = "POST", path = ""] = what.split(" ");
  return api.request(method, path, method === "DELETE" ? undefined : body);
}

async function call(what: string, body?: Body | FormData): Promise<Body> {
  const response = await request(what, body);
  // 202: the server carries it out in a moment, and the page hears of it as of any change.
  tell(response.status === 202 ? "Accepted: it is carried out now." : "Done.");
  return response.status === 204 ? {} : ((await response.json()) as Body);
}

/** Dialogs whose last submission failed, with what it was about. */
const failed = new WeakMap<HTMLDialogElement, string>();

/** How often each dialog was opened: an answer that comes after it was closed is not for what it is opened for since. */
const openings = new WeakMap<HTMLDialogElement, number>();

/**
 * Send a dialog's form: show what the server refuses, and keep what was written. It closes unless `work` returns false.
 *
 * @param work - is told how to know whether the dialog is still the one that was sent, and was not opened anew since.
 * @param about - what is sent: what was written is kept for as long as the dialog is opened for the same again.
 */
export function send(dialog: HTMLDialogElement, work: (isSame: () => boolean) => Promise<boolean>, about = ""): void {
  const fault = dialog.querySelector<HTMLElement>(".fault");
  const button = dialog.querySelector<HTMLButtonElement>(".main");
  if (fault) fault.textContent = "";
  if (button) button.disabled = true;
  failed.delete(dialog);
  const opening = openings.get(dialog);
  const isSame = (): boolean => openings.get(dialog) === opening;
  work(isSame)
    .then((ended) => ended && isSame() && dialog.close())
    .catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      if (!isSame() || !dialog.open) tell(message, "fault");
      if (!isSame()) return;
      failed.set(dialog, about);
      if (fault) fault.textContent = message;
    })
    .finally(() => {
      if (button && isSame()) button.disabled = false;
    });
}

/** Set a dialog's form as its page has it, unless what was written in it could not be sent; return whether it is set anew. */
function beginAnew(dialog: HTMLDialogElement, about = ""): boolean {
  openings.set(dialog, (openings.get(dialog) ?? 0) + 1);
  const main = dialog.querySelector<HTMLButtonElement>(".main");
  if (main) main.disabled = false;
  if (failed.get(dialog) === about) return false;
  failed.delete(dialog);
  const fault = dialog.querySelector<HTMLElement>(".fault");
  if (fault) fault.textContent = "";
  dialog.querySelector("form")?.reset();
  return true;
}

/** Ask before a button's call: a person confirms it, and writes why where the call wants to know. */
function confirm(button: HTMLElement, done: () => void): void {
  const { call: what = "", title = "", ask = "", hint = "", body = "{}" } = button.dataset;
  const dialog = find<HTMLDialogElement>("confirm");
  const text = find<HTMLTextAreaElement>("confirm-text");
  const label = find("confirm-label");
  const about = `${what} ${body}`;
  beginAnew(dialog, about);
  find("confirm-title").textContent = title;
  find("confirm-hint").textContent = hint;
  find("confirm-yes").textContent = button.textContent?.replace("…", "") ?? "Yes";
  label.textContent = ask ? `${ask === "note" ? "What you found" : "Reason"} (kept with your name)` : "";
  text.hidden = label.hidden = !ask;
  text.required = Boolean(ask);
  const form = dialog.querySelector("form");
  if (form)
    form.onsubmit = (event) => {
      event.preventDefault();
      send(dialog, async () => {
        const sent = { ...(JSON.parse(body) as Body), ...(ask ? { [ask]: text.value.trim() } : {}) };
        await call(what, Object.keys(sent).length ? sent : undefined);
        done();
        return true;
      }, about);
    };
  show(dialog, button);
}

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

function fieldsOf(form: HTMLFormElement): Field[] {
  const kinds = [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement];
  return [...form.elements].filter((item): item is Field => kinds.some((kind) => item instanceof kind) && Boolean((item as Field).name));
}

/**
 * Return the members of a form. What is empty is left out, or null if its field has `data-null`; times are of UTC.
 * Boxes with `data-list` and one name are a list of the values that are checked; a field with `data-lines` is a list of its
 * lines, and one with `data-of` a member of the object of this name.
 */
function members(form: HTMLFormElement): Body {
  const body: Body = {};
  for (const box of form.querySelectorAll<HTMLInputElement>("input[data-list]")) body[box.name] = []; // also if none is checked
  for (const field of fieldsOf(form)) {
    const { name, value, type } = field;
    if (field instanceof HTMLInputElement && type === "checkbox") {
      if (!("list" in field.dataset)) body[name] = field.checked;
      else if (field.checked) body[name] = [...((body[name] as string[] | undefined) ?? []), value];
    } else if ("lines" in field.dataset) body[name] = value.split("\n").map((line) => line.trim()).filter(Boolean);
    else if (field.dataset["of"]) {
      if (value) body[field.dataset["of"]] = { ...(body[field.dataset["of"]] as Body | undefined), [name]: value };
    } else if (value.trim()) body[name] = type === "number" || "number" in field.dataset ? Number(value) : type === "datetime-local" ? `${value}Z` : value;
    else if ("null" in field.dataset) body[name] = null;
  }
  return body;
}

/** Return the body of a form: its members, or, if files are chosen in fields with `data-part`, these beside them as `options`. */
function bodyOf(form: HTMLFormElement): Body | FormData {
  const chosen = [...form.querySelectorAll<HTMLInputElement>("input[data-part]")].filter((field) => field.files?.length);
  if (!chosen.length) return members(form);
  const parts = new FormData();
  parts.append("options", JSON.stringify(members(form)));
  for (const field of chosen) for (const file of field.files ?? []) parts.append(field.dataset["part"] ?? "", file);
  return parts;
}

/** Show a dialog; once it is closed, its button has the focus again, also if its section was replaced meanwhile. */
function show(dialog: HTMLDialogElement, button: HTMLElement): void {
  dialog.onclose = () => {
    if (!button.isConnected && button.id) document.getElementById(button.id)?.focus({ preventScroll: true });
  };
  dialog.showModal();
}

/** Set the fields that a button names to its values, and tell its subject. */
function fill(form: HTMLFormElement, button: HTMLElement): void {
  const values = JSON.parse(button.dataset["values"] ?? "{}") as Record<string, string>;
  for (const field of fieldsOf(form)) field.value = values[field.name] ?? field.value;
  for (const name of form.querySelectorAll(".subject")) name.textContent = button.dataset["subject"] ?? "";
}

/** Do what a form asks for, and tell of what is shown only this once. */
async function carryOut(form: HTMLFormElement, what: string, subject: string): Promise<void> {
  const { password, email, once } = form.dataset;
  const body = members(form);
  const field = email ? find<HTMLInputElement>(email) : null;
  const account = field?.value.trim() ?? ""; // read now: when the answer comes, the form may be for another person
  const answer = await call(what, bodyOf(form));
  const drawing = await accountInLabelStudio(account, String(body["password"]), field?.dataset["labelStudio"] ?? "");
  const name = String(body["name"] ?? subject);
  if (password) showOnce(`${name} can log in now`, "Give this password to the person. It is shown only this once.", String(body["password"]), drawing);
  if (once) showOnce(form.dataset["onceTitle"] ?? name, "Copy it now: it is shown only this once, and stored nowhere in clear.", String(answer[once]));
}

function open(dialog: HTMLDialogElement, button: HTMLElement, done: () => void, preview?: Preview): void {
  const form = dialog.querySelector<HTMLFormElement>("form[data-call]");
  if (!form) { // it has a script of its own
    beginAnew(dialog);
    return show(dialog, button);
  }
  const what = button.dataset["target"] ?? form.dataset["call"] ?? "";
  if (beginAnew(dialog, what)) {
    fill(form, button);
    const { password } = form.dataset;
    if (password) find<HTMLInputElement>(password).value = newPassword();
  }
  const effect = form.querySelector(".effect");
  let seen = ""; // the request whose effect is shown
  const showEffect = (lines: string[], asked: string): void => {
    seen = asked;
    effect?.replaceChildren(...lines.map((line) => make("li", {}, line)));
    form.classList.toggle("seen", lines.length > 0);
  };
  showEffect([], "");
  form.oninput = () => showEffect([], "");
  form.onsubmit = (event) => {
    event.preventDefault();
    send(dialog, async (isSame) => {
      const asked = JSON.stringify(members(form));
      if (preview && asked !== seen) {
        const answer = (await (await request(what, { ...members(form), dry_run: true })).json()) as Body;
        if (!isSame()) return false;
        if (JSON.stringify(members(form)) !== asked) throw new Error("The form was changed meanwhile: look again.");
        showEffect(preview(answer), asked);
        return false;
      }
      await carryOut(form, what, button.dataset["subject"] ?? "");
      done();
      return true;
    }, what);
  };
  show(dialog, button);
}

/**
 * Let every button with a call or a dialog act.
 *
 * @param done - called after each change.
 * @param previews - what to tell of dry runs, by the `data-preview` of forms.
 */
export function actOnClicks(done: () => void, previews: Record<string, Preview> = {}): void {
  // A field that the browser finds fault with must be in sight, or it refuses the form without a word.
  document.addEventListener("invalid", (event) => (event.target as HTMLElement).closest("details")?.setAttribute("open", ""), true);
  document.addEventListener("click", (event) => {
    const button = (event.target as HTMLElement).closest<HTMLElement>("button[data-call], button[data-opens], button[data-close]");
    if (!button) return;
    const { call: what, opens } = button.dataset;
    if (what) confirm(button, done);
    else if (opens) {
      const dialog = find<HTMLDialogElement>(opens);
      open(dialog, button, done, previews[dialog.querySelector("form")?.dataset["preview"] ?? ""]);
    } else button.closest("dialog")?.close();
  });
}
