/** What is stored nowhere in clear, shown until its dialog is closed. */

import { make } from "./dom";

/** Show a password, a token or a secret under a title, with what to do with it and, perhaps, more. */
export function showOnce(title: string, words: string, secret: string, more: Node[] = []): void {
  const dialog = make(
    "dialog",
    { "aria-labelledby": "once-title" },
    make("h2", { id: "once-title" }, title),
    make("p", {}, words),
    make("p", {}, make("code", { id: "shown-once" }, secret)),
    ...more,
    make("p", { class: "buttons" }, make("button", { type: "button", class: "act main", onclick: () => dialog.remove() }, "Close")),
  );
  document.body.append(dialog);
  dialog.showModal();
}
