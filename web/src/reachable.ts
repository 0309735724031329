/** Tell readers of a page that the server does not answer: what the page shows may be old. */

import { make } from "./dom";

const PATIENCE_MS = 10_000; // a connection that ends after its time is there again sooner

let waiting = 0;
let note: HTMLElement | null = null;

/** Note whether the server answered. */
export function reachable(is: boolean): void {
  if (is) {
    clearTimeout(waiting);
    waiting = 0;
    note?.remove();
    note = null;
    document.body.classList.remove("unreachable");
  } else if (!waiting && !note) {
    const since = new Date().toISOString().slice(11, 16);
    waiting = window.setTimeout(() => show(since), PATIENCE_MS);
  }
}

function show(since: string): void {
  waiting = 0;
  note = make("p", { class: "unreachable-note", role: "status" }, `Not connected since ${since} UTC: what shows may be old. If this stays, load the page again.`);
  document.body.append(note);
  document.body.classList.add("unreachable");
}
