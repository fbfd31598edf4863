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
    let isThere = true;
    const arrived = (_: number, { mediaTime }: { mediaTime: number }) => {
      if (!isThere) return;
      this.show(mediaTime);
      video.requestVideoFrameCallback(arrived);
    };
    video.requestVideoFrameCallback(arrived);
    video.onseeked = () => this.settle();
    video.onloadeddata = () => this.pictures++;
    video.onplay = () => (this.playing = true);
    video.onpause = () => (this.playing = false);
    video.onended = () => (this.playing = false);
    return () => {
      isThere = false;
      this.video = null;
    };
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
    const target = Math.min(Math.max(frame, 0), editor.last);
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
    if (this.wanted !== null) this.seek(this.wanted);
    this.pictures++;
  }

  private show(seconds: number): void {
    const { video, editor } = this;
    if (!video!.paused && !video!.seeking) {
      editor.frame = Math.min(Math.round(seconds * editor.video.fps), editor.last);
    }
    this.pictures++;
  }
}
