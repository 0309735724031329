/** What a drag or a click on the map means besides moving it: one thing at a time. */

let leave: (() => void) | null = null;

/** Begin a mode; the one before is left. @param stop - leaves it */
export function enter(stop: () => void): void {
  leaveMode();
  leave = stop;
}

/** Leave the present mode, if there is one. */
export function leaveMode(): void {
  const stop = leave;
  leave = null;
  stop?.();
}

/** Note that a mode has been left. */
export function left(stop: () => void): void {
  if (leave === stop) leave = null;
}
