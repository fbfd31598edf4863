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
  /** `obj`: the one that is followed again after a correction; null: all are followed. */
  tracking: { frame: number; done: number; total: number; obj: number | null } | null;
  proposing: { frame: number; done: number; total: number } | null;
  can_undo: boolean;
  can_redo: boolean;
}

export type Tool = "plus" | "minus" | "box" | "brush" | "eraser";

export interface Look {
  background: string;
  effect: string;
  behind: string | null;
}

const PLAIN: Look = { background: "original", effect: "overlay", behind: null };
const RETRACK_MS = 700;

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
  status = $state<Status>({ tracking: null, proposing: null, can_undo: false, can_redo: false });
  look = $state<Look>(PLAIN);
  readonly proposals = new Map<number, Mask>();
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
  /** Whether what a correction reaches is followed again of itself. */
  follows = $state(true);
  muted = $state(true);
  /** Whether a mouse rests over the picture. */
  pointed = $state(false);
  /** What a click at the pointer would give. */
  hover = $state<{ frame: number; counts: Uint8Array } | null>(null);
  /** Commands that are not answered yet. */
  busy = $state(0);

  private readonly live: Live;
  private goesAlong = false;
  private forget = 0;
  private readonly corrected = new Map<number, number>();
  private correcting = 0;
  private attended = -1;
  private asking: [x: number, y: number, positive: boolean] | null = null;
  private isAsking = false;

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
    const id = this.free();
    this.send({ op: "add_object", ...newThing(id) });
    this.chosen = id;
    return id;
  }

  /** Shows something of an object on a frame; what that reaches is followed again. */
  async prompt(command: Command & { obj: number; frame: number }): Promise<void> {
    this.hover = this.asking = null;
    this.pointed = false;
    if ((await this.send(command)) && this.follows) this.correct(command.obj, command.frame);
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

  changeLook(values: Partial<Look>): void {
    this.look = { ...this.look, ...values };
    this.send({ op: "look", ...this.look });
  }

  /** Tells the server where the user stays, so that it looks at that frame before the first click. */
  attend(): void {
    if (this.frame === this.attended || this.isTracking || this.connection !== "open") return;
    this.attended = this.frame;
    this.live.send({ op: "attend", frame: this.frame }).catch(() => {});
  }

  /** Asks what a click would give; while an answer is awaited, only the last question is kept. */
  async ask(x: number, y: number, positive: boolean): Promise<void> {
    this.asking = [x, y, positive];
    if (this.isAsking) return;
    this.isAsking = true;
    while (this.asking && !this.isTracking && this.connection === "open") {
      const [frame, obj, question] = [this.frame, this.thing ? this.chosen : this.free(), this.asking];
      this.asking = null;
      const command = { op: "preview", obj, frame, x: question[0], y: question[1], positive: question[2] };
      const counts = await this.live.send(command).catch(() => "");
      if (this.pointed) this.hover = counts ? { frame, counts: new TextEncoder().encode(counts) } : null;
    }
    this.isAsking = false;
  }

  find(): void {
    this.send({ op: "find", frame: this.frame });
  }

  pick(numbers: number[]): void {
    const first = this.free();
    const picks = numbers.map((proposal, place) => ({ proposal, ...newThing(first + place) }));
    if (picks.length) this.send({ op: "pick", picks });
  }

  dismiss(): void {
    this.send({ op: "dismiss" });
  }

  /** Proposals for the frame that is seen, the largest first. */
  proposed(): [number: number, mask: Mask][] {
    if (this.status.proposing?.frame !== this.frame) return [];
    return [...this.proposals].sort(([, a], [, b]) => b.area - a.area);
  }

  track(forward: number | null, backward: number | null): void {
    this.goesAlong = true;
    this.send({ op: "track", start: this.frame, forward_to: forward, backward_to: backward });
  }

  /** Track again only as far as what was shown here counts. */
  trackStretch(): void {
    if (this.promptsHere()) this.send({ op: "retrack", obj: this.chosen, frame: this.frame });
  }

  trackRange(): void {
    if (!this.range) return;
    const [first, last] = this.range;
    this.goesAlong = true;
    const start = Math.min(Math.max(this.frame, first), last);
    this.send({ op: "track", start, forward_to: last, backward_to: first < start ? first : null });
  }

  stop(): void {
    this.send({ op: "stop" });
  }

  undo(): void {
    this.corrected.clear();
    if (this.status.can_undo) this.send({ op: "undo" });
  }

  redo(): void {
    if (this.status.can_redo) this.send({ op: "redo" });
  }

  /** The frame that tracking has just finished, for the page to go along; null when it should stay. */
  followed(): number | null {
    const frame = this.status.tracking?.frame ?? null; // read first, so that the page hears of it later too
    return this.goesAlong ? frame : null;
  }

  stay(): void {
    this.goesAlong = false;
  }

  private free(): number {
    return Math.max(0, ...this.things.map((thing) => thing.id)) + 1;
  }

  private correct(obj: number, frame: number): void {
    const masks = this.masks.get(obj);
    if (![frame - 1, frame + 1].some((beside) => masks?.get(beside)?.tracked)) return;
    this.corrected.set(obj, frame);
    clearTimeout(this.correcting);
    this.correcting = window.setTimeout(() => this.retrack(), RETRACK_MS);
  }

  /** Corrections wait for tracking that was asked for, and each for the one before it. */
  private retrack(): void {
    const [next] = this.corrected;
    if (!next) return;
    if (this.isTracking) {
      this.correcting = window.setTimeout(() => this.retrack(), RETRACK_MS);
      return;
    }
    const [obj, frame] = next;
    this.corrected.delete(obj);
    this.goesAlong = false;
    if (this.prompts.get(obj)?.has(frame)) this.send({ op: "retrack", obj, frame }).then(() => this.retrack());
  }

  private take(changes: Change[]): void {
    for (const { key, value, counts } of changes) {
      const [kind, id, frame] = key;
      if (kind === "status") this.status = value;
      else if (kind === "look") this.look = value ?? PLAIN;
      else if (kind === "proposal" && value) this.proposals.set(id, { ...value, counts });
      else if (kind === "proposal") this.proposals.delete(id);
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

function newThing(id: number) {
  return { obj: id, name: `Object ${id}`, colour: COLOURS[(id - 1) % COLOURS.length] };
}

function place<T>(all: Map<number, Map<number, T>>, id: number, frame: number, value: T | null): void {
  const own = all.get(id) ?? new Map<number, T>();
  if (value === null) own.delete(frame);
  else own.set(frame, value);
  all.set(id, own);
}
