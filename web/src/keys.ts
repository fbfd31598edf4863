/** Keyboard shortcuts; `Help.svelte` lists them. */

import type { Editor, Tool } from "./editor.svelte";
import type { Player } from "./player.svelte";

export const SHORTCUTS: [keys: string, what: string][] = [
  ["Space", "Play or pause"],
  ["Left, Right", "One frame; with Shift ten"],
  ["Home, End", "First or last frame"],
  ["C, X", "Click on the object, beside it"],
  ["B, P, E", "Box, brush, eraser"],
  ["[ ]", "Smaller, larger brush"],
  ["N", "New object"],
  ["F", "Find everything on this frame"],
  ["1 to 9", "Choose an object"],
  ["H", "Hide or show the object"],
  ["Tab to the picture", "Arrow keys move a cross; Enter clicks there, Shift+Enter beside the object"],
  ["Delete", "Take back what was shown on this frame"],
  ["T", "Track forward; with Shift backward"],
  ["A", "Track both ways"],
  ["R", "Track the object again around this frame"],
  ["M", "Sound on or off"],
  ["Escape", "Stop tracking; forget what was found"],
  ["Ctrl+Z, Ctrl+Shift+Z", "Undo, redo"],
  ["?", "This page"],
];

const TOOLS: Record<string, Tool> = { c: "plus", x: "minus", b: "box", p: "brush", e: "eraser" };

export function keyHandler(editor: Editor, player: Player, help: () => void): (event: KeyboardEvent) => void {
  const step = (by: number) => () => {
    editor.stay();
    player.halt();
    player.go(editor.frame + by);
  };
  const plain: Record<string, () => void> = {
    " ": () => player.toggle(),
    arrowleft: step(-1),
    arrowright: step(1),
    home: step(-Infinity),
    end: step(Infinity),
    n: () => void editor.add(),
    f: () => editor.find(),
    m: () => (editor.muted = !editor.muted),
    h: () => editor.thing && editor.change(editor.chosen, { visible: !editor.thing.visible }),
    t: () => editor.track(editor.last, null),
    a: () => editor.track(editor.last, 0),
    r: () => editor.trackStretch(),
    delete: () => editor.clearHere(),
    backspace: () => editor.clearHere(),
    escape: () => (editor.isTracking ? editor.stop() : editor.status.proposing && editor.dismiss()),
    "[": () => (editor.brush = Math.max(2, Math.round(editor.brush / 1.25))),
    "]": () => (editor.brush = Math.min(200, Math.round(editor.brush * 1.25))),
    "?": help,
  };
  const shifted: Record<string, () => void> = {
    arrowleft: step(-10),
    arrowright: step(10),
    t: () => editor.track(null, 0),
    "?": help,
  };
  const action = (event: KeyboardEvent): (() => void) | undefined => {
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") return () => (event.shiftKey ? editor.redo() : editor.undo());
      return key === "y" ? () => editor.redo() : undefined;
    }
    if (event.altKey) return undefined;
    if (key in TOOLS) return () => (editor.tool = TOOLS[key]);
    if (/^[1-9]$/.test(key)) return () => (editor.chosen = editor.things[Number(key) - 1]?.id ?? editor.chosen);
    return (event.shiftKey ? shifted : plain)[key];
  };
  return (event) => {
    const target = event.target as HTMLElement;
    const types = target.matches?.("input:not([type=range]), select, textarea");
    const presses = target.matches?.("button, a, summary") && [" ", "Enter"].includes(event.key);
    if (types || presses || document.querySelector("dialog[open]")) return;
    const act = action(event);
    if (!act) return;
    event.preventDefault();
    act();
  };
}
