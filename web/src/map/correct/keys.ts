/** What the keys of the editor do; `tools.ts` lists them for the people. */

import { showKeys } from "./dialogs";
import type { Editor } from "./editor";
import { BACKGROUND, NOT_JUDGED } from "./grid";
import { TOOLS } from "./tools";

/** Do what a key says, unless it was meant for a dialog or a field. */
export function press(editor: Editor, event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (target.closest("dialog") || target.matches("select, input[type=text]")) return;
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) editor.redo();
    else editor.undo();
    return;
  }
  if (command || event.altKey) return;
  const tool = TOOLS.find((item) => item.key === event.key);
  if (tool) editor.choose(tool.name);
  else if (event.key === "[" || event.key === "]") editor.resize(event.key === "[" ? -1 : 1);
  else if (event.key === "9") editor.chooseClass(NOT_JUDGED);
  else if (/^[0-8]$/.test(event.key) && Number(event.key) < editor.classes) editor.chooseClass(editor.choices[Number(event.key)]?.value ?? BACKGROUND);
  else if (event.key === "?") showKeys();
  else if (event.key === "Delete") editor.on("delete");
  else if (event.key === "x") editor.toggleClasses();
  else if (event.key === "Escape") editor.choose(editor.tool);
  else if (event.code === "Space" && !target.matches("button")) {
    editor.spaceHeld = true;
    event.preventDefault();
  }
}
