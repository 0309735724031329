/** Small helpers to build pages without a framework. Text is set as text, never as HTML. */

type Attributes = Record<string, string | number | boolean | EventListener | undefined>;

/** Make an element: attributes, listeners by names that begin with `on`, and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** Find an element that the page must have. */
export function find<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element as T;
}

/** Return a new random id. `crypto.randomUUID` is there on localhost and over HTTPS only. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = [...bytes].map((byte, at) => (at === 6 ? (byte & 0x0f) | 0x40 : at === 8 ? (byte & 0x3f) | 0x80 : byte).toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Replace what an element holds; what had the focus keeps it, if it is there again, itself or under the same id. */
export function refill(element: HTMLElement, ...children: Node[]): void {
  const focused = document.activeElement;
  element.replaceChildren(...children);
  if (!(focused instanceof HTMLElement) || focused === document.activeElement) return;
  const again = element.contains(focused) ? focused : focused.id ? document.getElementById(focused.id) : null;
  if (again && element.contains(again)) again.focus();
}

/** Tell the reader something that ends by itself; what still stands there is told anew, not twice. */
export function tell(text: string, kind: "note" | "fault" = "note"): void {
  const box = find("messages");
  for (const line of box.querySelectorAll(`.${kind}`)) if (line.textContent === text) line.remove();
  const line = make("p", { class: kind, role: kind === "fault" ? "alert" : "status" }, text);
  box.append(line);
  setTimeout(() => line.remove(), kind === "fault" ? 12000 : 5000);
}
