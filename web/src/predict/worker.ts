/** A worker that holds the served network and predicts: the page stays responsive, and only here WebAssembly is allowed. */

import { hasGraphicsCard, open, OpenError, QUIET } from "./backends";
import type { Card } from "./card";
import { ask, fetchServed } from "./download";
import type { Backend, Loaded, Outcome, Reply, Request } from "./messages";
import { checkProbe } from "./probe";
import { type Area, type Network, type Pixels, predictArea, type Size } from "./tiling";

const MOST_PIXELS = 1_048_576; // of one request, as the server says

interface Held {
  etag: string;
  wanted: Backend | null;
  loaded: Loaded;
  network: Network;
  release: () => Promise<void>;
}

type Checked = Pick<Held, "network" | "release"> & { backend: Backend; probe: string | null };

class Cancelled extends Error {}
class CardFailed extends Error {}

let held: Held | null = null;
let failed: string | null = null; // what the graphics card last failed of while it predicted
let computing = 0;
const cancelled = new Set<number>();
const page = self as unknown as { postMessage: (reply: Reply, transfer?: Transferable[]) => void };

self.addEventListener("message", (event: MessageEvent<Request>) => {
  const request = event.data;
  if (request.kind === "cancel") cancelled.add(request.id);
  else queue = queue.then(() => answer(request));
});
let queue = Promise.resolve();

async function answer(request: Exclude<Request, { kind: "cancel" }>): Promise<void> {
  const { id } = request;
  try {
    const changed = request.kind === "load" ? await load(request.backend) : held === null && (await load(null));
    if (held === null) throw new Error("no model is loaded");
    if (request.kind === "load") {
      page.postMessage({ id, kind: "loaded", changed, loaded: held.loaded });
    } else {
      const outcome = await predict(held, request.scene, request.size, request.area, id);
      page.postMessage({ id, kind: "predicted", outcome }, [outcome.classes.buffer]);
    }
  } catch (error) {
    if (error instanceof CardFailed) {
      failed = error.message;
      held = null; // the next prediction is the processor's
    }
    const { message } = error as Error;
    page.postMessage({ id, kind: "failed", message, cancelled: error instanceof Cancelled, isLost: error instanceof OpenError });
  } finally {
    cancelled.delete(id);
  }
}

/** Load what is served for a backend, unless it is held; returns whether it changed. */
async function load(wanted: Backend | null): Promise<boolean> {
  const known = held?.wanted === wanted ? held.etag : null;
  const files = await fetchServed(known);
  if (files === null) return false;
  const [checked, refused] = await choose(files.card, new Uint8Array(files.onnx), wanted);
  await held?.release();
  const { network, release, backend, probe } = checked;
  held = { etag: files.etag, wanted, network, release, loaded: { version: files.version, card: files.card, backend, probe, refused } };
  return true;
}

/** Return a network that passes the probe, and why the graphics card was refused, if it was. */
async function choose(card: Card, onnx: Uint8Array, wanted: Backend | null): Promise<[Checked, string | null]> {
  if (wanted !== null) return [await check(card, onnx, wanted), null];
  let refused = failed;
  // A card whose results nothing would check is not used.
  if (refused === null && card.probe && (await hasGraphicsCard())) {
    try {
      return [await check(card, onnx, "graphics card"), null];
    } catch (error) {
      refused = (error as Error).message;
    }
  }
  return [await check(card, onnx, "processor"), refused];
}

/** Open a network and run its probe.
 *
 * @throws Error if the backend cannot open the network, or computes something else.
 */
async function check(card: Card, onnx: Uint8Array, backend: Backend): Promise<Checked> {
  const [ort, session] = await open(backend, onnx);
  const run: Network["run"] = async (raw, n, side) => {
    const began = performance.now();
    const given = { raw: new ort.Tensor("float32", raw, [n, card.channels.length, side, side]) };
    const found = await session.run(given, ["probabilities"], QUIET).catch((error: Error) => {
      throw backend === "processor" ? error : new CardFailed(`the graphics card failed: ${error.message}`);
    });
    computing += performance.now() - began;
    return found["probabilities"]?.data as Float32Array;
  };
  const network: Network = { card, run };
  const release = (): Promise<void> => session.release();
  try {
    return { network, release, backend, probe: card.probe ? await checkProbe(network, card.probe) : null };
  } catch (error) {
    await release();
    throw error;
  }
}

async function predict(now: Held, scene: number, size: Size, area: Area, id: number): Promise<Outcome> {
  const began = performance.now();
  computing = 0;
  let windows = 0;
  const classes = await predictArea(
    now.network,
    size,
    area,
    (wanted) => readPixels(scene, now, wanted),
    async (done, total) => {
      windows = total;
      page.postMessage({ id, kind: "progress", done, total });
      await new Promise((resolve) => setTimeout(resolve)); // lets a "cancel" in
      if (cancelled.has(id)) throw new Cancelled("cancelled");
    },
  );
  const seconds = (performance.now() - began) / 1000;
  return { version: now.loaded.version, classes, seconds, computing: computing / 1000, windows };
}

/** Read the channels of an area, in as many requests as their limit needs. */
async function readPixels(scene: number, now: Held, area: Area): Promise<Pixels> {
  const channels = now.loaded.card.channels;
  const values = new Float32Array(channels.length * area.height * area.width);
  const rows = Math.max(1, Math.floor(MOST_PIXELS / area.width));
  let measured: number[] = [];
  for (let first = 0; first < area.height; first += rows) {
    const height = Math.min(rows, area.height - first);
    const query = new URLSearchParams({
      row_off: String(area.row + first), col_off: String(area.column), height: String(height), width: String(area.width),
      version: now.loaded.version,
    });
    const response = await ask(`/api/v1/scenes/${scene}/pixels?${query}`);
    measured = (JSON.parse(response.headers.get("X-Pixels") ?? "{}") as { measured: number[] }).measured;
    const part = floats(await response.arrayBuffer());
    const [of, whole] = [height * area.width, area.height * area.width];
    for (let channel = 0; channel < channels.length; channel++) {
      values.set(part.subarray(channel * of, (channel + 1) * of), channel * whole + first * area.width);
    }
  }
  return { values, channels, measured };
}

/** Little-endian float32, whatever this machine is. */
function floats(data: ArrayBuffer): Float32Array {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return new Float32Array(data);
  const view = new DataView(data);
  return Float32Array.from({ length: data.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
