/** Tell readers of a page that the server does not answer: what the page shows may be old. */

import { make } from "./dom";

const PATIENCE_MS = 10_000; // a connection that ends after its time is there again sooner

let waiting = 0;
let note: HTMLElement | null = null;
const listeners: (() => void)[] = [];

/** Call `again` whenever the server answers after it did not. */
export function whenReachableAgain(again: () => void): void {
  listeners.push(again);
}

/** Note whether the server answered. */
export function reachable(is: boolean): void {
  if (is) {
    const wasAway = waiting !== 0 || note !== null;
    clearTimeout(waiting);
    waiting = 0;
    note?.remove();
    note = null;
    document.body.classList.remove("unreachable");
    if (wasAway) for (const again of listeners) again();
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
