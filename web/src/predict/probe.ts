/** The probe that a version ships: an input that everybody can compute, and what the network makes of it. */

import { type Card, decide, type Probe } from "./card";
import type { Network } from "./tiling";

const LEAST_EQUAL = 0.999; // share of pixels with the same class
const TOLERANCE = 0.02; // of a probability

/** The input, as the formula of `models.probe.probe_input` gives it. */
export function probeInput(card: Card, side: number): Float32Array {
  const image = new Float32Array(card.channels.length * side * side);
  const gap = Math.floor(side / 8);
  for (let c = 0; c < card.channels.length; c++) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const t = (x * (c + 1) + y * (c + 2)) % 64;
        const missing = (x >= side - gap && y >= side - gap) || (c === 0 && x < gap && y < gap);
        image[(c * side + y) * side + x] = missing
          ? NaN
          : (card.mean[c] ?? 0) + (card.std[c] ?? 0) * (Math.abs(t - 32) / 8 - 2);
      }
    }
  }
  return image;
}

/** Run the probe; returns what was found, as a sentence.
 *
 * @throws Error if the backend computes something else than the network.
 */
export async function checkProbe(network: Network, probe: Probe): Promise<string> {
  if (probe.pattern !== "waves") {
    throw new Error(`the probe of this version has the pattern ${probe.pattern}; this page knows only waves: load it again`);
  }
  const side = probe.side_px;
  const found = await network.run(probeInput(network.card, side), 1, side);
  const [classes, probabilities] = [bytes(probe.classes), bytes(probe.probabilities)];
  const chosen = decide(found, network.card);
  let equal = 0;
  for (let i = 0; i < classes.length; i++) if (chosen[i] === classes[i]) equal += 1;
  const share = equal / classes.length;
  let furthest = 0;
  for (let i = 0; i < probabilities.length; i++) {
    // NaN compares as false: it must count as the furthest.
    const difference = Math.abs((found[i] ?? NaN) - (probabilities[i] as number) / 255);
    if (!(difference <= furthest)) furthest = Number.isNaN(difference) ? Infinity : difference;
  }
  const said = `${(100 * share).toFixed(2)} % of its pixels are equal, probabilities differ by up to ${furthest.toFixed(3)}`;
  if (share < LEAST_EQUAL || furthest > TOLERANCE) {
    throw new Error(
      `this browser computes something else than the model: of its probe ${said} (at least ${100 * LEAST_EQUAL} % and at ` +
        `most ${TOLERANCE} are expected). It is not used; the layers show the server's own map.`,
    );
  }
  return said;
}

function bytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
