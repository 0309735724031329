/** What a reader has done to a section stays when the section is replaced: open details, scrolled tables, the focus. */

/** How an element is found again in a section: the place among those that a selector finds. */
interface Address {
  selector: string;
  place: number;
}

interface Kept {
  opened: Set<string>;
  scrolled: { at: Address; left: number; top: number }[];
  focused: Address | null;
}

/** Return how an element is found again; null if nothing tells it from others. Ids repeat between sections only. */
function addressOf(section: Element, element: Element): Address | null {
  if (element.id) return { selector: `#${CSS.escape(element.id)}`, place: 0 };
  const owner = element.localName === "summary" ? element.closest("details[id]") : null;
  const named = ["href", "aria-label"].find((name) => element.hasAttribute(name));
  let selector: string;
  if (owner) selector = `#${CSS.escape(owner.id)} > summary`;
  else if (named) selector = `${element.localName}[${named}="${CSS.escape(element.getAttribute(named) ?? "")}"]`;
  else return null;
  return { selector, place: [...section.querySelectorAll(selector)].indexOf(element) };
}

function findAgain(section: Element, address: Address): HTMLElement | undefined {
  return section.querySelectorAll<HTMLElement>(address.selector)[address.place];
}

function keep(section: Element): Kept {
  const scrolled: Kept["scrolled"] = [];
  for (const element of section.querySelectorAll(".scroll")) {
    const at = element.scrollLeft || element.scrollTop ? addressOf(section, element) : null;
    if (at) scrolled.push({ at, left: element.scrollLeft, top: element.scrollTop });
  }
  const active = document.activeElement;
  return {
    opened: new Set([...section.querySelectorAll("details[open][id]")].map((item) => item.id)),
    scrolled,
    focused: active && active !== section && section.contains(active) ? addressOf(section, active) : null,
  };
}

function restore(section: Element, kept: Kept): void {
  for (const item of section.querySelectorAll<HTMLDetailsElement>("details[id]")) item.open = kept.opened.has(item.id);
  for (const { at, left, top } of kept.scrolled) findAgain(section, at)?.scrollTo({ left, top, behavior: "instant" });
  if (kept.focused) findAgain(section, kept.focused)?.focus({ preventScroll: true });
}

/** Replace what an element holds, as `replace` does; what the reader has done to it stays. */
export function keptWhile(element: HTMLElement, replace: () => void): void {
  const kept = keep(element);
  replace();
  restore(element, kept);
}

/** Return HTML as a browser writes it, so that what was parsed can be compared with what was sent. */
function written(html: string): string {
  const parsed = document.createElement("template");
  parsed.innerHTML = html; // inert: nothing of it is loaded or run
  return parsed.innerHTML.trim();
}

/** Leave each section alone whose HTML has not changed; keep of the others what the reader has done to them. */
export function keepWhatReadersDo(sections: readonly HTMLElement[]): void {
  const shown = new Map<EventTarget, string>(sections.map((section) => [section, section.innerHTML.trim()]));
  const kept = new Map<EventTarget, Kept>();
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const { detail, target: section } = event as CustomEvent<{ shouldSwap: boolean; serverResponse: string }>;
    if (!detail.shouldSwap || !(section instanceof HTMLElement)) return;
    const html = written(detail.serverResponse);
    detail.shouldSwap = html !== shown.get(section);
    shown.set(section, html);
    if (detail.shouldSwap) kept.set(section, keep(section));
  });
  document.body.addEventListener("htmx:afterSwap", (event) => {
    const section = event.target as HTMLElement;
    const before = kept.get(section);
    if (before) restore(section, before);
  });
}
