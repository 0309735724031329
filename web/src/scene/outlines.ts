/** Outlines of a scene: files with layers, true or old, and the class of each value of the field that tells classes. */

import { find, make } from "../dom";
import { fill, read, type Members } from "./members";
import type { Rows } from "./rows";
import type { Outline } from "./summary";

type Classes = Record<string, string>;

const choices = [...find<HTMLSelectElement>("class").options].map((option) => option.value).filter(Boolean);

export class Outlines {
  private readonly first = find("first-outlines");
  /** By file and layer of a row: its layers with the classes that a person has changed after they were recognised. */
  private readonly told = new Map<string, Members[]>();

  /** @param more - the rows of further outlines. */
  constructor(private readonly more: Rows) {}

  /** Return the members of a request. */
  read(): Members {
    const found: Record<string, Members[]> = {};
    for (const row of this.rows()) {
      const { old, classes, ...outline } = read(row);
      const lines = classes === undefined ? {} : { classes: parse(String(classes)) };
      (found[old ? "prior_outlines" : "outlines"] ??= []).push(...(this.told.get(key(row)) ?? [{ ...outline, ...lines }]));
    }
    return found;
  }

  /** Write the outlines of a request into the fields. */
  fill(known: Members): void {
    const listed = (name: string): Members[] => (known[name] as Members[] | undefined) ?? [];
    const all = [...listed("outlines"), ...listed("prior_outlines").map((outline): Members => ({ ...outline, old: true }))];
    for (const [place, { classes, ...outline }] of all.entries()) {
      const values = { ...outline, classes: classes && write(classes as Classes) };
      const row = place === 0 ? this.first : this.more.add();
      fill(row, values);
      for (const part of row.querySelectorAll("details")) {
        const filled = [...part.querySelectorAll<HTMLInputElement | HTMLTextAreaElement>("[data-member]")].some((field) => field.value);
        if (filled) part.open = true;
      }
    }
  }

  /** Forget what was recognised of an outline after a person has changed which outline it is. */
  forget(field: HTMLElement): void {
    const row = field.closest<HTMLElement>("#first-outlines, #more-outlines > *");
    const member = field.dataset["member"];
    if (row && member !== undefined && member !== "old") this.told.delete(key(row));
  }

  /** Return fields in which a person chooses the class of each value; `changed` is called after that. */
  mapping(items: Outline[], changed: () => void): Node[] {
    const values = items.flatMap((item) => (item.class_field === null ? [] : item.class_values.map((text) => ({ item, text }))));
    return values.map(({ item, text }, index) => {
      const id = `value-${index}`;
      const names = [...new Set([...choices, item.class])];
      const select = make("select", { id }, ...names.map((name) => make("option", { selected: name === item.class }, name)));
      const row = this.rowOf(item);
      select.disabled = row === undefined;
      select.addEventListener("change", () => {
        if (row) this.tell(row, items.filter((other) => this.rowOf(other) === row), item, text, select.value);
        changed();
      });
      return make("div", {}, make("label", { for: id }, `${item.class_field}: “${text}” is`), select);
    });
  }

  /** Say of which class a value is; all other values stay as the server understood them. */
  private tell(row: HTMLElement, items: Outline[], changed: Outline, value: string, name: string): void {
    const layers = [...new Set(items.map((item) => item.layer))];
    const told = layers.map((layer): Members => {
      const ofLayer = items.filter((item) => item.layer === layer);
      const field = ofLayer.find((item) => item.class_field !== null)?.class_field;
      const { path, drawn_from, drawn_to } = read(row);
      const where = { path, layer, drawn_from, drawn_to };
      if (!field) return { ...where, class: ofLayer[0]?.class };
      const pairs = ofLayer.flatMap((item) => item.class_values.map((text) => [text, item === changed && text === value ? name : item.class]));
      return { ...where, class_field: field, classes: Object.fromEntries(pairs) as Classes };
    });
    if (read(row)["class_field"]) fill(row, { classes: write(told[0]?.["classes"] as Classes) }); // a person wrote it there
    else this.told.set(key(row), told);
  }

  private rows(): HTMLElement[] {
    return [this.first, ...this.more.all].filter((row) => read(row)["path"]);
  }

  /** Return the row that an outline comes from; the server names files as rows do, unless a person spelt them otherwise. */
  private rowOf(item: Outline): HTMLElement | undefined {
    const rows = this.rows();
    const fits = ({ path, layer }: Members): boolean => path === item.file && (!layer || layer === item.layer);
    return rows.length === 1 ? rows[0] : rows.find((row) => fits(read(row)));
  }
}

function key(row: HTMLElement): string {
  const { path, layer } = read(row);
  return JSON.stringify([path, layer]);
}

/** Read lines of a value and its class. */
function parse(text: string): Classes {
  const lines = text.split("\n").filter((line) => line.trim());
  const pairs = lines.map((line) => {
    const at = line.lastIndexOf("=");
    if (at < 1) throw new Error(`Found “${line.trim()}” among the values of the field; expected a value, “=”, and its class.`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  return Object.fromEntries(pairs) as Classes;
}

function write(classes: Classes): string {
  return Object.entries(classes).map(([value, name]) => `${value} = ${name}`).join("\n");
}
