/** Lists of rows that a person adds to: bands, channels, tiles, outlines. `<template data-row-of>` is one row of a list. */

import { find } from "../dom";
import { read, fill, type Members } from "./members";

export class Rows {
  private readonly list: HTMLElement;
  private readonly template: HTMLTemplateElement;
  private readonly button: HTMLButtonElement;

  /**
   * @param id - of the element that holds the rows.
   * @param changed - called after a row was added or removed.
   */
  constructor(id: string, private readonly changed: () => void) {
    this.list = find(id);
    this.template = document.querySelector<HTMLTemplateElement>(`template[data-row-of="${id}"]`)!;
    this.button = document.querySelector<HTMLButtonElement>(`[data-add="${id}"]`)!;
    this.button.addEventListener("click", () => this.add().querySelector<HTMLElement>("[data-member]")?.focus());
    this.button.disabled = false;
  }

  get all(): HTMLElement[] {
    return [...this.list.children] as HTMLElement[];
  }

  /** Add a row; returns it. */
  add(values: Members = {}): HTMLElement {
    const row = (this.template.content.cloneNode(true) as DocumentFragment).firstElementChild as HTMLElement;
    fill(row, values);
    for (const button of row.querySelectorAll("button")) button.disabled = false;
    row.querySelector("[data-remove]")?.addEventListener("click", () => this.remove(row));
    this.list.append(row);
    this.number();
    return row;
  }

  read(): Members[] {
    return this.all.map(read);
  }

  /** Remove a row; the focus goes to the next one, or to the button that adds one. */
  private remove(row: HTMLElement): void {
    const next = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector<HTMLElement>("[data-remove]") ?? this.button;
    row.remove();
    this.number();
    next.focus();
  }

  private number(): void {
    const what = this.template.content.querySelector("legend")?.textContent ?? "";
    for (const [place, row] of this.all.entries()) {
      const name = `${what} ${place + 1}`;
      const legend = row.querySelector("legend");
      if (legend) legend.textContent = name;
      row.querySelector("[data-remove]")?.setAttribute("aria-label", `Remove: ${name}`);
    }
    this.changed();
  }
}
