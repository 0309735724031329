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

/** Tell the reader something that ends by itself. */
export function tell(text: string, kind: "note" | "fault" = "note"): void {
  const box = find("messages");
  const line = make("p", { class: kind, role: kind === "fault" ? "alert" : "status" }, text);
  box.append(line);
  setTimeout(() => line.remove(), kind === "fault" ? 12000 : 5000);
}
