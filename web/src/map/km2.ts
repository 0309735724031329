/** Areas as people read them: with their 95 % interval, or a dash where it is not known. */

import type { Area } from "../api";

/** A number of km², with as many decimals as tell something of it. */
export function km2(value: number): string {
  const digits = value >= 100 || value === 0 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The best estimate, else the mapped area. */
export function areaText(area: Area): string {
  return `${km2(area.area_km2 ?? area.mapped_km2)} km²`;
}

export function intervalText(area: Area): string {
  return area.low_km2 === null || area.high_km2 === null ? "–" : `${km2(area.low_km2)} to ${km2(area.high_km2)}`;
}
