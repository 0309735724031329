/** The page that registers or replaces a scene: describe it, show what was understood, and store it only then. */

import "./dashboard/dashboard.css";
import "./scene/form.css";
import type { Job, SceneOutcome, SceneTarget } from "./api";
import { find, make } from "./dom";
import { api } from "./page";
import { SceneForm } from "./scene/form";
import type { Members } from "./scene/members";
import { takeFiles } from "./scene/sending";
import { facts, outlinesOf, warnings, type Summary } from "./scene/summary";

// What was shown no longer holds once the form has changed.
const form = new SceneForm(() => (find("summary").hidden = true));
form.element.addEventListener("input", () => (document.body.dataset["written"] = "")); // it is long: not left by itself
const replaces = form.element.dataset["replaces"];
const target: SceneTarget = replaces ? { method: "PUT", path: `/api/v1/scenes/${replaces}` } : { method: "POST", path: "/api/v1/scenes" };

/** Show what the server understood of a request, which is the one that is stored then. */
function show(summary: Summary, asked: Members): void {
  const button = make("button", { type: "button", class: "act main" }, `${replaces ? "Replace" : "Register"} ${summary.name}`);
  button.addEventListener("click", () => void store(button, asked));
  find("summary").replaceChildren(
    make("h2", {}, "What was understood"),
    facts(summary),
    ...form.outlines.mapping(outlinesOf(summary), () => void look()),
    ...warnings(summary),
    make("p", { class: "buttons" }, button),
  );
  find("summary").hidden = false;
}

/** Say that a job reads from another machine, which takes longer than a reader expects. */
function progress(job: Job): void {
  find("progress").textContent = job.state === "queued" || job.state === "running" ? "The server reads from another machine; this may take minutes." : "";
}

/** Do what a button asks for; returns null, and says why, if it fails. */
async function attempt<Result>(button: HTMLButtonElement, work: () => Promise<Result>): Promise<Result | null> {
  const fault = find("fault");
  fault.textContent = "";
  button.disabled = true;
  try {
    return await work();
  } catch (error) {
    fault.textContent = error instanceof Error ? error.message : String(error);
    fault.scrollIntoView({ block: "center" });
    return null;
  } finally {
    button.disabled = false;
    find("progress").textContent = "";
  }
}

async function look(): Promise<void> {
  find("summary").hidden = true;
  await attempt(find<HTMLButtonElement>("look"), async () => {
    const asked = form.request();
    const summary = await api.describeScene<Summary>(target, asked, progress);
    // The form may have changed while the server was looking, which may take minutes.
    if (JSON.stringify(form.request()) === JSON.stringify(asked)) show(summary, asked);
    else throw new Error("The form was changed while the server looked at the scene: press Look at it again.");
  });
}

async function store(button: HTMLButtonElement, asked: Members): Promise<void> {
  const outcome = await attempt(button, () => api.storeScene(target, { ...asked, ...form.fate() }, progress));
  if (outcome === null) return;
  if (replaces) tellOutcome(outcome);
  else location.assign("/#scenes");
}

/** Say what became of labels, in place of the form, which has done its work. */
function tellOutcome(outcome: SceneOutcome): void {
  const { labels_kept: kept, labels_superseded: superseded, learnt_from: versions } = outcome;
  const labels = (count: number): string => (count === 1 ? "1 label" : `${count} labels`);
  const lines = [`It has the number ${outcome.scene_id}, and is cut into patches now.`];
  if (kept || superseded) lines.push(`${labels(kept)} kept; ${labels(superseded)} ${superseded === 1 ? "does" : "do"} not count any more.`);
  if (versions.length) lines.push(`Versions that learnt from its labels stay as they are: ${versions.join(", ")}.`);
  const title = make("h1", { tabindex: -1 }, `Scene ${form.element.dataset["name"]} is replaced`);
  document.querySelector(".steps")?.replaceChildren(
    title,
    ...lines.map((line) => make("p", {}, line)),
    make("p", { class: "buttons" }, make("a", { class: "act main", href: "/#scenes" }, "To the scenes")),
  );
  title.focus();
}

takeFiles(form);
form.element.addEventListener("submit", (event) => {
  event.preventDefault();
  void look();
});
