/** The page's side of the worker that predicts. The first request starts it, and the next one after it failed. */

import type { Backend, Loaded, Outcome, Reply, Request } from "./messages";
import type { Area, Size } from "./tiling";

export type { Backend, Loaded, Outcome } from "./messages";

export class CancelledError extends Error {}

type Answer = Extract<Reply, { kind: "loaded" | "predicted" }>;

interface Waiting {
  resolve: (reply: Answer) => void;
  reject: (error: Error) => void;
  progress: (done: number, total: number) => void;
}

type Question = Request extends infer One ? (One extends Request ? Omit<One, "id"> : never) : never;

export class Predictor {
  private worker: Worker | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  /**
   * Load what is served, or look whether it has changed.
   *
   * @param backend - what is to compute; null: the graphics card if there is one that passes the probe, else the processor.
   */
  async load(backend: Backend | null): Promise<{ changed: boolean; loaded: Loaded }> {
    const reply = await this.ask({ kind: "load", backend });
    if (reply.kind !== "loaded") throw new Error("the worker answered something else");
    return reply;
  }

  /** Predict an area of a scene; returns the promise, and how to cancel it. */
  predict(scene: number, size: Size, area: Area, progress: Waiting["progress"]): [Promise<Outcome>, () => void] {
    const answer = this.ask({ kind: "predict", scene, size, area }, progress);
    const id = this.last;
    const outcome = answer.then((reply) => {
      if (reply.kind !== "predicted") throw new Error("the worker answered something else");
      return reply.outcome;
    });
    return [outcome, () => this.worker?.postMessage({ id, kind: "cancel" } satisfies Request)];
  }

  private ask(question: Question, progress: Waiting["progress"] = () => {}): Promise<Answer> {
    const id = ++this.last;
    const worker = (this.worker ??= this.start());
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, progress });
      worker.postMessage({ ...question, id });
    });
  }

  private start(): Worker {
    const worker = new Worker("/static/app/predict-worker.js", { type: "module", name: "predict" });
    worker.addEventListener("message", (event: MessageEvent<Reply>) => this.hear(event.data));
    worker.addEventListener("error", (event) => {
      this.end(new Error(`the worker that predicts stopped: ${event.message || "it could not be loaded"}`));
    });
    return worker;
  }

  /** End the worker, and with it all that it was asked. */
  private end(error: Error): void {
    this.worker?.terminate();
    this.worker = null;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  private hear(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (!waiting) return;
    if (reply.kind === "progress") {
      waiting.progress(reply.done, reply.total);
      return;
    }
    if (reply.kind === "failed" && reply.isLost) return this.end(new Error(reply.message));
    this.waiting.delete(reply.id);
    if (reply.kind === "failed") waiting.reject(reply.cancelled ? new CancelledError(reply.message) : new Error(reply.message));
    else waiting.resolve(reply);
  }
}
