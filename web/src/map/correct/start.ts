/** Begin a correction: offer it in the panel, choose the window on the map, and open the editor. */

import { unByKey } from "ol/Observable";
import type OlMap from "ol/Map";
import DragBox from "ol/interaction/DragBox";
import { primaryAction } from "ol/events/condition";
import { transformExtent } from "ol/proj";

import type { SceneMap } from "../../api";
import { make, tell } from "../../dom";
import { enter, left } from "../mode";
import "./correct.css";
import { classesOf, findWindow } from "./server";
import { type Ground, Session, type Shown, type Window } from "./session";

/** What is corrected: a scene as the map shows it. */
export interface Subject {
  scene: { id: number; name: string; width: number; height: number };
  map: SceneMap;
  view: string;
}

const TO_BEGIN_WITH = ["prediction", "learner", "prior"];

/** The section of the panel. */
export function correctSection(olMap: OlMap, subject: Subject, changed: () => void): HTMLElement {
  const draft = Session.draft(groundOf(subject));
  const section = make("section", {}, make("h2", {}, "Correct"));
  if (!draft) {
    const begin = make("button", { type: "button", onclick: () => choose(olMap, subject, changed) }, "Correct a window…");
    section.append(make("div", { class: "steps" }, begin));
  } else {
    const { height, width, row_off, col_off } = draft.window;
    section.append(
      make("p", { class: "soft" }, `A draft of ${width} × ${height} pixels from row ${row_off}, column ${col_off} was left in this browser.`),
      make(
        "div", { class: "steps" },
        make("button", { type: "button", onclick: () => void goOn(draft, subject, changed) }, "Continue the draft"),
        make("button", { type: "button", onclick: () => void discard(draft, changed) }, "Discard the draft"),
      ),
    );
  }
  return section;
}

/** Go on with a draft, unless it is another one by now: it would be written over. */
async function goOn(draft: Session, subject: Subject, changed: () => void): Promise<void> {
  if (draft.isKept) return edit(draft, subject, changed);
  tell("This draft was gone on with, sent or discarded in another tab: what is left of it shows now.");
  changed();
}

async function discard(draft: Session, changed: () => void): Promise<void> {
  const { confirmDiscard } = await import("./dialogs");
  if (!(await confirmDiscard())) return;
  draft.forget();
  changed();
}

/** Let the person choose a window: a box, a click, or Enter for the middle of the view. */
function choose(olMap: OlMap, subject: Subject, changed: () => void): void {
  const target = olMap.getTargetElement();
  const box = new DragBox({ condition: primaryAction, className: "correct-box", minArea: 100 });
  const hint = make("p", { class: "correct-hint", role: "status" }, "Drag a box over what to correct, click a place, or press Enter for the middle of the view. Esc leaves.");
  const found = (extent: readonly number[]) => {
    stop();
    void open(subject, transformExtent([...extent], "EPSG:3857", "EPSG:4326"), changed);
  };
  box.on("boxend", () => found(box.getGeometry().getExtent()));
  const click = olMap.on("singleclick", ({ coordinate: [x = 0, y = 0] }) => found([x, y, x, y]));
  const press = (event: KeyboardEvent) => {
    if (event.key === "Escape") stop();
    if (event.key !== "Enter" || event.target !== target) return;
    event.preventDefault();
    const [x = 0, y = 0] = olMap.getView().getCenter() ?? [];
    found([x, y, x, y]);
  };
  const stop = () => {
    olMap.removeInteraction(box);
    unByKey(click);
    document.removeEventListener("keydown", press);
    hint.remove();
    left(stop);
  };
  enter(stop);
  olMap.addInteraction(box);
  document.addEventListener("keydown", press);
  target?.append(hint);
  target?.focus();
}

async function open(subject: Subject, box: readonly number[], changed: () => void): Promise<void> {
  try {
    await correctAt(subject, windowOf(await findWindow(subject.scene.id, box)), changed);
  } catch (error) {
    tell((error as Error).message, "fault");
  }
}

/** Open the editor on a window; a draft that was left in this browser comes first. */
export async function correctAt(subject: Subject, window: Window, changed: () => void): Promise<void> {
  if (Session.draft(groundOf(subject))) {
    tell("A draft was left in this browser: continue or discard it first.");
    return;
  }
  try {
    const { classes, layers } = subject.map;
    // Not with a map of other classes than people draw: its glacier could be any of theirs.
    const fit = layers.filter((layer) => JSON.stringify(layer.classes) === JSON.stringify(classes));
    const layer = TO_BEGIN_WITH.map((name) => fit.find((item) => item.name === name)).find(Boolean);
    const shown: Shown | null = layer ? { layer: layer.name, version: layer.version } : null;
    const began = shown ? await classesOf(subject.scene.id, shown, window) : new Uint8Array(window.height * window.width);
    await edit(Session.begin(groundOf(subject), window, shown, began), subject, changed);
  } catch (error) {
    tell((error as Error).message, "fault");
  }
}

function groundOf({ scene: { id, name, width, height } }: Subject): Ground {
  return { id, name, width, height };
}

function windowOf({ row_off, col_off, height, width }: Window): Window {
  return { row_off, col_off, height, width };
}

async function edit(session: Session, subject: Subject, changed: () => void): Promise<void> {
  const { Editor } = await import("./editor"); // large, and only now needed
  new Editor(session, subject.map, subject.view, subject.scene, () => changed());
}
