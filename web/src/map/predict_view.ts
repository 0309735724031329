/** What the section "Predict here" shows. Its controls stay in place, so that the keyboard's focus does, too. */

import { make } from "../dom";
import type { Backend, Loaded, Outcome } from "../predict/client";
import type { Area } from "../predict/tiling";

export interface Result {
  outcome: Outcome;
  area: Area;
  /** Area of each class but the background, by its name. */
  km2: Map<string, number>;
  outlines: number;
}

export interface State {
  drawing: boolean;
  loaded: Loaded | null;
  result: Result | null;
  fault: string;
  running: Running | null;
}

/** Windows that are done, of all; none of none while the model is fetched. `since`: when the first began, in ms. */
export interface Running {
  done: number;
  total: number;
  since: number;
}

export interface Actions {
  here: () => void;
  box: () => void;
  cancel: () => void;
  remove: () => void;
  computeOn: (backend: Backend | null) => void;
}

const BACKENDS: [string, Backend | null][] = [
  ["automatic", null], ["the graphics card", "graphics card"], ["the processor", "processor"],
];

export class PredictView {
  readonly element: HTMLElement;
  private readonly here: HTMLButtonElement;
  private readonly box: HTMLButtonElement;
  private readonly hint = make("p", { class: "soft" });
  private readonly bar = make("progress", { "aria-label": "Windows predicted" });
  private readonly said = make("span", { class: "soft" });
  private readonly working: HTMLElement;
  private readonly fault = make("p", { class: "bad", role: "alert" });
  private readonly result = make("div", { class: "predicted", role: "status" });
  private readonly remove: HTMLButtonElement;

  constructor(actions: Actions) {
    const button = (title: string, act: () => void): HTMLButtonElement => make("button", { type: "button", onclick: act }, title);
    this.here = button("Around the centre", actions.here);
    this.box = button("Draw a box", actions.box);
    this.remove = button("Remove", actions.remove);
    const by = make("select", { id: "computed-by" }, ...BACKENDS.map(([title]) => make("option", {}, title)));
    by.addEventListener("change", () => actions.computeOn(BACKENDS[by.selectedIndex]?.[1] ?? null));
    this.working = make("div", { class: "layer" }, this.bar, this.said, button("Cancel", actions.cancel));
    this.element = make(
      "section", { class: "predict", "aria-labelledby": "predict-title" },
      make("h2", { id: "predict-title" }, "Predict here"),
      make("div", { class: "modes", role: "group", "aria-label": "Window to predict" }, this.here, this.box),
      make("div", { class: "layer" }, make("label", { for: "computed-by" }, "Computed by"), by),
      this.hint, this.working, this.fault, this.result, make("div", { class: "modes" }, this.remove),
    );
  }

  show(state: State): void {
    const { drawing, running, result, fault } = state;
    this.here.disabled = this.box.disabled = running !== null;
    this.box.setAttribute("aria-pressed", String(drawing));
    this.hint.textContent = drawing ? "Drag a box on the map; Escape ends it." : hintOf(state.loaded);
    this.working.hidden = running === null;
    if (running?.total) {
      this.bar.max = running.total;
      this.bar.value = running.done;
    } else this.bar.removeAttribute("value");
    this.said.textContent = running ? progressOf(running) : "";
    this.fault.textContent = fault;
    this.fault.hidden = fault === "";
    this.result.replaceChildren(...(result ? resultOf(result) : []));
    this.remove.hidden = result === null;
  }
}

function progressOf({ done, total, since }: Running): string {
  if (!total) return "fetching the model";
  const left = done ? `, ${Math.ceil(((performance.now() - since) / done / 1000) * (total - done))} s left` : "";
  return `window ${done} of ${total}${left}`;
}

function hintOf(loaded: Loaded | null): string {
  if (!loaded) return "Runs the served model in this browser, on 512 px or a box of yours.";
  const checked = loaded.probe === null
    ? "it ships no probe, so that this browser was not checked"
    : `this browser passed its probe: ${loaded.probe}`;
  const refused = loaded.refused === null ? "" : ` The graphics card is not used: ${loaded.refused}`;
  return `Version ${loaded.version}, the served one, on the ${loaded.backend}; ${checked}.${refused}`;
}

function resultOf({ outcome, area, km2, outlines }: Result): HTMLElement[] {
  const rows = [...km2].map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "n" }, `${value.toFixed(3)} km²`)));
  const seconds = outcome.seconds.toFixed(1);
  return [
    make("table", { class: "areas" }, make("tbody", {}, ...rows)),
    make(
      "p", { class: "soft" },
      `Version ${outcome.version}: ${area.width} x ${area.height} px, ${outlines} outlines, ${seconds} s ` +
        `(${outcome.computing.toFixed(1)} s in the network, ${outcome.windows} windows).`,
    ),
  ];
}
