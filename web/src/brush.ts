/** A mask that is being painted. It lies column by column, as run lengths count. */

import type { Mask } from "./editor.svelte";
import { eachRun, encode } from "./rle";

export class Brush {
  readonly mask: Uint8Array;
  /** Whether a stroke is being drawn. */
  isHeld = false;
  /** What the server was sent last. */
  sent = "";
  /** Whether the server has answered that. */
  isTaken = false;

  constructor(
    readonly id: number,
    readonly frame: number,
    private readonly width: number,
    private readonly height: number,
    before: Mask | undefined,
  ) {
    this.mask = new Uint8Array(width * height);
    if (before?.area) eachRun(before.counts, (start, end) => this.mask.fill(1, start, end));
  }

  /** From one point to another, in pixels of the video. */
  stroke(from: [number, number], to: [number, number], radius: number, value: 0 | 1): void {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(radius / 2, 1)));
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      this.dab(from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, radius, value);
    }
  }

  counts(): string {
    return encode(this.mask);
  }

  private dab(x: number, y: number, radius: number, value: 0 | 1): void {
    const [first, last] = [Math.max(0, Math.ceil(x - radius)), Math.min(this.width - 1, Math.floor(x + radius))];
    for (let column = first; column <= last; column++) {
      const reach = Math.sqrt(radius * radius - (column - x) ** 2);
      const top = Math.max(0, Math.round(y - reach));
      const bottom = Math.min(this.height, Math.round(y + reach));
      if (bottom > top) this.mask.fill(value, column * this.height + top, column * this.height + bottom);
    }
  }
}
