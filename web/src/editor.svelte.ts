/** What the page knows of an editing session, and what the user is doing with it. */

import type { Session, VideoInfo } from "./api";
import { Live, type Change, type Command, type Connection } from "./live";

export interface Thing {
  id: number;
  name: string;
  colour: string;
  visible: boolean;
}

export interface Mask {
  counts: Uint8Array;
  score: number;
  area: number;
  tracked: boolean;
}

export interface Prompts {
  points: [x: number, y: number, positive: number][];
  box: [number, number, number, number] | null;
  mask: string | null;
}

export interface Status {
  tracking: { frame: number; done: number; total: number } | null;
  can_undo: boolean;
  can_redo: boolean;
}

export type Tool = "plus" | "minus" | "box" | "brush" | "eraser";

export const COLOURS = [
  "#ff595e", "#19a0ff", "#8ac926", "#ffb703", "#b06cff", "#00c9b1",
  "#ff7a00", "#ff69b4", "#6a89ff", "#c9ad63", "#78deff", "#de4ccf",
];

export class Editor {
  readonly id: string;
  readonly video: VideoInfo;
  readonly masks = new Map<number, Map<number, Mask>>();
  readonly prompts = new Map<number, Map<number, Prompts>>();

  things = $state<Thing[]>([]);
  status = $state<Status>({ tracking: null, can_undo: false, can_redo: false });
  connection = $state<Connection>("connecting");
  /** Rises with every change of masks and prompts, which are too many to be watched one by one. */
  revision = $state(0);
  /** The frame that is seen. */
  frame = $state(0);
  chosen = $state(0);
  tool = $state<Tool>("plus");
  brush = $state(24);
  range = $state<[first: number, last: number] | null>(null);
  notice = $state("");
  background = $state("original");
  effect = $state("overlay");
  /** Commands that are not answered yet. */
  busy = $state(0);

  private readonly live: Live;
  private follows = false;
  private forget = 0;

  constructor(session: Session) {
    this.id = session.id;
    this.video = session.video!;
    this.live = new Live(
      session.id,
      (changes) => this.take(changes),
      (connection) => (this.connection = connection),
    );
  }

  get last(): number {
    return this.video.frames - 1;
  }

  get thing(): Thing | undefined {
    return this.things.find((thing) => thing.id === this.chosen);
  }

  get isTracking(): boolean {
    return this.status.tracking !== null;
  }

  close(): void {
    this.live.close();
  }

  async send(command: Command): Promise<boolean> {
    this.busy++;
    try {
      await this.live.send(command);
      return true;
    } catch (error) {
      this.say((error as Error).message);
      return false;
    } finally {
      this.busy--;
    }
  }

  say(text: string): void {
    this.notice = text;
    clearTimeout(this.forget);
    this.forget = window.setTimeout(() => (this.notice = ""), 7000);
  }

  /** The chosen object; a first one comes of itself. */
  target(): number {
    return this.thing ? this.chosen : this.add();
  }

  add(): number {
    const id = Math.max(0, ...this.things.map((thing) => thing.id)) + 1;
    this.send({ op: "add_object", obj: id, name: `Object ${id}`, colour: COLOURS[(id - 1) % COLOURS.length] });
    this.chosen = id;
    return id;
  }

  remove(id: number): void {
    this.send({ op: "remove_object", obj: id });
  }

  change(id: number, values: Partial<Pick<Thing, "name" | "colour" | "visible">>): void {
    this.send({ op: "change_object", obj: id, ...values });
  }

  promptsHere(): Prompts | undefined {
    return this.prompts.get(this.chosen)?.get(this.frame);
  }

  clearHere(): void {
    if (this.promptsHere()) this.send({ op: "clear", obj: this.chosen, frame: this.frame });
  }

  track(forward: number | null, backward: number | null): void {
    this.follows = true;
    this.send({ op: "track", start: this.frame, forward_to: forward, backward_to: backward });
  }

  /** Track again only as far as what was shown here counts: to the next prompts of the object on either side. */
  trackStretch(): void {
    const frames = [...(this.prompts.get(this.chosen)?.keys() ?? [])];
    const before = Math.max(-1, ...frames.filter((frame) => frame < this.frame));
    const after = Math.min(this.last + 1, ...frames.filter((frame) => frame > this.frame));
    this.track(Math.max(after - 1, this.frame), Math.min(before + 1, this.frame));
  }

  trackRange(): void {
    if (!this.range) return;
    const [first, last] = this.range;
    this.follows = true;
    const start = Math.min(Math.max(this.frame, first), last);
    this.send({ op: "track", start, forward_to: last, backward_to: first < start ? first : null });
  }

  stop(): void {
    this.send({ op: "stop" });
  }

  undo(): void {
    if (this.status.can_undo) this.send({ op: "undo" });
  }

  redo(): void {
    if (this.status.can_redo) this.send({ op: "redo" });
  }

  /** The frame that tracking has just finished, for the page to go along; null when it should stay. */
  followed(): number | null {
    const frame = this.status.tracking?.frame ?? null; // read first, so that the page hears of it later too
    return this.follows ? frame : null;
  }

  stay(): void {
    this.follows = false;
  }

  private take(changes: Change[]): void {
    for (const { key, value, counts } of changes) {
      const [kind, id, frame] = key;
      if (kind === "status") this.status = value;
      else if (kind === "object") this.takeThing(id, value);
      else if (kind === "prompts") place(this.prompts, id, frame, value);
      else if (kind === "mask") place(this.masks, id, frame, value && { ...value, counts });
    }
    this.revision++;
  }

  private takeThing(id: number, value: Omit<Thing, "id"> | null): void {
    const others = this.things.filter((thing) => thing.id !== id);
    this.things = value ? [...others, { id, ...value }].sort((a, b) => a.id - b.id) : others;
    if (!value && id === this.chosen) this.chosen = this.things.at(-1)?.id ?? 0;
    if (value && this.chosen === 0) this.chosen = id;
  }
}

function place<T>(all: Map<number, Map<number, T>>, id: number, frame: number, value: T | null): void {
  const own = all.get(id) ?? new Map<number, T>();
  if (value === null) own.delete(frame);
  else own.set(frame, value);
  all.set(id, own);
}
