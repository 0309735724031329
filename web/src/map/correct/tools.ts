/** The tools that draw on pixels: brush, eraser, fill, superpixels, strokes that mend, polygons and holes. */

export interface Tool {
  name: string;
  key: string;
  title: string;
  hint: string;
}

export const TOOLS = [
  { name: "brush", key: "b", title: "Brush", hint: "Paint the class; [ and ] change the size." },
  { name: "eraser", key: "e", title: "Eraser", hint: "Paint background; [ and ] change the size." },
  { name: "polygon", key: "p", title: "Polygon", hint: "Click corners; a double click ends it. Its inside gets the class." },
  { name: "hole", key: "o", title: "Hole", hint: "Click corners; a double click ends it. Its inside becomes background." },
  { name: "fill", key: "f", title: "Fill", hint: "Click an area: all of it that is connected gets the class." },
  { name: "superpixels", key: "s", title: "Superpixels", hint: "Click or drag over areas that look alike; each gets the class as a whole." },
  { name: "strokes", key: "m", title: "Mending strokes", hint: "Draw a short stroke of the class: the map around it is repainted where it looks alike." },
  { name: "outlines", key: "v", title: "Outlines", hint: "Click an outline to select it: drag corners, move, cut, merge, delete, or change its class." },
  { name: "move", key: "h", title: "Move the view", hint: "Drag the picture; the wheel zooms. With any tool: hold the space bar." },
] as const satisfies readonly Tool[];

export type ToolName = (typeof TOOLS)[number]["name"];

export const OTHER_KEYS: readonly (readonly [string, string])[] = [
  ["0", "background"],
  ["1, 2, …", "the classes, in their order"],
  ["9", "not judged"],
  ["[ and ]", "smaller and larger brush"],
  ["Ctrl+Z", "undo"],
  ["Ctrl+Shift+Z", "redo"],
  ["space", "hold it to move the view"],
  ["x", "hide or show the classes"],
  ["Esc", "leave what is being drawn"],
  ["?", "these keys"],
];
