/** A worker that holds the served network and predicts: the page stays responsive, and only here WebAssembly is allowed. */

import * as ort from "onnxruntime-web/wasm";

import { ask, fetchServed } from "./download";
import type { Loaded, Outcome, Reply, Request } from "./messages";
import { checkProbe } from "./probe";
import { type Area, type Network, type Pixels, predictArea, type Size } from "./tiling";

const MOST_PIXELS = 1_048_576; // of one request, as the server says

ort.env.wasm.numThreads = 1; // threads need shared memory, for which all pages would have to be isolated
ort.env.wasm.proxy = false;
ort.env.wasm.wasmPaths = { wasm: "/static/app/ort-wasm-simd-threaded.wasm" };

interface Held {
  etag: string;
  loaded: Loaded;
  network: Network;
  session: ort.InferenceSession;
}

class Cancelled extends Error {}

let held: Held | null = null;
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
    const changed = (request.kind === "load" || held === null) && (await load());
    if (held === null) throw new Error("no model is loaded");
    if (request.kind === "load") {
      page.postMessage({ id, kind: "loaded", changed, loaded: held.loaded });
    } else {
      const outcome = await predict(held, request.scene, request.size, request.area, id);
      page.postMessage({ id, kind: "predicted", outcome }, [outcome.classes.buffer]);
    }
  } catch (error) {
    page.postMessage({ id, kind: "failed", message: (error as Error).message, cancelled: error instanceof Cancelled });
  } finally {
    cancelled.delete(id);
  }
}

/** Load what is served, unless it is held; returns whether it changed. */
async function load(): Promise<boolean> {
  const files = await fetchServed(held?.etag ?? null);
  if (files === null) return false;
  const session = await ort.InferenceSession.create(new Uint8Array(files.onnx), { executionProviders: ["wasm"] });
  const network: Network = { card: files.card, run: (raw, n, side) => run(session, files.card.channels.length, raw, n, side) };
  let probe: string | null;
  try {
    probe = files.card.probe ? await checkProbe(network, files.card.probe) : null;
  } catch (error) {
    await session.release();
    throw error;
  }
  await held?.session.release();
  held = { etag: files.etag, network, session, loaded: { version: files.version, card: files.card, probe } };
  return true;
}

async function run(session: ort.InferenceSession, channels: number, raw: Float32Array, n: number, side: number): Promise<Float32Array> {
  const began = performance.now();
  const given = { raw: new ort.Tensor("float32", raw, [n, channels, side, side]) };
  const found = await session.run(given, ["probabilities"]);
  computing += performance.now() - began;
  return found["probabilities"]?.data as Float32Array;
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
