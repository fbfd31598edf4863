/** What the page knows of an editing session, and what the user is doing with it. */

import type { Session, VideoInfo } from "./api";
import { Brush } from "./brush";
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
  /** Why the last tracking or search ended early, or empty. */
  error: string;
}

export type Tool = "plus" | "minus" | "box" | "brush" | "eraser";

export interface Look {
  background: string;
  effect: string;
  behind: string | null;
}

const PLAIN: Look = { background: "original", effect: "overlay", behind: null };
const RETRACK_MS = 700;
/** How long a painted mask is shown at most once the server has answered. */
const PAINTED_MS = 3000;

export const COLOURS = [
  "#ff595e", "#19a0ff", "#8ac926", "#ffb703", "#b06cff", "#00c9b1",
  "#ff7a00", "#ff69b4", "#6a89ff", "#c9ad63", "#78deff", "#de4ccf",
];

/** What a page that is loaded again goes on with; the rest comes from the server. */
interface Place {
  frame: number;
  chosen: number;
  range: [first: number, last: number] | null;
}

export class Editor {
  readonly id: string;
  readonly video: VideoInfo;
  readonly masks = new Map<number, Map<number, Mask>>();
  readonly prompts = new Map<number, Map<number, Prompts>>();

  things = $state<Thing[]>([]);
  status = $state<Status>({ tracking: null, proposing: null, can_undo: false, can_redo: false, error: "" });
  look = $state<Look>(PLAIN);
  readonly proposals = new Map<number, Mask>();
  connection = $state<Connection>("connecting");
  /** Why the server lets no connection be, if it says so. */
  hindrance = $state("");
  /** Rises with every change of masks and prompts, which are too many to be watched one by one. */
  revision = $state(0);
  /** The frame where the user is, or goes to. */
  frame = $state(0);
  /** The frame whose picture is on show: what is pointed at is on that one. */
  seen = $state(0);
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

  /** Per object the first and last frame that changed since somebody took them. */
  private readonly touched = new Map<number, [first: number, last: number]>();
  /** Masks that are painted, by object and frame, until the server's own are here. */
  private readonly painted = new Map<string, Brush>();
  /** Numbers of objects that are asked for and not here yet. */
  private readonly coming = new Set<number>();
  private readonly live: Live;
  private readonly closed = new AbortController();
  private goesAlong = false;
  private forget = 0;
  /** What is to be followed again around corrections, in their order. */
  private corrected: [obj: number, frame: number][] = [];
  private correcting = 0;
  private attended = -1;
  private asking: [x: number, y: number, positive: boolean] | null = null;
  private isAsking = false;

  constructor(session: Session) {
    this.id = session.id;
    this.video = session.video!;
    this.comeBack();
    addEventListener("pagehide", () => this.remember(), { signal: this.closed.signal });
    document.addEventListener("visibilitychange", () => this.remember(), { signal: this.closed.signal });
    this.live = new Live(
      session.id,
      (changes) => this.take(changes),
      (connection, why) => ([this.connection, this.hindrance] = [connection, why]),
      () => this.isTracking,
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
    this.closed.abort();
    sessionStorage.removeItem(this.id);
  }

  private remember(): void {
    const place: Place = { frame: this.frame, chosen: this.chosen, range: this.range };
    sessionStorage.setItem(this.id, JSON.stringify(place));
  }

  private comeBack(): void {
    const text = sessionStorage.getItem(this.id);
    if (text) Object.assign(this, JSON.parse(text) as Place);
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
    return this.thing || this.coming.has(this.chosen) ? this.chosen : this.add();
  }

  add(): number {
    const id = this.free();
    this.bring([id], { op: "add_object", ...newThing(id) });
    this.chosen = id;
    return id;
  }

  /** Shows something of an object on a frame; what that reaches is followed again. */
  async prompt(command: Command & { obj: number; frame: number }): Promise<boolean> {
    this.hover = this.asking = null;
    this.pointed = false;
    const isTaken = await this.send(command);
    if (isTaken && this.follows) this.correct(command.obj, command.frame);
    return isTaken;
  }

  /** The mask that is being painted there, or is still on its way. */
  paintedAt(obj: number, frame: number): Brush | undefined {
    return this.painted.get(`${obj}/${frame}`);
  }

  /** Begins a stroke: on the mask that is still on its way, if there is one. */
  paint(obj: number, frame: number): Brush {
    const { width, height } = this.video;
    const brush = this.paintedAt(obj, frame) ?? new Brush(obj, frame, width, height, this.masks.get(obj)?.get(frame));
    brush.isHeld = true;
    this.painted.set(`${obj}/${frame}`, brush);
    return brush;
  }

  /** Ends a stroke. What was painted is shown until the server's own mask is here. */
  async showPainted(brush: Brush): Promise<void> {
    const counts = brush.counts();
    brush.sent = counts;
    brush.isHeld = brush.isTaken = false;
    const isTaken = await this.prompt({ op: "mask", obj: brush.id, frame: brush.frame, counts });
    if (brush.sent !== counts) return; // a later stroke is on its way
    brush.isTaken = true;
    if (!isTaken || this.isHere(brush)) this.wipe(brush);
    else setTimeout(() => brush.sent === counts && this.wipe(brush), PAINTED_MS);
  }

  /** Forgets what was painted, but for a stroke that is being drawn. */
  wipe(brush: Brush): void {
    if (brush.isHeld || this.paintedAt(brush.id, brush.frame) !== brush) return;
    this.painted.delete(`${brush.id}/${brush.frame}`);
    this.revision++;
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
      const [frame, obj, question] = [this.seen, this.thing ? this.chosen : this.free(), this.asking];
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
    if (picks.length) this.bring(picks.map(({ obj }) => obj), { op: "pick", picks });
  }

  dismiss(): void {
    this.send({ op: "dismiss" });
  }

  /** Proposals for the frame that is seen, the largest first. */
  proposed(): [number: number, mask: Mask][] {
    if (this.status.proposing?.frame !== this.seen) return [];
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
    this.corrected = [];
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

  /** The first and last frame of what changed of an object since this was asked last. */
  takeTouched(id: number): [first: number, last: number] | undefined {
    const touched = this.touched.get(id);
    this.touched.delete(id);
    return touched;
  }

  private touch(id: number, frame: number): void {
    const [first, last] = this.touched.get(id) ?? [frame, frame];
    this.touched.set(id, [Math.min(first, frame), Math.max(last, frame)]);
  }

  private free(): number {
    return Math.max(0, ...this.things.map((thing) => thing.id), ...this.coming) + 1;
  }

  /** Sends what makes new objects, whose numbers are taken from now on. */
  private async bring(ids: number[], command: Command): Promise<void> {
    for (const id of ids) this.coming.add(id);
    if (await this.send(command)) return;
    for (const id of ids) this.coming.delete(id);
  }

  /** Whether the server's mask is what was painted. */
  private isHere({ id, frame, sent }: Brush): boolean {
    const counts = this.masks.get(id)?.get(frame)?.counts;
    return counts !== undefined && new TextDecoder().decode(counts) === sent;
  }

  private correct(obj: number, frame: number): void {
    const masks = this.masks.get(obj);
    if (![frame - 1, frame + 1].some((beside) => masks?.get(beside)?.tracked)) return;
    this.corrected = [...this.corrected.filter(([one, where]) => one !== obj || where !== frame), [obj, frame]];
    this.retrackSoon();
  }

  private retrackSoon(): void {
    clearTimeout(this.correcting);
    this.correcting = window.setTimeout(() => this.retrack(), RETRACK_MS);
  }

  /** Corrections wait for tracking that was asked for, and each for the one before it. */
  private retrack(): void {
    if (this.isTracking && this.corrected.length) this.retrackSoon();
    if (this.isTracking || !this.corrected.length) return;
    const [obj, frame] = this.corrected.shift()!;
    this.goesAlong = false;
    // The status, which says that tracking has begun, comes after the answer.
    if (this.prompts.get(obj)?.has(frame)) this.send({ op: "retrack", obj, frame }).then(() => this.retrackSoon());
    else this.retrack();
  }

  private take(changes: Change[]): void {
    for (const { key, value, counts } of changes) {
      const [kind, id, frame] = key;
      if (kind === "prompts" || kind === "mask") this.touch(id, frame);
      if (kind === "status") this.takeStatus(value);
      else if (kind === "look") this.look = value ?? PLAIN;
      else if (kind === "proposal" && value) this.proposals.set(id, { ...value, counts });
      else if (kind === "proposal") this.proposals.delete(id);
      else if (kind === "object") this.takeThing(id, value);
      else if (kind === "prompts") place(this.prompts, id, frame, value);
      else if (kind === "mask") this.takeMask(id, frame, value && { ...value, counts });
    }
    this.revision++;
  }

  private takeStatus(status: Status): void {
    if (status.error && status.error !== this.status.error) this.say(status.error);
    this.status = status;
  }

  private takeMask(id: number, frame: number, mask: Mask | null): void {
    place(this.masks, id, frame, mask);
    const brush = this.paintedAt(id, frame);
    if (brush && (brush.isTaken || this.isHere(brush))) this.wipe(brush);
  }

  private takeThing(id: number, value: Omit<Thing, "id"> | null): void {
    this.coming.delete(id);
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
