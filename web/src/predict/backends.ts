/** What can run the network: a graphics card by WebGPU, or the processor by WebAssembly, which every browser has. */

import type { Backend } from "./messages";

type Ort = typeof import("onnxruntime-web/wasm");
export type Session = import("onnxruntime-web/wasm").InferenceSession;

const FILES: Record<Backend, string> = {
  processor: "/static/app/ort-wasm-simd-threaded.wasm",
  "graphics card": "/static/app/ort-wasm-simd-threaded.jspi.wasm",
};
const RUNTIMES: Record<Backend, () => Promise<Ort>> = {
  processor: () => import("onnxruntime-web/wasm"),
  "graphics card": () => import("onnxruntime-web/jspi"),
};
/** Options of sessions and runs. Errors are thrown, and shown to whoever asked: the console need not hold them, too. */
export const QUIET = { logSeverityLevel: 4 } as const;
const loaded = new Map<Backend, Promise<Ort>>();

/** Return whether a graphics card can be asked: one that is there in fact, not one that the processor stands in for. */
export async function hasGraphicsCard(): Promise<boolean> {
  const adapter = await adapterOf();
  return adapter !== null && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
}

/** A runtime, or the network in it, could not be opened. Of a runtime onnxruntime-web remembers that, and refuses every later attempt in the same worker. */
export class OpenError extends Error {}

/** Return a session of a graph, and what feeds it. */
export async function open(backend: Backend, onnx: Uint8Array): Promise<[Ort, Session]> {
  if (backend === "graphics card" && (await adapterOf()) === null) {
    throw new Error("this browser offers no graphics card to pages (WebGPU); choose the processor");
  }
  const providers = backend === "processor" ? ["wasm"] : ["webgpu"];
  try {
    if (!loaded.has(backend)) loaded.set(backend, start(backend));
    const ort = await (loaded.get(backend) as Promise<Ort>);
    return [ort, await ort.InferenceSession.create(onnx, { executionProviders: providers, ...QUIET })];
  } catch (error) {
    throw new OpenError((error as Error).message);
  }
}

async function start(backend: Backend): Promise<Ort> {
  const ort = await RUNTIMES[backend]();
  ort.env.wasm.numThreads = 1; // threads need shared memory, for which all pages would have to be isolated
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = { wasm: FILES[backend] };
  return ort;
}

/** What we read of an adapter of WebGPU; TypeScript's library of workers does not describe it yet. */
interface Adapter {
  isFallbackAdapter?: boolean;
  info?: { isFallbackAdapter?: boolean };
}

async function adapterOf(): Promise<Adapter | null> {
  const { gpu } = navigator as { gpu?: { requestAdapter: () => Promise<Adapter | null> } };
  // The runtime for WebGPU suspends WebAssembly while the card computes.
  if (!gpu || !("Suspending" in WebAssembly)) return null;
  return gpu.requestAdapter();
}
