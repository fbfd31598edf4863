/** Frame-exact playing: frame n is on show from n / fps seconds on, and seeking aims at the middle of it. */

import type { Editor } from "./editor.svelte";

export class Player {
  playing = $state(false);
  /** Counts pictures that arrived, for those who draw them. */
  pictures = $state(0);

  private video: HTMLVideoElement | null = null;
  private wanted: number | null = null;

  constructor(private readonly editor: Editor) {}

  attach(video: HTMLVideoElement): () => void {
    this.video = video;
    const leave = "requestVideoFrameCallback" in video ? this.hearFrames(video) : this.watchClock(video);
    video.onseeked = () => this.settle();
    video.onloadedmetadata = () => this.editor.frame && this.seek(this.editor.frame);
    video.onloadeddata = () => this.pictures++;
    video.onplay = () => (this.playing = true);
    video.onpause = () => (this.playing = false);
    video.onended = () => this.end();
    return () => {
      leave();
      this.video = null;
    };
  }

  /** The browser tells which frame it shows. */
  private hearFrames(video: HTMLVideoElement): () => void {
    let next = 0;
    const arrived = (_: number, { mediaTime }: { mediaTime: number }) => {
      // Chromium tells when the frame begins, Firefox, after seeking, the moment that was sought: its middle.
      this.show(Math.floor(mediaTime * this.editor.video.fps + 0.25));
      next = video.requestVideoFrameCallback(arrived);
    };
    next = video.requestVideoFrameCallback(arrived);
    return () => video.cancelVideoFrameCallback(next);
  }

  /** Older browsers, such as Firefox before 132, do not; the clock does while the video plays. */
  private watchClock(video: HTMLVideoElement): () => void {
    let next = 0;
    const look = () => {
      if (!video.paused && !video.seeking) this.show(this.frameAt(video.currentTime));
      next = requestAnimationFrame(look);
    };
    next = requestAnimationFrame(look);
    return () => cancelAnimationFrame(next);
  }

  private frameAt(seconds: number): number {
    return Math.floor(seconds * this.editor.video.fps + 1e-3);
  }

  toggle(): void {
    const { video } = this;
    if (!video) return;
    this.editor.stay();
    if (!video.paused) this.halt();
    else {
      if (this.editor.frame >= this.editor.last) video.currentTime = 0;
      void video.play();
    }
  }

  /** Stops on the frame that is on show. */
  halt(): void {
    if (!this.video || this.video.paused) return;
    this.video.pause();
    this.go(this.editor.frame);
  }

  go(frame: number): void {
    const { video, editor } = this;
    const target = Math.min(Math.max(Math.round(frame) || 0, 0), editor.last);
    editor.frame = target;
    if (!video) return;
    if (video.seeking) this.wanted = target;
    else this.seek(target);
  }

  private seek(frame: number): void {
    this.wanted = null;
    this.video!.currentTime = (frame + 0.5) / this.editor.video.fps;
  }

  private settle(): void {
    this.editor.seen = Math.min(this.frameAt(this.video!.currentTime), this.editor.last);
    if (this.wanted !== null) this.seek(this.wanted);
    this.pictures++;
  }

  private end(): void {
    this.playing = false;
    this.editor.frame = this.editor.seen = this.editor.last;
    this.pictures++;
  }

  /** A picture has arrived. While the video plays, the user is where it is. */
  private show(frame: number): void {
    const { video, editor } = this;
    editor.seen = Math.min(frame, editor.last);
    if (!video!.paused && !video!.seeking) editor.frame = editor.seen;
    this.pictures++;
  }
}
