/** The dashboard: sections that follow what happens on the server, the learning curve, and buttons that act. */

import htmx from "htmx.org";
import "uplot/dist/uPlot.min.css";
import "./dashboard/dashboard.css";
import "./dashboard/details.css";
import { actOnClicks } from "./actions";
import { isWriting } from "./api";
import { drawCurve } from "./dashboard/curve";
import { keepWhatReadersDo } from "./dashboard/kept";
import { listen, type Topic } from "./live";

const LOOK_AGAIN_MS = 30_000; // for what no event tells: time passes, and a stopped clock reports nothing

const sections = [...document.querySelectorAll<HTMLElement>("section[data-topics]")];
const missed = new Set<Topic>();

function refresh(topics: readonly Topic[]): void {
  if (document.hidden) {
    topics.forEach((topic) => missed.add(topic));
    return;
  }
  for (const section of sections) {
    const own = (section.dataset["topics"] ?? "").split(" ");
    if (topics.some((topic) => own.includes(topic))) htmx.trigger(section, "refresh");
  }
  if (topics.includes("models")) void drawCurve();
}

keepWhatReadersDo(sections);
document.body.addEventListener("htmx:responseError", (event) => {
  // The session ended: the whole page has to go to the log-in.
  if ((event as CustomEvent<{ xhr: XMLHttpRequest }>).detail.xhr.status === 401 && !isWriting()) location.reload();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !missed.size) return;
  const topics = [...missed];
  missed.clear();
  refresh(topics);
});
setInterval(() => refresh(["trouble"]), LOOK_AGAIN_MS);

actOnClicks(() => refresh(["models", "rounds", "jobs", "labels", "scenes", "trouble"]));
listen(refresh);
void drawCurve();
