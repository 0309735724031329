/** An A4 sheet on a canvas: the map, and beside it all that makes it a figure. The same for the printer and as PNG. */

import { type Area, type Scale, scaleEnd } from "../../api";
import { areaText, intervalText } from "../km2";

/** A4, landscape, 210 dots an inch. */
export const WIDTH = 2456;
export const HEIGHT = 1737;
const MARGIN = 80;
const SIDE = 560;
const HEAD = 135;
const FOOT = 150;
const INK = "#0f172a";
const SOFT = "#475569";
const FONT = "system-ui, sans-serif";

export const MAP_WIDTH = WIDTH - 2 * MARGIN - SIDE - 50;
export const MAP_HEIGHT = HEIGHT - HEAD - FOOT - MARGIN;

export interface Entry {
  name: string;
  colour: string;
}

export interface Figure {
  title: string;
  /** One map, or two side by side, whose widths add up to that of the map. */
  maps: { picture: HTMLCanvasElement; caption: string }[];
  /** Share from the left at which a swipe cuts the map; null: it does not. */
  swipe: number | null;
  classes: Entry[];
  layers: string[];
  scales: [title: string, scale: Scale][];
  /** Layers that are not there, or lack parts: it is said on the map itself, since what is printed must not hide it. */
  incomplete: string[];
  areas: Area[];
  areasNote: string;
  /** Metres on the ground in a pixel, in the middle of the map. */
  metres: number;
  source: string[];
}

export const GAP = 20;

export function draw(canvas: HTMLCanvasElement, figure: Figure): void {
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  context.fillStyle = "white";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  context.textBaseline = "top";
  write(context, figure.title, MARGIN, MARGIN - 15, 52, INK, WIDTH - 2 * MARGIN, 1, 600);
  maps(context, figure);
  if (figure.incomplete.length) banner(context, incompleteText(figure.incomplete));
  side(context, figure);
  let y = HEIGHT - FOOT - MARGIN / 2 + 55;
  for (const line of figure.source) y = write(context, line, MARGIN, y, 25, SOFT, WIDTH - 2 * MARGIN, 2) + 6;
}

export function incompleteText(layers: string[]): string {
  return `Incomplete: parts of these layers are missing: ${layers.join(", ")}.`;
}

/** A line over the upper edge of the map. */
function banner(context: CanvasRenderingContext2D, text: string): void {
  context.fillStyle = "#fef2f2";
  context.fillRect(MARGIN + 1, HEAD + 1, MAP_WIDTH - 2, 54);
  write(context, text, MARGIN + 20, HEAD + 10, 28, "#991b1b", MAP_WIDTH - 40, 1, 600);
}

function maps(context: CanvasRenderingContext2D, { maps, swipe }: Figure): void {
  let x = MARGIN;
  for (const { picture, caption } of maps) {
    context.fillStyle = "#e2e8f0";
    context.fillRect(x, HEAD, picture.width, picture.height);
    context.drawImage(picture, x, HEAD);
    if (swipe !== null) {
      context.fillStyle = "white";
      context.fillRect(x + picture.width * swipe - 2, HEAD, 4, picture.height);
    }
    context.strokeStyle = INK;
    context.lineWidth = 2;
    context.strokeRect(x, HEAD, picture.width, picture.height);
    write(context, caption, x, HEAD + picture.height + 12, 25, INK, picture.width, 1);
    x += picture.width + GAP;
  }
}

function side(context: CanvasRenderingContext2D, figure: Figure): void {
  const x = WIDTH - MARGIN - SIDE;
  northArrow(context, x + 40, HEAD);
  scaleBar(context, x + 130, HEAD + 60, figure.metres);
  let y = HEAD + 175;
  y = heading(context, "Classes", x, y);
  for (const { name, colour } of figure.classes) {
    context.fillStyle = `${colour}40`;
    context.fillRect(x, y, 56, 32);
    context.strokeStyle = colour;
    context.lineWidth = 4;
    context.strokeRect(x + 2, y + 2, 52, 28);
    y = write(context, name, x + 76, y, 28, INK, SIDE - 76, 2) + 16;
  }
  if (figure.layers.length) y = heading(context, "Layers", x, y + 20);
  for (const layer of figure.layers) y = write(context, layer, x, y, 26, INK, SIDE, 2) + 8;
  for (const [title, scale] of figure.scales) y = colourBar(context, title, scale, x, y + 20);
  if (figure.areas.length) y = heading(context, "Area in the map", x, y + 20);
  for (const area of figure.areas) {
    y = write(context, area.name, x, y, 28, INK, SIDE, 2, 600) + 2;
    y = write(context, `${areaText(area)}   (95 %: ${intervalText(area)})`, x, y, 26, INK, SIDE, 1) + 16;
  }
  if (figure.areasNote) write(context, figure.areasNote, x, y, 22, SOFT, SIDE, 5);
}

/** The colours of a map with what its values are and the ends of their range. */
function colourBar(context: CanvasRenderingContext2D, title: string, scale: Scale, x: number, y: number): number {
  y = heading(context, title, x, y);
  const colours = context.createLinearGradient(x, 0, x + SIDE, 0);
  scale.colours.forEach((colour, place) => colours.addColorStop(place / (scale.colours.length - 1), colour));
  context.fillStyle = colours;
  context.fillRect(x, y, SIDE, 28);
  const highest = scaleEnd(scale, scale.high);
  write(context, scaleEnd(scale, scale.low), x, y + 34, 24, INK, SIDE / 2, 1);
  y = write(context, highest, x + SIDE - context.measureText(highest).width, y + 34, 24, INK, SIDE / 2, 1);
  return write(context, scale.quantity, x, y, 24, SOFT, SIDE, 2) + 8;
}

function heading(context: CanvasRenderingContext2D, text: string, x: number, y: number): number {
  return write(context, text, x, y, 30, SOFT, SIDE, 1, 600) + 14;
}

/** An arrow to the north, which is up in Web Mercator. */
function northArrow(context: CanvasRenderingContext2D, x: number, y: number): void {
  context.fillStyle = INK;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + 26, y + 80);
  context.lineTo(x, y + 62);
  context.lineTo(x - 26, y + 80);
  context.fill();
  write(context, "N", x - 13, y + 88, 36, INK, 60, 1, 600);
}

function scaleBar(context: CanvasRenderingContext2D, x: number, y: number, metres: number): void {
  const length = niceLength(metres * 400);
  const width = length / metres;
  context.strokeStyle = context.fillStyle = INK;
  context.lineWidth = 2;
  for (const [part, filled] of [[0, true], [0.5, false]] as const) {
    if (filled) context.fillRect(x + part * width, y, width / 2, 14);
    context.strokeRect(x + part * width, y, width / 2, 14);
  }
  const label = (value: number): string => (length >= 1000 ? `${value / 1000}` : `${value}`);
  write(context, "0", x - 6, y + 22, 26, INK, 100, 1);
  write(context, `${label(length)} ${length >= 1000 ? "km" : "m"}`, x + width - 20, y + 22, 26, INK, 200, 1);
}

/** The largest of 1, 2, 5 times a power of ten that is not larger. */
export function niceLength(longest: number): number {
  const power = 10 ** Math.floor(Math.log10(longest));
  return (longest >= 5 * power ? 5 : longest >= 2 * power ? 2 : 1) * power;
}

/** Write text in at most so many lines; return where the next line begins. */
function write(
  context: CanvasRenderingContext2D, text: string, x: number, y: number, size: number, colour: string, width: number, lines: number, weight = 400,
): number {
  context.fillStyle = colour;
  context.font = `${weight} ${size}px ${FONT}`;
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && lines > 1 && context.measureText(longer).width > width) {
      context.fillText(line, x, y);
      y += size * 1.25;
      lines -= 1;
      line = word;
    } else line = longer;
  }
  context.fillText(line, x, y, width);
  return y + size * 1.25;
}
