/** What changes on the server, as it happens. */

export type Topic = "models" | "rounds" | "jobs" | "labels" | "scenes" | "trouble";

let shared: EventSource | null = null; // one connection a page: browsers allow six to a server

/** Call `changed` with the topics that changed; with null at every new connection, since changes may have been missed. */
export function listen(changed: (topics: readonly Topic[] | null) => void): void {
  const source = (shared ??= new EventSource("/api/v1/live"));
  let first = source.readyState !== EventSource.OPEN;
  source.addEventListener("open", () => {
    if (!first) changed(null);
    first = false;
  });
  source.addEventListener("changed", (event) => changed(JSON.parse((event as MessageEvent<string>).data) as Topic[]));
}

/**
 * Call `ask` when one of the topics has changed, and at every (new) connection. A browser comes back by itself when the
 * connection breaks.
 */
export function whenChanged(topics: readonly Topic[], ask: () => void): void {
  listen((changed) => {
    if (changed === null || changed.some((topic) => topics.includes(topic))) ask();
  });
}
