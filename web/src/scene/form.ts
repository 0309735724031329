/** The form of a scene as a request, and what is known of a scene as the beginning of the form. */

import { find } from "../dom";
import { fill, read, type Members } from "./members";
import { Outlines } from "./outlines";
import { Rows } from "./rows";

/** Unfold everything that an element is folded away in. */
function unfold(element: HTMLElement): void {
  for (let around = element.closest("details"); around; around = around.parentElement?.closest("details") ?? null) around.open = true;
}

export class SceneForm {
  readonly element = find<HTMLFormElement>("scene");
  readonly bands: Rows;
  readonly outlines: Outlines;
  private readonly channels: Rows;
  private readonly tiles: Rows;
  private readonly flags = [...document.querySelectorAll<HTMLInputElement>('input[name="masked"]')];
  private readonly path = find<HTMLInputElement>("path");

  /** @param changed - called after a person has changed the form, but for the fate of labels: it changes no scene. */
  constructor(private readonly changed: () => void) {
    const rows = (id: string): Rows => new Rows(id, () => this.note());
    this.bands = rows("bands");
    this.channels = rows("channels");
    this.tiles = rows("tiles");
    this.outlines = new Outlines(rows("more-outlines"));
    const known = this.element.dataset["known"];
    if (known) this.fill(JSON.parse(known) as Members);
    this.element.addEventListener("input", ({ target }) => {
      if ((target as HTMLInputElement).name === "labels") return;
      this.outlines.forget(target as HTMLElement);
      this.note();
    });
    // A field that is wrong must be seen: the browser says nothing of one that is folded away.
    this.element.addEventListener("invalid", ({ target }) => unfold(target as HTMLElement), true);
  }

  /** Return the request that the form makes up. */
  request(): Members {
    const { dem, ...members } = read(this.element);
    const lists = { bands: this.bands.read(), channels: this.channels.read(), dem: [...(dem ? [dem] : []), ...this.tiles.read()] };
    const said = Object.fromEntries(Object.entries(lists).filter(([, items]) => items.length));
    return { ...members, ...said, ...this.outlines.read(), ...this.masked() };
  }

  /** Return what becomes of labels; nothing if there are none, or no one has said it. */
  fate(): Members {
    const chosen = this.element.querySelector<HTMLInputElement>('input[name="labels"]:checked');
    return chosen ? { labels: chosen.value } : {};
  }

  /** Offer files that were uploaded in every field that names one. */
  offer(paths: string[]): void {
    find("files").append(...paths.map((path) => new Option("", path)));
  }

  /** Note a change that a script made. */
  note(): void {
    const hasBands = this.bands.all.length > 0;
    this.path.required = !hasBands;
    this.path.setCustomValidity(hasBands && this.path.value ? "Name a product or single bands: empty this field, or remove the bands." : "");
    this.changed();
  }

  /** Return the flags that make a pixel unknown, if they are not those of the setting. */
  private masked(): Members {
    if (this.flags.every((flag) => flag.checked === flag.defaultChecked)) return {};
    return { masked: this.flags.filter((flag) => flag.checked).map((flag) => flag.value) };
  }

  private fill(known: Members): void {
    const listed = (name: string): Members[] => (known[name] as Members[] | undefined) ?? [];
    const [dem, ...tiles] = listed("dem");
    fill(this.element, { ...known, dem });
    for (const band of listed("bands")) this.bands.add(band);
    for (const channel of listed("channels")) this.channels.add(channel);
    for (const tile of tiles) this.tiles.add(tile);
    this.outlines.fill(known);
    const masked = known["masked"] as string[] | undefined;
    if (masked) for (const flag of this.flags) flag.checked = masked.includes(flag.value);
    const more = find<HTMLDetailsElement>("more");
    const unfolded = new Set(["role", "path", "outlines", "prior_outlines", "dem"]);
    const isFolded = (name: string): boolean => !unfolded.has(name);
    more.open = Object.keys(known).some(isFolded) || Object.keys(dem ?? {}).length > 1 || more.querySelector(".row") !== null;
  }
}
