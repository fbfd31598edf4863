/** The socket of an editing session: commands go out, changes come in, and a lost connection loses neither. */

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

const SESSION_GONE = 4404;

export class Live {
  private socket: WebSocket | null = null;
  private version = 0;
  private lastId = 0;
  private failures = 0;
  private isClosed = false;
  private readonly pending = new Map<number, Pending>();
  private readonly client = crypto.getRandomValues(new Uint32Array(4)).join("-");

  constructor(
    private readonly session: string,
    private readonly onChanges: (changes: Change[]) => void,
    private readonly onConnection: (connection: Connection) => void,
  ) {
    this.connect();
  }

  /** Has a command carried out, and gives the mask that it asks for. Rejects with the server's sentence. */
  send(command: Command): Promise<string> {
    const id = ++this.lastId;
    const text = JSON.stringify({ id, command });
    return new Promise((resolve, reject) => {
      this.pending.set(id, { text, resolve, reject });
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
    });
  }

  close(): void {
    this.isClosed = true;
    this.socket?.close();
  }

  private connect(): void {
    this.onConnection("connecting");
    const url = new URL(`./api/sessions/${this.session}/live`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    url.search = new URLSearchParams({ client: this.client, since: String(this.version) }).toString();
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.failures = 0;
      this.onConnection("open");
      for (const { text } of this.pending.values()) socket.send(text);
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.answered(JSON.parse(data)) : this.changed(data));
    socket.onclose = ({ code }) => this.lost(code);
    this.socket = socket;
  }

  private lost(code: number): void {
    if (this.isClosed) return;
    if (code === SESSION_GONE) {
      this.onConnection("ended");
      return;
    }
    this.onConnection("connecting");
    setTimeout(() => !this.isClosed && this.connect(), Math.min(250 * 2 ** this.failures++, 5000));
  }

  private answered({ re, error, mask }: { re: number; error: string; mask?: string }): void {
    const pending = this.pending.get(re);
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
