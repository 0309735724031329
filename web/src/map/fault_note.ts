/** The note over a map that tells what could not be loaded: each cause once, with all that it concerns, and the offer to try again. */

import { make, refill } from "../dom";

/** Something that could not be loaded. */
export interface Fault {
  /** What people call it. */
  title: string;
  reason: string;
  /** It is being asked for again. */
  isTried: boolean;
  again: () => void;
}

/** A reason, all that is missing for it, and how to ask for that again. */
export interface Cause {
  reason: string;
  titles: string[];
  isTried: boolean;
  again: () => void;
}

const MOST_CAUSES = 3;

/** Put faults of the same reason together, in the order in which they are given. */
export function byCause(faults: readonly Fault[]): Cause[] {
  return [...new Set(faults.map(({ reason }) => reason))].map((reason) => {
    const those = faults.filter((fault) => fault.reason === reason);
    return {
      reason,
      titles: [...new Set(those.map(({ title }) => title))],
      isTried: those.every(({ isTried }) => isTried),
      again: () => those.forEach((fault) => fault.again()),
    };
  });
}

/** A text as a sentence: with a capital letter, unless it begins with something else, and a full stop. */
export function sentence(text: string): string {
  const whole = /[.!?]$/.test(text) ? text : `${text}.`;
  return whole.charAt(0).toUpperCase() + whole.slice(1);
}

let notes = 0; // on this page: the ids of their buttons differ

export class FaultNote {
  /** It is always there, so that screen readers read what comes into it. */
  readonly element = make("div", { class: "load-faults", role: "status" });
  private readonly number = (notes += 1);
  private causes: Cause[] = [];
  private shown = "";

  /** @param next - gets the focus if the button that had it goes away */
  constructor(private readonly next: HTMLElement) {}

  /** Show these faults and no others; what is said already is not said anew. */
  show(faults: readonly Fault[]): void {
    const causes = (this.causes = byCause(faults));
    const said = JSON.stringify(causes);
    if (said === this.shown) return;
    this.shown = said;
    const hadFocus = this.element.contains(document.activeElement);
    const lines = causes.slice(0, MOST_CAUSES).map((cause, place) => this.line(cause, place));
    const more = causes.length - lines.length;
    refill(this.element, ...lines, ...(more > 0 ? [make("p", {}, `There are ${more} more causes.`)] : []));
    if (hadFocus && !this.element.contains(document.activeElement)) this.next.focus();
  }

  private line({ titles, reason, isTried }: Cause, place: number): HTMLElement {
    const title = make("strong", {}, `Parts of the map could not be loaded: ${titles.join(", ")}.`);
    // A layer may have been made anew since this was written: what is asked for is what is missing at the click.
    const again = (): void => this.causes.filter((cause) => cause.reason === reason && !cause.isTried).forEach((cause) => cause.again());
    const id = `load-again-${this.number}-${place}`;
    const button = make("button", { type: "button", id, "aria-disabled": String(isTried), onclick: again }, isTried ? "Trying again…" : "Try again");
    return make("p", {}, title, " ", make("span", { class: "reason" }, sentence(reason)), " ", button);
  }
}
