/** The editor of a correction: its tools, what they draw on, and the submission. */

import type Feature from "ol/Feature";
import type Polygon from "ol/geom/Polygon";

import type { SceneMap } from "../../api";
import { make, tell } from "../../dom";
import { BrushCursor } from "./brush_cursor";
import { CorrectionCanvas, START_OPACITY } from "./canvas";
import { CornerDraw } from "./corners";
import { assigning, filling, mending, painting, type Desk } from "./gestures";
import { BACKGROUND, NOT_JUDGED } from "./grid";
import { Outlines } from "./outlines";
import { pointer, type Gesture } from "./pointer";
import { bandsOf, superpixelsOf } from "./server";
import type { Session } from "./session";
import { confirmDiscard, confirmSubmission } from "./dialogs";
import { press } from "./keys";
import { ToolBar } from "./toolbar";
import type { ToolName } from "./tools";

export interface ClassChoice {
  value: number;
  name: string;
  colour: string;
}

const DIAMETERS = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96];

export class Editor implements Desk {
  tool: ToolName = "brush";
  value: number;
  diameter = 8;
  superpixelSide = 12;
  private loading = 0; // requests under way for what tools need
  readonly choices: ClassChoice[];

  private readonly root: HTMLElement;
  private readonly canvas: CorrectionCanvas;
  private readonly brush: BrushCursor;
  private readonly bar: ToolBar;
  private outlines: Outlines | null = null;
  private drawing: CornerDraw | null = null;
  private bands: Float32Array | null = null;
  private superpixels: Int32Array | null = null;
  /** The space bar is held: dragging moves the view. */
  spaceHeld = false;
  private opacity = START_OPACITY;
  private hidden = false;
  private readonly colours: ReadonlyMap<number, string>;
  private readonly onKey = (event: KeyboardEvent) => press(this, event);
  private readonly onKeyUp = (event: KeyboardEvent) => {
    if (event.code === "Space") this.spaceHeld = false;
  };

  /**
   * @param end - called when the editor closes; true if the correction was submitted
   */
  constructor(
    readonly session: Session,
    readonly map: SceneMap,
    view: string,
    readonly scene: { name: string; height: number; width: number },
    private readonly end: (submitted: boolean) => void,
  ) {
    this.choices = [
      { value: BACKGROUND, name: "background", colour: "#f8fafc" },
      ...map.classes,
      { value: NOT_JUDGED, name: "not judged", colour: "#6b7280" },
    ];
    this.value = this.choices[1]?.value ?? BACKGROUND;
    this.colours = new Map(this.choices.map((item) => [item.value, item.colour]));
    const target = make("div", { class: "correct-map", tabindex: 0, role: "application", "aria-label": "The window that is corrected" });
    const tools = make("div", { class: "correct-tools" });
    this.root = make("section", { class: "correct", "aria-label": "Correct the map" }, tools, target);
    document.body.append(this.root);
    document.body.classList.add("correcting");
    this.canvas = new CorrectionCanvas(target, session, this.colours, scene, () => this.tool === "move" || this.spaceHeld);
    this.showView(view);
    this.canvas.map.addInteraction(pointer(this.canvas, () => this.gesture(), () => this.takeBack()));
    this.brush = new BrushCursor(this.canvas);
    this.showBrush();
    this.bar = new ToolBar(tools, this, view);
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("keyup", this.onKeyUp);
    this.bar.show();
    target.focus();
  }

  get classes(): number {
    return this.map.classes.length + 1;
  }

  choose(tool: ToolName): void {
    this.stopDrawing();
    this.tool = tool;
    this.showBrush();
    if (tool === "outlines") this.outlines ??= new Outlines(this.canvas, this.session, this.colours, () => this.done());
    if (tool === "polygon" || tool === "hole") this.startDrawing(tool);
    if (tool === "strokes") void this.load("bands");
    if (tool === "superpixels") void this.load("superpixels");
    this.bar.show();
  }

  /** Draw with another class; a selected outline gets it. */
  chooseClass(value: number): void {
    this.value = value;
    if (this.outlines?.selected.length) this.outlines.reclass(value);
    this.bar.show();
  }

  resize(step: number): void {
    const place = DIAMETERS.indexOf(this.diameter) + step;
    this.diameter = DIAMETERS[Math.min(DIAMETERS.length - 1, Math.max(0, place))] as number;
    this.bar.show();
    this.showBrush();
  }

  resizeSuperpixels(side: number): void {
    this.superpixelSide = side;
    this.superpixels = null;
    void this.load("superpixels");
    this.bar.show();
  }

  showView(name: string): void {
    void this.canvas.showView(name, this.map.views.find((view) => view.name === name)?.title ?? name);
  }

  /** Let keys be about the map again, unless a dialog is open. */
  focusMap(): void {
    if (!document.querySelector("dialog[open]")) this.canvas.map.getTargetElement()?.focus({ preventScroll: true });
  }

  setOpacity(share: number): void {
    this.opacity = share;
    this.canvas.opacity(share);
  }

  fit(): void {
    this.canvas.fit();
  }

  undo(): void {
    this.session.undo();
    this.restored();
  }

  redo(): void {
    this.session.redo();
    this.restored();
  }

  show(): void {
    this.canvas.show();
  }

  done(): void {
    this.session.endStep();
    this.canvas.show();
    if (!this.session.keep()) tell("This browser has no room for the draft: submit before you leave.", "fault");
    this.bar.show();
  }

  on(action: "merge" | "cut" | "hole" | "delete"): void {
    this.outlines?.[action]();
  }

  async submit(): Promise<void> {
    if (await confirmSubmission(this.session, this.choices)) {
      this.session.forget();
      this.close(true);
    }
  }

  /** Close the editor; the draft stays. */
  close(submitted = false): void {
    this.stopDrawing();
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("keyup", this.onKeyUp);
    this.canvas.map.setTarget(undefined);
    this.root.remove();
    document.body.classList.remove("correcting");
    this.end(submitted);
  }

  /** Throw the draft away and close. */
  async discard(): Promise<void> {
    if (this.session.isChanged && !(await confirmDiscard())) return;
    this.session.forget();
    this.close();
  }

  private showBrush(): void {
    this.brush.show(this.tool === "brush" || this.tool === "eraser" ? this.diameter : null);
  }

  private gesture(): Gesture | null {
    if (this.spaceHeld) return null;
    if (this.tool === "brush") return painting(this, this.value);
    if (this.tool === "eraser") return painting(this, BACKGROUND);
    if (this.tool === "fill") return filling(this);
    if (this.tool === "superpixels" && this.superpixels) return assigning(this, this.superpixels);
    if (this.tool === "strokes" && this.bands) return mending(this, this.bands);
    return null;
  }

  /** Take back the step that is being drawn. */
  private takeBack(): void {
    this.session.cancelStep();
    this.canvas.show();
  }

  private restored(): void {
    this.outlines?.trace();
    this.canvas.show();
    this.bar.show();
  }

  private startDrawing(tool: "polygon" | "hole"): void {
    const value = () => (tool === "hole" ? BACKGROUND : this.value);
    this.drawing = new CornerDraw(this.canvas, { type: "Polygon", stopClick: true });
    this.drawing.on("drawend", ({ feature }) => {
      const rings = ((feature as Feature<Polygon>).getGeometry() as Polygon).getCoordinates().map((ring) => this.canvas.toRing(ring));
      this.session.beginStep();
      this.session.mending = null;
      this.session.grid.paintRings(rings, value());
      this.done();
    });
    this.canvas.map.addInteraction(this.drawing);
  }

  private stopDrawing(): void {
    if (this.drawing) this.canvas.map.removeInteraction(this.drawing);
    this.drawing = null;
    this.outlines?.end();
    this.outlines = null;
  }

  private async load(what: "bands" | "superpixels"): Promise<void> {
    this.loading += 1;
    try {
      const { session: { scene, window }, superpixelSide } = this;
      if (what === "bands") this.bands ??= await bandsOf(scene, window);
      else if (!this.superpixels) {
        const found = await superpixelsOf(scene, window, superpixelSide);
        if (superpixelSide === this.superpixelSide) this.superpixels = found; // else others were asked for meanwhile
      }
    } catch (error) {
      tell((error as Error).message, "fault");
    } finally {
      this.loading -= 1;
    }
    this.bar.show();
  }

  /** Whether the tool needs something that is not there: it is being loaded, or could not be. */
  get waitsFor(): "loading" | "failed" | null {
    if (!(this.tool === "strokes" && !this.bands) && !(this.tool === "superpixels" && !this.superpixels)) return null;
    return this.loading ? "loading" : "failed";
  }

  /** Hide the classes, or show them again. */
  toggleClasses(): void {
    this.hidden = !this.hidden;
    this.canvas.opacity(this.hidden ? 0 : this.opacity);
  }
}
