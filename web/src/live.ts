/** What changes on the server, as it happens. */

export type Topic = "models" | "rounds" | "jobs" | "labels" | "scenes" | "trouble";

let shared: EventSource | null = null; // one connection a page: browsers allow six to a server

/**
 * Call `ask` when one of the topics has changed, and at every (new) connection, since changes may have been missed
 * before. A browser comes back by itself when the connection breaks.
 */
export function whenChanged(topics: readonly Topic[], ask: () => void): void {
  const source = (shared ??= new EventSource("/api/v1/live"));
  let first = source.readyState !== EventSource.OPEN;
  source.addEventListener("open", () => {
    if (!first) ask();
    first = false;
  });
  source.addEventListener("changed", (event) => {
    const changed = JSON.parse((event as MessageEvent<string>).data) as Topic[];
    if (changed.some((topic) => topics.includes(topic))) ask();
  });
}
