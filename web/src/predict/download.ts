/** The served version as files: fetched when its ETag changes, and kept in the browser's Cache Storage. */

import type { Card } from "./card";

const ONNX = "/api/v1/models/latest/onnx";
const CARD = "/api/v1/models/latest/card";
const CACHE = "glacier-al-model";
const TRIES = 5;

export interface Files {
  etag: string;
  version: string;
  card: Card;
  onnx: ArrayBuffer;
}

type Found = Omit<Files, "card"> & { isKept: boolean };

/** Fetch what is served, unless it is what is known already: then null. What is damaged is not kept. */
export async function fetchServed(known: string | null): Promise<Files | null> {
  const cache = "caches" in self ? await caches.open(CACHE) : null; // not where the connection is not trustworthy
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const found = await fetchOnnx(known, cache);
    if (found === null) return null;
    const card = (await (await ask(CARD)).json()) as Card;
    const { etag, version, onnx, isKept } = found;
    // Another version may have become the served one between the two requests.
    if (card.onnx_sha256 !== etag) continue;
    if (!(await isWhole(onnx, etag))) {
      await cache?.delete(ONNX);
      throw new Error("the model was damaged on its way; try again");
    }
    // A full disk must not keep anybody from predicting.
    if (!isKept) await cache?.put(ONNX, new Response(onnx.slice(0), { headers: { ETag: etag, "X-Model-Version": version } })).catch(() => {});
    return { etag, version, card, onnx };
  }
  throw new Error("the served version changed again and again while it was fetched; try again");
}

/** Send a GET; where the server is busy, wait as it says and try again. */
export async function ask(path: string, headers: Record<string, string> = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(path, { headers: { Accept: "application/json, */*", ...headers } });
    if (response.ok) return response;
    if (response.status === 304) {
      await response.arrayBuffer(); // an answer that nobody reads counts as one that was broken off
      return response;
    }
    if (response.status === 503 && attempt < TRIES) {
      const wait = Number(response.headers.get("Retry-After") ?? 2);
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      continue;
    }
    const said = (await response.json().catch(() => ({}))) as { detail?: string };
    throw new Error(said.detail ?? `${path} was answered with ${response.status}`);
  }
}

async function fetchOnnx(known: string | null, cache: Cache | null): Promise<Found | null> {
  const stored = await cache?.match(ONNX);
  const kept = known ?? stored?.headers.get("ETag") ?? null;
  const response = await ask(ONNX, kept === null ? {} : { "If-None-Match": `"${kept}"` });
  if (response.status === 304) {
    if (known !== null || !stored) return null;
    return { etag: kept ?? "", version: stored.headers.get("X-Model-Version") ?? "", onnx: await stored.arrayBuffer(), isKept: true };
  }
  const etag = (response.headers.get("ETag") ?? "").replaceAll('"', "");
  return { etag, version: response.headers.get("X-Model-Version") ?? "", onnx: await response.arrayBuffer(), isKept: false };
}

async function isWhole(data: ArrayBuffer, sha256: string): Promise<boolean> {
  if (!("subtle" in crypto)) return true; // not where the connection is not trustworthy
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
