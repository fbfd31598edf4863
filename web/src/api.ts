/** Requests to the server; docs/server.md describes them. */

export interface VideoInfo {
  name: string;
  width: number;
  height: number;
  frames: number;
  fps: number;
  sound: boolean;
  thumbnails: number;
}

export interface Session {
  id: string;
  state: "preparing" | "ready" | "failed";
  done: number;
  total: number;
  error: string;
  video: VideoInfo | null;
}

export interface Export {
  id: string;
  state: "running" | "ready" | "failed";
  done: number;
  total: number;
  error: string;
}

export type ExportFormat = "video" | "cutout-webm" | "png" | "png-objects" | "coco" | "sav" | "rle";

export interface Limits {
  upload_bytes: number;
  chunk_bytes: number;
  pictures: number;
}

const PART_BYTES = 4 << 20;
/** How long something is tried again that cannot be done for now. */
const PATIENCE_MS = 600_000;
/** After so long without an answer a connection counts as lost. */
const [ANSWER_MS, PART_MS] = [30_000, 300_000];
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [500, 10_000];

/** The server's own sentence on what was wrong; `status` 0: it could not be reached. */
export class ServerError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly pauseMs = 0,
  ) {
    super(message);
  }

  /** Whether it may work later: no connection or a slow one, too many requests, a server that is busy or starts again. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Tries again, with longer and longer pauses, what cannot be done for now. `onWait` is told why, and "" after it. */
export async function patiently<T>(work: () => Promise<T>, onWait: (why: string) => void = () => {}): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (let failures = 0; ; failures++) {
    try {
      const done = await work();
      if (failures) onWait("");
      return done;
    } catch (error) {
      if (!(error instanceof ServerError && error.isPassing) || performance.now() > end) throw error;
      onWait(error.message);
      await pause(Math.max(Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS), error.pauseMs));
    }
  }
}

/** Waits, but not beyond the moment when the network is back. */
async function pause(ms: number): Promise<void> {
  const stopped = new AbortController();
  const back = new Promise((resolve) => addEventListener("online", resolve, { signal: stopped.signal, once: true }));
  await Promise.race([wait(ms), back]);
  stopped.abort();
}

async function ask(path: string, init: RequestInit, mostMs: number): Promise<Response> {
  const response = await fetch(`./api${path}`, { ...init, signal: AbortSignal.timeout(mostMs) }).catch(() => {
    throw new ServerError(0, "the server cannot be reached");
  });
  if (!response.ok) throw await problem(response);
  return response;
}

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: HeadersInit = body === undefined ? {} : { "content-type": "application/json" };
  const text = body === undefined ? undefined : JSON.stringify(body);
  const response = await ask(path, { method, headers, body: text }, ANSWER_MS);
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

async function problem(response: Response): Promise<ServerError> {
  const told = (await response.json().catch(() => ({}))) as { error?: string };
  const seconds = Number(response.headers.get("retry-after")) || 0;
  return new ServerError(response.status, told.error ?? `the server answered ${response.status}`, seconds * 1000);
}

export const openSample = () => request<Session>("POST", "/sessions", { sample: true });
export const openUploads = (uploads: string[]) => request<Session>("POST", "/sessions", { uploads });
export const limits = () => request<Limits>("GET", "/limits");
export const session = (id: string) => request<Session>("GET", `/sessions/${id}`);
export const closeSession = (id: string) => request<void>("DELETE", `/sessions/${id}`);
export const beginExport = (id: string, format: ExportFormat) =>
  request<Export>("POST", `/sessions/${id}/exports`, { format });
export const exportState = (id: string, name: string) => request<Export>("GET", `/sessions/${id}/exports/${name}`);
export const exportFile = (id: string, name: string) => `./api/sessions/${id}/exports/${name}/file`;
export const videoFile = (id: string) => `./api/sessions/${id}/video.mp4`;
export const thumbnailsFile = (id: string) => `./api/sessions/${id}/thumbnails.jpg`;

export const pictureFile = (id: string, name: string) => `./api/sessions/${id}/pictures/${name}`;

/** Brings a PNG picture of the video's size: its name. */
export async function addPicture(id: string, picture: Blob): Promise<string> {
  const headers = { "content-type": "image/png" };
  const response = await ask(`/sessions/${id}/pictures`, { method: "POST", headers, body: picture }, PART_MS);
  return ((await response.json()) as { id: string }).id;
}

/** Why the server would not take these files, "" if nothing is against them. */
export function refused(files: File[], limits: Limits): string {
  if (files.length > limits.pictures)
    return `These are ${files.length} files, but a video is made of at most ${limits.pictures} pictures. Choose fewer.`;
  const large = files.find((file) => file.size > limits.upload_bytes);
  return large
    ? `${large.name} has ${large.size >> 20} MB, but the server takes at most ${limits.upload_bytes >> 20}.`
    : "";
}

/** Sends a file in parts; goes on where it was once a lost connection is back. Gives the name of the upload. */
export async function upload(
  file: File,
  limits: Limits,
  onProgress: (bytes: number) => void,
  onWait: (why: string) => void,
): Promise<string> {
  const wanted = { size: file.size, name: file.name.slice(0, 200) };
  const { id } = await patiently(() => request<{ id: string }>("POST", "/uploads", wanted), onWait);
  const part = Math.min(limits.chunk_bytes, PART_BYTES);
  let offset: number | null = 0;
  const append = async () => {
    const from: number = offset ?? (await offsetOf(id));
    offset = null; // until it is known what has arrived
    offset = await send(id, from, file.slice(from, from + part));
    return offset;
  };
  for (let done = 0; done < file.size; onProgress(done)) done = await patiently(append, onWait);
  return id;
}

async function send(id: string, offset: number, body: Blob): Promise<number> {
  const headers = { "content-type": "application/offset+octet-stream", "upload-offset": String(offset) };
  const part = ask(`/uploads/${id}`, { method: "PATCH", headers, body }, PART_MS);
  const response = await part.catch((error: ServerError) => {
    // The server still takes a part that this page gave up for lost.
    throw error.status === 409 ? new ServerError(503, error.message) : error;
  });
  return Number(response.headers.get("upload-offset"));
}

async function offsetOf(id: string): Promise<number> {
  const question = ask(`/uploads/${id}`, { method: "HEAD" }, ANSWER_MS);
  const response = await question.catch((error: ServerError) => {
    throw error.status === 404 ? new ServerError(404, "the upload was given up by the server; try again") : error;
  });
  return Number(response.headers.get("upload-offset"));
}
