/** What correcting asks of the server: windows of the scene on its own grid, and the submission. */

import { api } from "../../page";
import { encodeRuns, NOT_JUDGED } from "./grid";
import type { Session, Shown, Window } from "./session";

export interface Submitted {
  label_events: number[];
  judged_px: number;
  edited_px: number;
}

interface Place extends Window {
  scene_height: number;
  scene_width: number;
}

const USUAL_SIDE = 256;
const LARGEST_SIDE = 512;

/** The address of a view of a window. */
export function viewAddress(scene: number, view: string, window: Window): string {
  return `/api/v1/scenes/${scene}/tiles/${view}/window?${query(window)}`;
}

/** The window over a box (west, south, east, north); over a place, the usual one around it. */
export async function findWindow(scene: number, box: readonly number[]): Promise<Place> {
  const [west = 0, south, east = 0, north] = box.map((degrees, place) => (place % 2 ? degrees : turned(degrees)));
  const place = await api.get<Place>(`/api/v1/scenes/${scene}/window?west=${west}&south=${south}&east=${east}&north=${north}`);
  const isPlace = west === east && south === north;
  const [row_off, height] = side(place.row_off, place.height, place.scene_height, isPlace);
  const [col_off, width] = side(place.col_off, place.width, place.scene_width, isPlace);
  return { ...place, row_off, height, col_off, width };
}

/** A longitude between -180 and 180 degrees. */
function turned(lon: number): number {
  return lon - 360 * Math.round(lon / 360);
}

/** First pixel and length of a side: not beyond what can be corrected at once, nor beyond the scene. */
function side(first: number, length: number, most: number, isPlace: boolean): [number, number] {
  const wanted = Math.min(most, isPlace ? USUAL_SIDE : Math.min(LARGEST_SIDE, length));
  const middle = first + length / 2;
  return [Math.max(0, Math.min(most - wanted, Math.round(middle - wanted / 2))), wanted];
}

export async function classesOf(scene: number, shown: Shown, window: Window): Promise<Uint8Array<ArrayBuffer>> {
  const version = shown.version === null ? "" : `&version=${shown.version}`;
  return new Uint8Array(await bytes(`/api/v1/scenes/${scene}/maps/${shown.layer}/window?${query(window)}${version}`));
}

export async function bandsOf(scene: number, window: Window): Promise<Float32Array> {
  return new Float32Array(await bytes(`/api/v1/scenes/${scene}/bands/window?${query(window)}`));
}

export async function superpixelsOf(scene: number, window: Window, side: number): Promise<Int32Array> {
  return new Int32Array(await bytes(`/api/v1/scenes/${scene}/superpixels?${query(window)}&side_px=${side}`));
}

/** @param onlyChanged - leave what was not changed as not judged */
export function submit(session: Session, onlyChanged: boolean): Promise<Submitted> {
  const { window, shown, seconds, grid, began } = session;
  const judged = (value: number, pixel: number) => (onlyChanged && value === began.values[pixel] ? NOT_JUDGED : value);
  const runs = encodeRuns(grid.values.map(judged));
  return api.post(`/api/v1/scenes/${session.scene}/corrections`, { id: session.idFor(onlyChanged), ...window, shown, seconds, runs });
}

async function bytes(path: string): Promise<ArrayBuffer> {
  return (await api.request("GET", path)).arrayBuffer();
}

function query({ row_off, col_off, height, width }: Window): string {
  return `row_off=${row_off}&col_off=${col_off}&height=${height}&width=${width}`;
}
