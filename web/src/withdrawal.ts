/** What withdrawing an annotator's labels would do, in words. */

/** The answer to `POST /api/v1/withdrawals`, as far as it is told. */
interface Effect {
  annotator: string;
  labels: number;
  standing: number;
  patches: number;
  labels_left: number;
  versions: { version: number }[];
  note: string;
}

function counted(number: number, one: string, several = `${one}s`): string {
  return `${number} ${number === 1 ? one : several}`;
}

export function describeWithdrawal(answer: Record<string, unknown>): string[] {
  const effect = answer as unknown as Effect;
  const versions = effect.versions.map((item) => item.version).join(", ");
  return [
    `${counted(effect.labels, "label")} of ${effect.annotator} would be withdrawn; ${effect.standing} of them stand now.`,
    `${counted(effect.patches, "patch", "patches")} may be proposed again, and training learns from ${counted(effect.labels_left, "label")} afterwards.`,
    versions ? `Versions that learnt from them, or go on from one that did: ${versions}.` : "No version learnt from them.",
    `Then: ${effect.note}.`,
  ];
}
