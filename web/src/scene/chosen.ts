/** What a person chose of the files on a computer: which of them the server takes, and which belong together. */

import { plainName } from "../upload";

const SHAPEFILE_PART = /\.(shp|shx|dbf|prj|cpg)$/i;
const NAMED = 5; // of names that are listed

const hasEnding = (name: string, endings: string[]): boolean => endings.some((ending) => name.toLowerCase().endsWith(ending));

/** Return the files whose names have one of the endings, and the names of the others. */
export function sortOut<T extends { name: string }>(files: T[], endings: string[]): { taken: T[]; leftOut: string[] } {
  const taken = files.filter(({ name }) => hasEnding(plainName(name), endings));
  return { taken, leftOut: files.filter((file) => !taken.includes(file)).map(({ name }) => name) };
}

/** Return the files with these endings, each by its name; the parts of a shapefile are one, with the name of its .shp. */
export function wholes(names: string[], endings: string[]): string[] {
  const found = new Map<string, string>();
  for (const name of names.filter((item) => hasEnding(item, endings))) {
    const whole = name.replace(SHAPEFILE_PART, "").toLowerCase();
    if (!found.has(whole) || /\.shp$/i.test(name)) found.set(whole, name);
  }
  return [...found.values()];
}

/** List names; of many, the first ones and how many there are besides. */
export function listed(names: string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
