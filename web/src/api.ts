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

const RETRIES = 8;

export class ServerError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`./api${path}`, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await problem(response);
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

async function problem(response: Response): Promise<ServerError> {
  const told = (await response.json().catch(() => ({}))) as { error?: string };
  return new ServerError(response.status, told.error ?? `the server answered ${response.status}`);
}

export const openSample = () => request<Session>("POST", "/sessions", { sample: true });
export const openUploads = (uploads: string[]) => request<Session>("POST", "/sessions", { uploads });
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
  const response = await fetch(`./api/sessions/${id}/pictures`, {
    method: "POST",
    headers: { "content-type": "image/png" },
    body: picture,
  });
  if (!response.ok) throw await problem(response);
  return ((await response.json()) as { id: string }).id;
}

/** Sends a file in parts and goes on where it was after a lost connection. */
export async function upload(file: File, onProgress: (bytes: number) => void): Promise<string> {
  const limits = await request<{ chunk_bytes: number; upload_bytes: number }>("GET", "/limits");
  const { id } = await request<{ id: string }>("POST", "/uploads", { size: file.size, name: file.name.slice(0, 200) });
  const part = Math.min(limits.chunk_bytes, 4 << 20);
  let [offset, failures] = [0, 0];
  while (offset < file.size) {
    try {
      offset = await append(id, offset, file.slice(offset, offset + part));
      failures = 0;
    } catch (error) {
      if ((error instanceof ServerError && error.status !== 409) || ++failures > RETRIES) throw error;
      await wait(500 * failures);
      offset = await offsetOf(id, offset);
    }
    onProgress(offset);
  }
  return id;
}

async function append(id: string, offset: number, body: Blob): Promise<number> {
  const response = await fetch(`./api/uploads/${id}`, {
    method: "PATCH",
    headers: { "content-type": "application/offset+octet-stream", "upload-offset": String(offset) },
    body,
  });
  if (!response.ok) throw await problem(response);
  return Number(response.headers.get("upload-offset"));
}

async function offsetOf(id: string, known: number): Promise<number> {
  const response = await fetch(`./api/uploads/${id}`, { method: "HEAD" }).catch(() => null);
  if (response?.status === 404) throw new ServerError(404, "the upload was given up by the server; try again");
  return response?.ok ? Number(response.headers.get("upload-offset")) : known;
}
