/** What changes on the server, as it happens. */

import { reachable } from "./reachable";

export type Topic = "models" | "rounds" | "jobs" | "labels" | "scenes" | "trouble";

const AGAIN_MS = 10_000;

type Listener = (topics: readonly Topic[]) => void;

const listeners: Listener[] = [];
let last = ""; // the id of the event that was heard last
let current: EventSource | null = null;
let again = 0; // the timer of the next attempt

/**
 * Call `changed` with the topics that changed since the page was made, as its element with `data-live` says; on other
 * pages with all of them first. What is missed while the page is hidden or the connection is broken is told when it shows
 * and there is one again.
 */
export function listen(changed: Listener): void {
  if (listeners.push(changed) > 1) return;
  last = document.querySelector<HTMLElement>("[data-live]")?.dataset["live"] ?? "";
  document.addEventListener("visibilitychange", connectIfShown);
  connectIfShown();
}

/** Have one connection while the page shows, and none while it is hidden: browsers allow six to a server, for all tabs. */
function connectIfShown(): void {
  clearTimeout(again);
  current?.close();
  current = document.hidden ? null : connect();
}

/** Connect; a browser does so again by itself after a lost connection, but not after an answer that is an error. */
function connect(): EventSource {
  const source = new EventSource(last ? `/api/v1/live?since=${last}` : "/api/v1/live");
  source.addEventListener("open", () => reachable(true));
  source.addEventListener("changed", (event) => {
    const { data, lastEventId } = event as MessageEvent<string>;
    last = lastEventId || last;
    for (const changed of listeners) changed(JSON.parse(data) as Topic[]);
  });
  source.addEventListener("error", () => {
    reachable(false);
    if (source.readyState === EventSource.CLOSED) again = window.setTimeout(connectIfShown, AGAIN_MS);
  });
  return source;
}

/**
 * Call `ask` when one of the topics has changed.
 *
 * @param pauseMs - between two calls; what changes in a pause is asked for at its end.
 */
export function whenChanged(topics: readonly Topic[], ask: () => void, pauseMs = 0): void {
  let free = -Infinity;
  let waits = false;
  const call = (): void => {
    waits = false;
    free = performance.now() + pauseMs;
    ask();
  };
  listen((changed) => {
    if (waits || !changed.some((topic) => topics.includes(topic))) return;
    const left = free - performance.now();
    waits = left > 0;
    if (waits) setTimeout(call, left);
    else call();
  });
}
