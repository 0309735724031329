/** Buttons and dialogs that call the API; what they call stands in their attributes. */

import { find, make, tell } from "../dom";
import { api } from "../page";

/** A random password of 20 letters and digits that are not mistaken for each other. */
function newPassword(): string {
  const letters = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  const bytes = crypto.getRandomValues(new Uint32Array(20));
  return [...bytes].map((value) => letters[value % letters.length]).join("");
}

async function call(what: string, body: Record<string, unknown>): Promise<void> {
  const [method = "POST", path = ""] = what.split(" ");
  const response = await api.request(method, path, method === "DELETE" || !Object.keys(body).length ? undefined : body);
  // 202: the server carries it out in a moment, and the page hears of it as of any change.
  const words = response.status === 202 ? "Accepted: it is carried out now." : "Done.";
  tell(words);
}

/** Send a dialog's form: show what the server refuses, and keep what was written. */
function send(dialog: HTMLDialogElement, work: () => Promise<void>): void {
  const fault = dialog.querySelector<HTMLElement>(".fault");
  const button = dialog.querySelector<HTMLButtonElement>(".main");
  if (fault) fault.textContent = "";
  if (button) button.disabled = true;
  work()
    .then(() => dialog.close())
    .catch((error: unknown) => {
      if (fault) fault.textContent = error instanceof Error ? error.message : String(error);
    })
    .finally(() => {
      if (button) button.disabled = false;
    });
}

/** Ask before a button's call: a person confirms it, and writes why where the call wants to know. */
function confirm(button: HTMLElement, done: () => void): void {
  const { call: what = "", title = "", ask = "", hint = "" } = button.dataset;
  const dialog = find<HTMLDialogElement>("confirm");
  const text = find<HTMLTextAreaElement>("confirm-text");
  const label = find("confirm-label");
  const fault = dialog.querySelector<HTMLElement>(".fault");
  find("confirm-title").textContent = title;
  find("confirm-hint").textContent = hint;
  find("confirm-yes").textContent = button.textContent?.replace("…", "") ?? "Yes";
  label.textContent = ask ? `${ask === "note" ? "What you found" : "Reason"} (kept with your name)` : "";
  text.hidden = label.hidden = !ask;
  text.required = Boolean(ask);
  text.value = "";
  if (fault) fault.textContent = "";
  const form = dialog.querySelector("form");
  if (form)
    form.onsubmit = (event) => {
      event.preventDefault();
      send(dialog, async () => {
        await call(what, ask ? { [ask]: text.value.trim() } : {});
        done();
      });
    };
  show(dialog, button);
}

/** Return the members of a form; what is empty is left out. */
function members(form: HTMLFormElement): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const field of form.elements)
    if ((field instanceof HTMLInputElement || field instanceof HTMLSelectElement) && field.name && field.value)
      body[field.name] = field.type === "number" ? Number(field.value) : field.value;
  return body;
}

/** Show a dialog; once it is closed, its button has the focus again, also if its section was replaced meanwhile. */
function show(dialog: HTMLDialogElement, button: HTMLElement): void {
  dialog.onclose = () => {
    if (!button.isConnected && button.id) document.getElementById(button.id)?.focus({ preventScroll: true });
  };
  dialog.showModal();
}

function open(dialog: HTMLDialogElement, button: HTMLElement, done: () => void): void {
  const form = dialog.querySelector<HTMLFormElement>("form[data-call]");
  if (!form) return;
  const password = form.dataset["password"];
  if (password) find<HTMLInputElement>(password).value = newPassword();
  form.onsubmit = (event) => {
    event.preventDefault();
    const body = members(form);
    send(dialog, async () => {
      await call(form.dataset["call"] ?? "", body);
      const email = form.dataset["email"];
      const drawing = email ? await accountInLabelStudio(find<HTMLInputElement>(email), String(body["password"])) : [];
      if (password) showOnce(String(body["name"]), String(body["password"]), drawing);
      done();
    });
  };
  show(dialog, button);
}

/** Make an account in Label Studio for an e-mail address, if there is one; returns what to tell of it. */
async function accountInLabelStudio(field: HTMLInputElement, password: string): Promise<Node[]> {
  const email = field.value.trim();
  const address = field.dataset["labelStudio"] ?? "";
  if (!email) return [];
  field.value = "";
  const link = (path: string): Node => make("a", { href: `${address}${path}` }, "Label Studio");
  try {
    await api.post("/api/v1/annotators", { email, password });
    return [make("p", {}, "To draw, the person logs in to ", link("/"), ` as ${email}, with the same password.`)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const advice = ", page Organization, button Add People: it shows the link of the invitation.";
    return [make("p", { class: "fault" }, `No account in Label Studio: ${reason}`), make("p", {}, "Invite the person in ", link("/organization"), advice)];
  }
}

/** Show a new person's password until it is closed; it is stored nowhere in clear. */
function showOnce(name: string, password: string, drawing: Node[]): void {
  const dialog = make(
    "dialog",
    { "aria-labelledby": "password-title" },
    make("h2", { id: "password-title" }, `${name} can log in now`),
    make("p", {}, "Give this first password to the person. It is shown only this once."),
    make("p", {}, make("code", { id: "new-password" }, password)),
    ...drawing,
    make("p", { class: "buttons" }, make("button", { type: "button", class: "act main", onclick: () => dialog.remove() }, "Close")),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** Let every button with a call or a dialog act; `done` is called after each change. */
export function actOnClicks(done: () => void): void {
  document.addEventListener("click", (event) => {
    const button = (event.target as HTMLElement).closest<HTMLElement>("button[data-call], button[data-opens], button[data-close]");
    if (!button) return;
    if (button.dataset["call"]) confirm(button, done);
    else if (button.dataset["opens"]) open(find<HTMLDialogElement>(button.dataset["opens"]), button, done);
    else button.closest("dialog")?.close();
  });
}
