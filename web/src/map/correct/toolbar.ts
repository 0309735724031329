/** The tool bar of the editor. */

import type { SceneMap } from "../../api";
import { make, refill } from "../../dom";
import { START_OPACITY } from "./canvas";
import { showKeys } from "./dialogs";
import type { Editor } from "./editor";
import type { Shown } from "./session";
import { TOOLS, type Tool } from "./tools";

const WAITS = { loading: "Loading the window…", failed: "What this tool needs could not be loaded: choose it again." };
const SUPERPIXEL_SIDES = [8, 12, 20, 32];

export class ToolBar {
  private readonly classes = make("div", { class: "classes", role: "group", "aria-label": "Class" });
  private readonly tools = make("div", { class: "tools", role: "group", "aria-label": "Tool" });
  private readonly options = make("div", { class: "options" });
  private readonly hint = make("p", { class: "soft", "aria-live": "polite" });
  private readonly undo: HTMLButtonElement;
  private readonly redo: HTMLButtonElement;
  private readonly submit: HTMLButtonElement;

  constructor(
    element: HTMLElement,
    private readonly editor: Editor,
    view: string,
  ) {
    this.undo = make("button", { type: "button", title: "Ctrl+Z", onclick: () => editor.undo() }, "Undo");
    this.redo = make("button", { type: "button", title: "Ctrl+Shift+Z", onclick: () => editor.redo() }, "Redo");
    this.submit = make("button", { type: "button", class: "main", onclick: () => void editor.submit() }, "Submit…");
    const { shown, window } = editor.session;
    const began = shown ? `Began with: ${titleOf(shown, editor.map)}` : "Began empty";
    element.addEventListener("click", ({ detail, target }) => {
      if (detail > 0 && (target as HTMLElement).closest("button")) editor.focusMap(); // by the mouse: the space bar moves the view
    });
    element.append(
      make("h1", {}, "Correct the map"),
      make("p", { class: "soft" }, `${editor.scene.name}. ${began}. ${window.width} × ${window.height} pixels.`),
      this.classes,
      this.tools,
      this.hint,
      this.options,
      this.views(view),
      make(
        "div", { class: "finish" },
        make("div", { class: "steps" }, this.undo, this.redo, make("button", { type: "button", "aria-label": "Keys", title: "?", onclick: showKeys }, "?")),
        make(
          "div", { class: "steps" }, this.submit,
          make("button", { type: "button", onclick: () => editor.close() }, "Later"),
          make("button", { type: "button", onclick: () => void editor.discard() }, "Discard"),
        ),
      ),
    );
  }

  show(): void {
    const { editor } = this;
    refill(
      this.classes,
      ...editor.choices.map((choice, index) => {
        const swatch = make("span", { class: "swatch" });
        swatch.style.backgroundColor = choice.colour;
        const key = make("kbd", {}, index === editor.choices.length - 1 ? "9" : String(index));
        return this.toggle(`class-${choice.value}`, editor.value === choice.value, () => editor.chooseClass(choice.value), swatch, choice.name, key);
      }),
    );
    refill(
      this.tools,
      ...TOOLS.map((tool) => this.toggle(`tool-${tool.name}`, editor.tool === tool.name, () => editor.choose(tool.name), tool.title, make("kbd", {}, tool.key))),
    );
    const tool: Tool | undefined = TOOLS.find((item) => item.name === editor.tool);
    this.hint.textContent = editor.waitsFor ? WAITS[editor.waitsFor] : (tool?.hint ?? "");
    refill(this.options, ...this.optionsOf());
    this.undo.disabled = !editor.session.canUndo;
    this.redo.disabled = !editor.session.canRedo;
  }

  private toggle(id: string, pressed: boolean, act: () => void, ...children: (Node | string)[]): HTMLButtonElement {
    return make("button", { type: "button", id, "aria-pressed": String(pressed), onclick: act }, ...children);
  }

  private optionsOf(): HTMLElement[] {
    const { editor } = this;
    if (editor.tool === "brush" || editor.tool === "eraser") {
      const step = (by: number, title: string, sign: string) =>
        make("button", { type: "button", id: `radius-${title.toLowerCase()}`, "aria-label": title, onclick: () => editor.resize(by) }, sign);
      return [make("p", { class: "steps" }, step(-1, "Smaller", "−"), `${editor.diameter} px`, step(1, "Larger", "+"))];
    }
    if (editor.tool === "superpixels") {
      const select = make("select", {
        id: "superpixel-side", onchange: (event) => editor.resizeSuperpixels(Number((event.target as HTMLSelectElement).value)),
      });
      for (const side of SUPERPIXEL_SIDES) select.append(make("option", { value: side, selected: side === editor.superpixelSide }, `about ${side} × ${side} pixels`));
      return [make("label", { for: "superpixel-side" }, "Size"), select];
    }
    if (editor.tool === "outlines") {
      const actions = [["cut", "Cut"], ["hole", "Hole"], ["merge", "Merge"], ["delete", "Delete"]] as const;
      return [make("div", { class: "steps" }, ...actions.map(([name, title]) => make("button", { type: "button", id: `outline-${name}`, onclick: () => editor.on(name) }, title)))];
    }
    return [];
  }

  private views(view: string): HTMLElement {
    const { editor } = this;
    const select = make("select", { id: "correct-view", onchange: (event) => editor.showView((event.target as HTMLSelectElement).value) });
    for (const item of editor.map.views) select.append(make("option", { value: item.name, selected: item.name === view }, item.title));
    const opacity = make("input", {
      type: "range", id: "correct-opacity", min: 0, max: 1, step: 0.05, value: START_OPACITY,
      oninput: (event) => editor.setOpacity(Number((event.target as HTMLInputElement).value)),
    });
    return make(
      "div", { class: "views" }, make("label", { for: select.id }, "View"), select, make("label", { for: opacity.id }, "Classes over it"), opacity,
      make("button", { type: "button", onclick: () => editor.fit() }, "Show the whole window"),
    );
  }
}

/** The title of the map that a correction began with; a draft may be older than the maps that show now. */
function titleOf({ layer, version }: Shown, { layers }: SceneMap): string {
  const now = layers.find((item) => item.name === layer && item.version === version);
  return now?.title ?? (version === null ? layer : `${layer} of version ${version}`);
}
