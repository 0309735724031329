/** What the page reads of a model card (docs/web-tool.md). */

export type Head = "multiclass" | "binary" | "two_binaries";
export type Orientations = "one" | "alternating" | "all";

export interface Probe {
  pattern: string;
  side_px: number;
  classes: string;
  probabilities: string;
}

export interface Card {
  channels: string[];
  mean: number[];
  std: number[];
  classes: string[];
  label_classes: { name: string; value: number; colour: string; precedence: number }[];
  head?: Head;
  orientations?: Orientations;
  patch_size_px: number;
  onnx_sha256: string;
  probe?: Probe | null;
}

export const UNKNOWN = 255;

/** Choose the class of each pixel from probabilities (K, n), as `models.heads.decide` does. */
export function decide(probabilities: Float32Array, card: Card): Uint8Array {
  const count = card.classes.length;
  const pixels = probabilities.length / count;
  const chosen = new Uint8Array(pixels);
  const at = (value: number, pixel: number): number => probabilities[value * pixels + pixel] ?? 0;
  if (card.head === "binary") {
    for (let i = 0; i < pixels; i++) chosen[i] = at(1, i) >= at(0, i) ? 1 : 0;
  } else if (card.head === "two_binaries") {
    const ranked = card.label_classes.slice(1).sort((a, b) => a.precedence - b.precedence).map((item) => item.value);
    const highest = ranked.pop() ?? 0;
    for (let i = 0; i < pixels; i++) {
      let below = at(0, i);
      for (const value of ranked) {
        if (at(value, i) >= below) chosen[i] = value;
        below = Math.fround(below + at(value, i));
      }
      if (at(highest, i) >= 0.5) chosen[i] = highest;
    }
  } else {
    for (let i = 0; i < pixels; i++) {
      let best = 0;
      for (let value = 1; value < count; value++) if (at(value, i) > at(best, i)) best = value;
      chosen[i] = best;
    }
  }
  return chosen;
}
