/** Fields as members of a request: each field names its member in `data-member`, one in another as `region.height`. */

export type Members = Record<string, unknown>;
type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** Return the fields of a form or of a part of it (`data-part`); those of parts belong to the part. */
function fieldsOf(root: HTMLElement): Field[] {
  const isPart = "part" in root.dataset;
  return [...root.querySelectorAll<Field>("[data-member]")].filter((field) => field.closest("[data-part]") === (isPart ? root : null));
}

/** Return the value of a field; undefined if it says nothing. */
function valueOf(field: Field): unknown {
  if (field.type === "checkbox") return (field as HTMLInputElement).checked || undefined;
  const text = field.value.trim();
  return text && field.type === "number" ? Number(text) : text || undefined;
}

/** Return what the fields of a form, or of a part of it, say. */
export function read(root: HTMLElement): Members {
  const found: Members = {};
  for (const field of fieldsOf(root)) {
    const value = valueOf(field);
    if (value === undefined) continue;
    const [name = "", inner] = (field.dataset["member"] ?? "").split(".");
    found[name] = inner === undefined ? value : { ...(found[name] as Members | undefined), [inner]: value };
  }
  return found;
}

/** Write values into the fields of a form, or of a part of it; fields without a value stay as they are. */
export function fill(root: HTMLElement, values: Members): void {
  for (const field of fieldsOf(root)) {
    const [name = "", inner] = (field.dataset["member"] ?? "").split(".");
    const value = inner === undefined ? values[name] : (values[name] as Members | undefined)?.[inner];
    if (value === undefined || value === null) continue;
    if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = Boolean(value);
    else field.value = String(value);
  }
}
