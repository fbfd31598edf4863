/** Pictures that lie between background and objects, drawn at the video's size. */

import type { VideoInfo } from "./api";

export const EMOJI = ["🎉", "❤️", "🔥", "⭐", "🌈", "🌊"];

/** A photo that covers the whole picture. */
export async function photo(file: Blob, video: VideoInfo): Promise<Blob> {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error("this file is no picture that the browser can show");
  });
  const scale = Math.max(video.width / picture.width, video.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return drawn(video, (context) =>
    context.drawImage(picture, (video.width - width) / 2, (video.height - height) / 2, width, height),
  );
}

/** A text over the whole width; a single sign, such as an emoji, is strewn. */
export function writing(text: string, video: VideoInfo): Promise<Blob> {
  const isSign = [...new Intl.Segmenter().segment(text)].length === 1;
  return drawn(video, (context) => (isSign ? strew(context, text, video) : write(context, text, video)));
}

function write(context: CanvasRenderingContext2D, text: string, { width, height }: VideoInfo): void {
  const side = 200;
  context.font = font(side);
  const size = Math.min((side * width * 0.92) / context.measureText(text).width, height * 0.7);
  context.font = font(size);
  context.lineJoin = "round";
  context.lineWidth = size / 12;
  context.strokeStyle = "#16181d";
  context.fillStyle = "#fff";
  context.strokeText(text, width / 2, height / 2);
  context.fillText(text, width / 2, height / 2);
}

function strew(context: CanvasRenderingContext2D, sign: string, { width, height }: VideoInfo): void {
  const step = Math.max(height, width) / 7;
  context.font = font(step * 0.6);
  context.fillStyle = "#fff";
  for (let row = 0; row * step < height + step; row++)
    for (let column = 0; column * step < width + step; column++)
      context.fillText(sign, (column + (row % 2) / 2) * step, (row + 0.5) * step);
}

const font = (size: number) => `800 ${size}px system-ui, "DejaVu Sans", "Noto Color Emoji", sans-serif`;

function drawn({ width, height }: VideoInfo, draw: (context: CanvasRenderingContext2D) => void): Promise<Blob> {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d")!;
  context.textAlign = "center";
  context.textBaseline = "middle";
  draw(context);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be drawn"))), "image/png"),
  );
}
