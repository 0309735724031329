/** What the page and the worker that computes say to each other. */

import type { Card } from "./card";
import type { Area, Size } from "./tiling";

export type Backend = "processor" | "graphics card";

export interface Loaded {
  version: string;
  card: Card;
  backend: Backend;
  /** What the probe found; null if the version ships none. */
  probe: string | null;
  /** Why the graphics card is not used, although there is one; else null. */
  refused: string | null;
}

export interface Outcome {
  version: string;
  classes: Uint8Array;
  /** Seconds in all, and of these in the network. */
  seconds: number;
  computing: number;
  windows: number;
}

export type Request =
  | { id: number; kind: "load"; backend: Backend | null }
  | { id: number; kind: "predict"; scene: number; size: Size; area: Area }
  | { id: number; kind: "cancel" };

export type Reply =
  | { id: number; kind: "progress"; done: number; total: number }
  | { id: number; kind: "loaded"; changed: boolean; loaded: Loaded }
  | { id: number; kind: "predicted"; outcome: Outcome }
  /** `isLost`: only another worker can succeed. */
  | { id: number; kind: "failed"; message: string; cancelled: boolean; isLost: boolean };
