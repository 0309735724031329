/** What the server understood of a scene, as text: the same as the command line shows (`cli/scene_text.py`). */

import { make } from "../dom";

export interface Outline {
  file: string;
  layer: string | null;
  class: string;
  class_field: string | null;
  class_values: string[];
  drawn_from: string | null;
  drawn_to: string | null;
  polygons: number;
  notes: string[];
}

interface Raster {
  name: string;
  unit: string;
  scale: number;
  offset: number;
  nodata: number | null;
  file: string;
  index: number;
  resampled: boolean;
}

interface ClassArea {
  class: string;
  polygons: number;
  pixels: number;
  area_km2: number;
}

export interface Summary {
  name: string;
  role: string;
  kind: string;
  product_id: string | null;
  sensor: string | null;
  level: string | null;
  acquired: string | null;
  crs: string;
  width: number;
  height: number;
  center: [number, number];
  pixel_size: [number, number];
  pixel_unit: string;
  pixel_size_m: [number, number];
  patch_size_px: number;
  bands: Raster[];
  further_channels: Raster[];
  quality: { name: string; table: string | null; masked: string[]; file: string }[];
  channels: string[];
  pixels: { no_data: number; usable: number; flags: Record<string, number> };
  cloud_share: number | null;
  provider_cloud_percent: number | null;
  elevation: { files: string[]; coverage: number; lowest_m: number; highest_m: number } | null;
  outlines: Outline[];
  classes: ClassArea[];
  prior_outlines: { date: string | null; source: string | null; ring_m: number; outlines: Outline[]; classes: ClassArea[] } | null;
  border: string | null;
  notes: string[];
  left_out: { file: string; reason: string }[];
}

const rounded = (value: number, digits: number): string => String(Number(value.toPrecision(digits)));
const percent = (share: number): string => `${rounded(100 * share, 3)} %`;
const counted = (count: number, what: string): string => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

/** Return all outlines, true and old ones. */
export const outlinesOf = (summary: Summary): Outline[] => [...summary.outlines, ...(summary.prior_outlines?.outlines ?? [])];

/** Return a list of terms and what was understood of each. */
export function facts(summary: Summary): HTMLElement {
  const list = make("dl", { class: "facts" });
  for (const [term, ...lines] of terms(summary)) {
    list.append(make("dt", {}, term), make("dd", {}, ...lines.map((line) => make("div", {}, line))));
  }
  return list;
}

/** Return what a person has to read before using the scene, and which files are not used. */
export function warnings(summary: Summary): Node[] {
  const notes = [...new Set([...summary.notes, ...outlinesOf(summary).flatMap((outline) => outline.notes)])];
  const listed = (lines: string[]): HTMLElement => make("ul", {}, ...lines.map((line) => make("li", {}, line)));
  const shown: Node[] = notes.length ? [make("h3", {}, "Read this first"), listed(notes)] : [];
  if (!summary.left_out.length) return shown;
  const left = summary.left_out.map(({ file, reason }) => `${file}: ${reason}`);
  return [...shown, make("details", {}, make("summary", {}, `${left.length === 1 ? "1 file is" : `${left.length} files are`} not used`), listed(left))];
}

type Term = [term: string, ...lines: string[]];

function terms(summary: Summary): Term[] {
  const { pixels, elevation, prior_outlines: prior } = summary;
  const [longitude, latitude] = summary.center;
  const place = `${Math.abs(latitude).toFixed(4)}° ${latitude < 0 ? "S" : "N"} ${Math.abs(longitude).toFixed(4)}° ${longitude < 0 ? "W" : "E"}`;
  const raised = Object.entries(pixels.flags).filter(([name, share]) => share && name !== "fill");
  const found: Term[] = [
    ["name", `${summary.name} (${summary.role})`],
    ["product", summary.kind + (summary.product_id ? ` (${summary.product_id})` : "")],
    ["sensor", summary.sensor ?? "unknown"],
    ["taken", summary.acquired ?? "unknown"],
    ["level", level(summary)],
    ["place", `${place} (middle)`],
    ["size", `${summary.width} × ${summary.height} px of ${pixelSize(summary)}, ${summary.crs}`],
    ["patches", `of ${summary.patch_size_px} px`],
    ["bands", ...rasters(summary.bands)],
  ];
  if (summary.further_channels.length) found.push(["further channels", ...rasters(summary.further_channels)]);
  found.push(["channels", summary.channels.join(", ")]);
  if (summary.quality.length) found.push(["flags", ...summary.quality.map(flags)]);
  found.push(["pixels", `${percent(pixels.no_data)} without data (fill), ${percent(pixels.usable)} usable`]);
  if (raised.length) found[found.length - 1]?.push(`of those with data: ${raised.map(([name, share]) => `${name} ${percent(share)}`).join(", ")}`);
  if (summary.cloud_share !== null || summary.provider_cloud_percent !== null) found.push(["clouds", clouds(summary)]);
  if (elevation) {
    const heights = [elevation.lowest_m, elevation.highest_m].map((metres) => Math.round(metres).toLocaleString("en")).join(" to ");
    found.push(["elevation", elevation.files.join(", "), `${heights} m; covers ${percent(elevation.coverage)}`]);
  }
  if (summary.border) found.push(["border", summary.border]);
  if (summary.outlines.length) found.push(["outlines", ...summary.outlines.map(outlined)], ...summary.classes.map(area));
  if (prior) {
    const ring = prior.ring_m ? [`pixels within ${rounded(prior.ring_m, 6)} m of an edge teach nothing`] : [];
    found.push(["old outlines", `of ${prior.date ?? "an unknown date"} by ${prior.source ?? "an unknown source"}`, ...prior.outlines.map(outlined), ...ring]);
    found.push(...prior.classes.map(area));
  }
  return found;
}

function level(summary: Summary): string {
  if (summary.level === null) return summary.bands.some((band) => band.unit === "reflectance") ? "unknown" : "none (digital numbers)";
  const [refersTo = "", ...more] = summary.level.split(",");
  return [`${refersTo} reflectance`, ...more].join(",");
}

function pixelSize(summary: Summary): string {
  const sides = ([width, height]: [number, number]): string => [...new Set([rounded(width, 4), rounded(height, 4)])].join(" × ");
  if (summary.pixel_unit === "metre") return `${sides(summary.pixel_size)} m`;
  const unit = summary.pixel_unit === "degree" ? "°" : ` ${summary.pixel_unit}`;
  return `${sides(summary.pixel_size)}${unit} (${sides(summary.pixel_size_m)} m)`;
}

/** Return a line for each group of neighbours of one unit and scale, and one for each of its rasters. */
function rasters(all: Raster[]): string[] {
  const lines: string[] = [];
  const files = all.map((raster) => raster.file);
  let before = "";
  for (const raster of all) {
    const scaling = scaled(raster);
    if (scaling !== before) lines.push((before = scaling));
    const several = raster.index > 1 || files.filter((file) => file === raster.file).length > 1;
    const file = raster.file.slice(raster.file.lastIndexOf("/") + 1);
    lines.push(`– ${raster.name}: ${file}${several ? `, band ${raster.index}` : ""}${raster.resampled ? ", resampled onto the grid" : ""}`);
  }
  return lines;
}

function scaled({ unit, scale, offset, nodata }: Raster): string {
  const factor = scale === 1 && offset === 0 ? "" : ` = stored × ${rounded(scale, 6)}`;
  const added = offset ? ` ${offset < 0 ? "−" : "+"} ${rounded(Math.abs(offset), 6)}` : "";
  return `${unit === "1" ? "without a unit" : unit}${factor}${added}${nodata === null ? "" : `; no data: ${rounded(nodata, 6)}`}`;
}

function flags({ name, table, masked }: Summary["quality"][number]): string {
  return table === null ? `${name}: not decoded, makes nothing unknown` : `${name} (${table}): unknown is ${masked.join(", ") || "nothing"}`;
}

function clouds({ cloud_share: ours, provider_cloud_percent: stated }: Summary): string {
  const found = ours === null ? "not known here" : `${percent(ours)} by the flags`;
  return stated === null ? found : `${found}, ${rounded(stated, 6)} % by the provider`;
}

function outlined(item: Outline): string {
  const told = item.class_field ? `, where ${item.class_field} is ${item.class_values.map((value) => `“${value}”`).join(" or ")}` : "";
  return `${item.class} from ${item.file}${item.layer ? `, layer ${item.layer}` : ""}${told}: ${counted(item.polygons, "polygon")} near the scene`;
}

function area(item: ClassArea): Term {
  return [item.class, `${counted(item.polygons, "polygon")}, ${counted(item.pixels, "pixel")}, ${item.area_km2.toFixed(item.area_km2 < 1 ? 3 : 1)} km²`];
}
