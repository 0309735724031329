/** The dialog with a figure of what is in view, to print or to save. */

import { getHeight, getWidth } from "ol/extent";
import { toLonLat } from "ol/proj";

import { type Api, type AreaReport, type Box, classesOn, type Scene, scaleEnd } from "../../api";
import { make } from "../../dom";
import { areaText, intervalText } from "../km2";
import type { Ground, MapPage } from "../page";
import { boxOf, isPredicted } from "../places";
import { saveAs } from "../takeaway";
import { picture } from "./picture";
import { draw, type Figure, GAP, incompleteText, MAP_HEIGHT, MAP_WIDTH } from "./sheet";

const LONGEST_MS = 20_000; // for the tiles, at the first attempt

/** Draw the figure and show it. */
export async function showFigure(api: Api, page: MapPage): Promise<void> {
  const canvas = make("canvas", { role: "img" });
  const title = make("input", { type: "text", id: "figure-title", value: page.scene?.name ?? "" });
  const save = make("button", { type: "button" }, "Save as PNG");
  const print = make("button", { type: "button", class: "main", onclick: () => window.print() }, "Print…");
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const again = make("button", { type: "button", hidden: true, onclick: () => void drawAgain() }, "Wait longer, draw it again");
  const said = make("p", { class: "soft", role: "status" });
  const dialog = make(
    "dialog", { class: "figure", "aria-label": "Figure of what is in view" },
    make("div", { class: "figure-bar" }, make("label", { for: title.id }, "Title"), title, again, print, save, close),
    said, make("div", { class: "sheet" }, canvas),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  let figure: Figure | null = null;
  let longestMs = LONGEST_MS;
  const show = (): void => {
    if (!figure) return;
    figure.title = title.value;
    draw(canvas, figure);
    canvas.setAttribute("aria-label", inWords(figure));
  };
  const drawAgain = async (): Promise<void> => {
    save.disabled = print.disabled = again.disabled = true;
    said.className = "soft";
    said.textContent = "Drawing…";
    try {
      figure = await figureOf(api, page, title.value, longestMs);
    } catch (error) {
      said.textContent = `The figure cannot be drawn: ${(error as Error).message}`;
      again.hidden = again.disabled = false;
      return;
    }
    longestMs *= 2;
    show();
    const { incomplete } = figure;
    save.disabled = print.disabled = again.disabled = false;
    again.hidden = incomplete.length === 0;
    said.className = incomplete.length ? "bad" : "soft";
    const size = "A4, landscape. To get a PDF, print to a file.";
    said.textContent = incomplete.length ? `${incompleteText(incomplete)} The figure says so, too, if you print or save it now. ${size}` : size;
  };
  title.addEventListener("input", show);
  save.addEventListener("click", () => canvas.toBlob((content) => content && saveAs(content, `${fileName(title.value)}.png`), "image/png"));
  await drawAgain();
}

async function figureOf(api: Api, page: MapPage, title: string, longestMs: number): Promise<Figure> {
  const { ground: shows, layout, olMap } = page;
  const view = olMap.getView();
  const centre = view.getCenter() as [number, number] | undefined;
  if (!shows || !centre) throw new Error("There is no scene to draw, or it is still being loaded.");
  const [first, second] = page.layersShown();
  const width = second ? (MAP_WIDTH - GAP) / 2 : MAP_WIDTH;
  const shown = view.calculateExtent(olMap.getSize());
  const resolution = Math.max(getWidth(shown) / width, getHeight(shown) / MAP_HEIGHT); // all that is in view, and some more
  const ground = { centre, resolution, swipe: layout.swipe / 100 };
  const half = [(resolution * width) / 2, (resolution * MAP_HEIGHT) / 2] as const;
  const box = boxOf([centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]], shows.map);
  // Before anything is waited for: meanwhile the map may show something else.
  const missing = page.layersMissing();
  const captions = page.captions();
  const legend = { classes: classesOn(page.map, page.otherMap), layers: page.layerTitles(), scales: page.layerScales() };
  const isTwo = page.sides.length > 1;
  const images = [shows.scene, ...(page.otherScene && page.otherScene !== shows.scene && isTwo ? [page.otherScene] : [])].map(imageOf);
  const areasOf = areasIn(api, shows, box);
  const pictures = await Promise.all([first, ...(second ? [second] : [])].map((copies) => picture(copies, ground, width, MAP_HEIGHT, longestMs)));
  const { report, unknown } = await areasOf;
  const latitude = toLonLat(centre)[1] as number;
  return {
    title,
    maps: pictures.map((drawn, place) => ({ picture: drawn.canvas, caption: second ? captions[place] ?? "" : captions.join("   |   ") })),
    swipe: layout.mode === "swipe" ? ground.swipe : null,
    ...legend,
    incomplete: [...new Set([...pictures.flatMap(({ incomplete }) => incomplete.map((of) => page.titleOf(of))), ...missing])],
    areas: report?.totals ?? [],
    areasNote: report ? `${isTwo ? "On the left. " : ""}${noteOf(report)}` : "",
    metres: resolution * Math.cos((latitude * Math.PI) / 180),
    source: sourceOf(images, modelOf(page, shows.version), report, unknown, box),
  };
}

/** The areas in the figure, or why they are not known: they keep nobody from the rest of it. */
async function areasIn(
  api: Api, { scene, map, version }: Ground, box: Box | null,
): Promise<{ report: AreaReport | null; unknown: string }> {
  if (!isPredicted(map) || box === null) return { report: null, unknown: "the scene has not been predicted by this version." };
  try {
    return { report: await api.areas(scene.id, version, box), unknown: "" };
  } catch (error) {
    return { report: null, unknown: (error as Error).message };
  }
}

function noteOf(report: AreaReport): string {
  const why = report.totals.find((total) => total.undefined_because)?.undefined_because;
  return why ? `By version ${report.model_version}. No interval: ${why}.` : `By version ${report.model_version}. The interval covers errors like those on its validation ground.`;
}

function imageOf(scene: Scene): string {
  return [`Scene ${scene.name}`, scene.sensor, scene.acquired?.slice(0, 10)].filter(Boolean).join(", ");
}

function modelOf({ versions }: MapPage, version: number | null): string {
  const labels = versions.find((item) => item.version === version)?.labels;
  return version === null ? "" : ` Model version ${version}${labels === undefined ? "" : `, trained on ${labels} labels`}.`;
}

/** What the figure was made of; `images`: the one that shows, or those on the left and on the right. */
function sourceOf(images: string[], model: string, report: AreaReport | null, unknown: string, box: Box | null): string[] {
  const image = images.length > 1 ? images.map((text, place) => `${place ? "Right" : "Left"}: ${text}`).join(". ") : images[0];
  const corners = box ? ` ${degrees(box[1], box[3], "N", "S")}, ${degrees(box[0], box[2], "E", "W")}.` : "";
  const day = new Date().toISOString().slice(0, 10);
  return [`${image}.${model}${corners} Web Mercator; the scale holds in the middle. Drawn ${day}.`, ...(report ? [] : [`Areas are not known: ${unknown}`])];
}

function degrees(from: number, to: number, positive: string, negative: string): string {
  const one = (value: number): string => `${Math.abs(value).toFixed(3)}° ${value < 0 ? negative : positive}`;
  return `${one(from)} to ${one(to)}`;
}

/** What the figure says, for those who do not see it. */
function inWords(figure: Figure): string {
  const areas = figure.areas.map((area) => `${area.name} ${areaText(area)}, 95 % interval ${intervalText(area)}`);
  const scales = figure.scales.map(([name, scale]) => `${name}: ${scale.quantity}, ${scaleEnd(scale, scale.low)} to ${scaleEnd(scale, scale.high)}.`);
  const incomplete = figure.incomplete.length ? [incompleteText(figure.incomplete)] : [];
  return [`${figure.title}.`, ...incomplete, ...figure.maps.map(({ caption }) => `${caption}.`), ...scales, ...areas.map((text) => `${text}.`), ...figure.source].join(" ");
}

function fileName(title: string): string {
  return title.trim().replace(/[^\p{L}\p{N}._-]+/gu, "-") || "figure";
}
