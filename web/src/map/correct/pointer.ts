/** What the pointer does with the tools that draw on pixels. */

import Pointer from "ol/interaction/Pointer";
import type MapBrowserEvent from "ol/MapBrowserEvent";

import type { CorrectionCanvas } from "./canvas";
import type { Place } from "./grid";

export interface Gesture {
  begin(place: Place): void;
  to(from: Place, place: Place): void;
  end(): void;
}

/**
 * An interaction that hands the places below the main button or a finger to a gesture. Two fingers move the view: the first
 * one always arrives alone, and what it drew is taken back.
 *
 * @param gestureOf - begins a gesture; null: the tool draws nothing
 * @param takeBack - takes back what the gesture drew
 */
export function pointer(canvas: CorrectionCanvas, gestureOf: () => Gesture | null, takeBack: () => void): Pointer {
  let gesture: Gesture | null = null;
  let last: Place = [0, 0];
  const cancel = () => {
    if (gesture) takeBack();
    gesture = null;
  };
  return new Pointer({
    handleDownEvent: (event: MapBrowserEvent) => {
      const { button } = event.originalEvent as PointerEvent;
      gesture = button === 0 && (event.activePointers?.length ?? 1) < 2 ? gestureOf() : null;
      if (!gesture) return false;
      last = canvas.placeAt(event.coordinate);
      gesture.begin(last);
      return true;
    },
    handleDragEvent: (event: MapBrowserEvent) => {
      if ((event.activePointers?.length ?? 1) > 1) return cancel();
      const place = canvas.placeAt(event.coordinate);
      gesture?.to(last, place);
      last = place;
    },
    handleUpEvent: (event: MapBrowserEvent) => {
      if (event.activePointers?.length) cancel(); // another finger is still down
      gesture?.end();
      gesture = null;
      return false;
    },
  });
}
