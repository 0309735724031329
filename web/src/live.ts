/** What changes on the server, as it happens. */

export type Topic = "models" | "rounds" | "jobs" | "labels" | "scenes" | "trouble";

let shared: EventSource | null = null; // one connection a page: browsers allow six to a server

/**
 * Call `changed` with the topics that changed since the page was made, as its element with `data-live` says; on other
 * pages with all of them first. What is missed while the connection is broken is told when the browser comes back.
 */
export function listen(changed: (topics: readonly Topic[]) => void): void {
  const since = document.querySelector<HTMLElement>("[data-live]")?.dataset["live"];
  shared ??= new EventSource(since ? `/api/v1/live?since=${since}` : "/api/v1/live");
  shared.addEventListener("changed", (event) => changed(JSON.parse((event as MessageEvent<string>).data) as Topic[]));
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
