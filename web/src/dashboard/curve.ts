/** The learning curve: mean IoU on validation of the versions that were trained, with intervals, and of those served. */

import uPlot from "uplot";
import { find, make } from "../dom";
import { api } from "../page";

interface Track {
  version: number;
  labels: number;
  mean_iou: Record<string, number | null>;
  low: number | null;
  high: number | null;
  served_version: number | null;
  served_mean_iou: Record<string, number | null>;
}

const HEIGHT = 240;
let plot: uPlot | null = null;
let tracks: Track[] = [];

const colour = (name: string): string => {
  // A property of the root may be light-dark(...), which only an element's own colour resolves.
  const probe = make("span", { class: `ink-${name}` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

/** Draw the intervals: a whisker through each point of the learner. */
function drawIntervals(drawn: uPlot): void {
  const { ctx } = drawn;
  ctx.save();
  ctx.strokeStyle = colour("ice");
  ctx.lineWidth = 1.5 * devicePixelRatio;
  for (const [index, track] of tracks.entries()) {
    if (track.low === null || track.high === null) continue;
    const x = drawn.valToPos(index, "x", true);
    const [low, high] = [drawn.valToPos(track.low, "y", true), drawn.valToPos(track.high, "y", true)];
    const cap = 4 * devicePixelRatio;
    ctx.beginPath();
    for (const [fromX, fromY, toX, toY] of [
      [x, low, x, high],
      [x - cap, low, x + cap, low],
      [x - cap, high, x + cap, high],
    ] as const) {
      ctx.moveTo(fromX, fromY);
      ctx.lineTo(toX, toY);
    }
    ctx.stroke();
  }
  ctx.restore();
}

const shown = (value: number | null | undefined): string => (typeof value === "number" ? value.toFixed(3) : "–");

function describe(): string {
  const [first, last] = [tracks[0], tracks[tracks.length - 1]];
  if (!first || !last) return "";
  const served = last.served_mean_iou["validation"];
  const interval = last.low === null ? "" : ` (${shown(last.low)} to ${shown(last.high)} by the gate)`;
  return (
    `Mean IoU on validation, versions ${first.version} to ${last.version}: version ${last.version} learnt from ` +
    `${last.labels} labels and has ${shown(last.mean_iou["validation"])}${interval}; served is version ` +
    `${last.served_version ?? "–"} with ${shown(served)}.`
  );
}

function draw(): void {
  const figure = find("curve");
  plot?.destroy();
  const chart = make("div", { role: "img", "aria-label": describe() });
  figure.replaceChildren(
    chart,
    make(
      "figcaption",
      {},
      `${describe()} `,
      make("b", { class: "ink-ice" }, "Dashed: each version that was trained, with the gate's interval"),
      "; ",
      make("b", { class: "ink-good" }, "solid: the version that was served after it"),
      ".",
    ),
  );
  const values = tracks.flatMap((track) => [
    track.mean_iou["validation"],
    track.served_mean_iou["validation"],
    track.low,
    track.high,
  ]).filter((value): value is number => typeof value === "number");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || 0.1) * 0.1;
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line") }, ticks: { stroke: colour("line") } };
  plot = new uPlot(
    {
      width: figure.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      scales: { x: { time: false, range: [-0.3, tracks.length - 0.7] }, y: { range: [low - room, high + room] } },
      axes: [
        {
          ...axis,
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
          values: (_, places) => places.map((place) => tracks[place]?.version.toString() ?? ""),
          label: "version",
          labelSize: 20,
        },
        { ...axis, values: (_, places) => places.map((place) => place.toFixed(2)) },
      ],
      series: [
        {},
        { label: "trained", stroke: colour("ice"), width: 2, dash: [6, 4], points: { show: true, size: 7 }, spanGaps: true },
        { label: "served", stroke: colour("good"), width: 2, points: { show: true, size: 5 }, spanGaps: true },
      ],
      hooks: { draw: [drawIntervals] },
    },
    [
      tracks.map((_, index) => index),
      tracks.map((track) => track.mean_iou["validation"] ?? null),
      tracks.map((track) => track.served_mean_iou["validation"] ?? null),
    ],
    chart,
  );
}

/** Ask for the curve and draw it. */
export async function drawCurve(): Promise<void> {
  const figure = find("curve");
  try {
    tracks = await api.list<Track>("/api/v1/models/tracks?limit=1000");
    tracks.sort((one, other) => one.version - other.version); // the newest page comes first
  } catch (error) {
    figure.replaceChildren(make("p", { class: "bad", role: "alert" }, error instanceof Error ? error.message : String(error)));
    return;
  }
  if (tracks.length < 2) figure.replaceChildren(make("p", { class: "empty" }, figure.dataset["empty"] ?? ""));
  else draw();
}

window.addEventListener("resize", () => plot?.setSize({ width: find("curve").clientWidth, height: HEIGHT }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tracks.length > 1 && draw());
