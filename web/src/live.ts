/** The socket of an editing session: commands go out, changes come in, and a lost connection loses neither. */

import { ServerError, session as fetchSession } from "./api";

export interface Change {
  key: [kind: string, ...place: number[]];
  value: any;
  /** The run lengths of a mask. */
  counts?: Uint8Array;
}

export type Command = { op: string } & Record<string, unknown>;
export type Connection = "connecting" | "open" | "ended";

interface Pending {
  text: string;
  resolve: (mask: string) => void;
  reject: (error: Error) => void;
}

const [SESSION_GONE, TOO_LARGE] = [4404, 1009];
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [250, 10_000];
/** A server that says nothing for so long, though something is due, is connected to anew; then it gets more time. */
const [OVERDUE_MS, LONGEST_OVERDUE_MS] = [15_000, 240_000];
const WATCH_MS = 1000;

export class Live {
  private socket: WebSocket | null = null;
  private version = 0;
  private lastId = 0;
  private failures = 0;
  private isClosed = false;
  private heard = 0;
  private patience = OVERDUE_MS;
  private again = 0;
  private readonly watching = setInterval(() => this.watch(), WATCH_MS);
  private readonly stopped = new AbortController();
  private readonly pending = new Map<number, Pending>();
  private readonly client = crypto.getRandomValues(new Uint32Array(4)).join("-");

  /** `onConnection` is also told why there is none; `isExpecting` says whether changes are due without a command. */
  constructor(
    private readonly session: string,
    private readonly onChanges: (changes: Change[]) => void,
    private readonly onConnection: (connection: Connection, why: string) => void,
    private readonly isExpecting: () => boolean,
  ) {
    addEventListener("online", () => this.connect(), { signal: this.stopped.signal });
    this.connect();
  }

  /** Has a command carried out, and gives the mask that it asks for. Rejects with the server's sentence. */
  send(command: Command): Promise<string> {
    const id = ++this.lastId;
    const text = JSON.stringify({ id, command });
    return new Promise((resolve, reject) => {
      if (!this.pending.size) this.heard = performance.now();
      this.pending.set(id, { text, resolve, reject });
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
    });
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.watching);
    clearTimeout(this.again);
    this.stopped.abort();
    this.socket?.close();
  }

  private connect(): void {
    if (this.isClosed) return;
    this.leave();
    const url = new URL(`./api/sessions/${this.session}/live`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    url.search = new URLSearchParams({ client: this.client, since: String(this.version) }).toString();
    const socket = new WebSocket(url);
    let wasOpen = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      wasOpen = true;
      this.onConnection("open", "");
      for (const { text } of this.pending.values()) socket.send(text);
    };
    socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      this.failures = 0;
      if (typeof data === "string") this.answered(JSON.parse(data));
      else this.changed(data);
    };
    socket.onclose = ({ code, reason }) => this.lost(code, reason, wasOpen);
    this.socket = socket;
    this.heard = performance.now();
  }

  /** Drops the connection that there is, from which nothing may come any more. */
  private leave(): void {
    clearTimeout(this.again);
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
  }

  private lost(code: number, reason: string, wasOpen: boolean): void {
    this.socket = null;
    if (this.isClosed) return;
    if (code === SESSION_GONE) return this.end();
    if (code === TOO_LARGE) this.giveUpLargest();
    this.onConnection("connecting", reason);
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.failures++, LONGEST_PAUSE_MS);
    this.again = window.setTimeout(() => this.connect(), pause * (0.75 + Math.random() / 2));
    if (!wasOpen) this.endIfRefused();
  }

  private end(): void {
    this.close();
    this.onConnection("ended", "");
    for (const { reject } of this.pending.values()) reject(new Error("the session has ended"));
    this.pending.clear();
  }

  /** A browser does not say why a socket was refused; a request does. */
  private async endIfRefused(): Promise<void> {
    const error = await fetchSession(this.session).catch((problem) => problem);
    if (error instanceof ServerError && [401, 403, 404].includes(error.status) && !this.isClosed) this.end();
  }

  /** A message that is larger than the server takes would end every connection again. */
  private giveUpLargest(): void {
    const [largest] = [...this.pending].sort(([, a], [, b]) => b.text.length - a.text.length);
    if (!largest) return;
    this.pending.delete(largest[0]);
    largest[1].reject(new Error("this is more than the server takes at once; paint a simpler mask"));
  }

  private watch(): void {
    const isDue = this.socket?.readyState === WebSocket.CONNECTING || this.pending.size > 0 || this.isExpecting();
    if (!isDue || !this.socket) this.heard = performance.now();
    else if (performance.now() - this.heard > this.patience) {
      this.patience = Math.min(2 * this.patience, LONGEST_OVERDUE_MS);
      this.onConnection("connecting", "");
      this.connect();
    }
  }

  private answered({ re, error, mask }: { re: number; error: string; mask?: string }): void {
    const pending = this.pending.get(re);
    this.patience = OVERDUE_MS;
    this.pending.delete(re);
    if (error) pending?.reject(new Error(error));
    else pending?.resolve(mask ?? "");
  }

  private changed(data: ArrayBuffer): void {
    const length = new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    let place = 4 + length;
    for (const item of header.items as Change[]) {
      if (!["mask", "proposal"].includes(item.key[0]) || !item.value) continue;
      item.counts = new Uint8Array(data, place, item.value.counts);
      place += item.value.counts;
    }
    this.version = header.version;
    this.onChanges(header.items);
    this.socket?.send(JSON.stringify({ ack: header.version }));
  }
}
