/**
 * Draws a frame with its masks and effects, on the graphics processor.
 *
 * `src/masklet/server/effects.py` draws the same for exports: sizes, colours and orders are those of that file.
 */

import type { Mask, Thing } from "./editor.svelte";
import { eachRun } from "./rle";

export const BACKGROUNDS = ["original", "erase", "blur", "pixelate", "desaturate", "gradient", "spotlight", "cut-out"] as const;
export const EFFECTS = ["overlay", "outline", "original", "erase", "blur", "pixelate", "desaturate", "gradient"] as const;

export interface Look {
  background: string;
  effect: string;
}

/** What is painted beside the objects that the document holds. */
export interface Extras {
  /** Masks that are being painted, column by column, in place of those of objects. */
  drawn?: (id: number) => Uint8Array | undefined;
  /** Masks over all others: proposals, or what a click would give. */
  ghosts?: { counts: Uint8Array; colour: string }[];
  /** The place in `ghosts` of one that stands out. */
  strong?: number;
}

const MAX_OWNERS = 255;
const CODES: Record<string, number> = {
  original: 0, erase: 1, blur: 2, pixelate: 3, desaturate: 4, gradient: 5, spotlight: 6, overlay: 7, outline: 8,
  "cut-out": 9,
};

const VERTEX = `#version 300 es
void main() {
  vec2 place = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(place * 2.0 - 1.0, 0, 1);
}`;

/** Sums a row or a column under a Gaussian. */
const GAUSS = `
vec3 gauss(sampler2D from, ivec2 at, ivec2 along, int radius, ivec2 size) {
  float sigma = float(radius) / 2.0, total = 0.0;
  vec3 sum = vec3(0);
  for (int i = -radius; i <= radius; i++) {
    float weight = exp(-float(i * i) / (2.0 * sigma * sigma));
    sum += weight * texelFetch(from, clamp(at + along * i, ivec2(0), size - 1), 0).rgb;
    total += weight;
  }
  return sum / total;
}`;

const ROWS = `#version 300 es
precision highp float;
uniform sampler2D picture;
uniform ivec2 size;
uniform int radius;
out vec4 colour;
${GAUSS}
void main() { colour = vec4(gauss(picture, ivec2(gl_FragCoord.xy), ivec2(1, 0), radius, size), 1); }`;

// The mask lies column by column, as run lengths count, so its axes are swapped here.
const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture, mask, rows, behind, colours;
uniform ivec2 size;
uniform int cell, radius, line, background, effect, ghosts, strong;
uniform bool lies;
uniform ivec2 around[16];
out vec4 colour;
${GAUSS}
int owner(ivec2 at) { return int(texelFetch(mask, clamp(at, ivec2(0), size - 1).yx, 0).r * 255.0 + 0.5); }
vec3 own_colour(int own) { return texelFetch(colours, ivec2(own, 0), 0).rgb; }

vec3 changed(int kind, ivec2 at, vec3 seen) {
  float grey = dot(seen, vec3(0.2126, 0.7152, 0.0722));
  float down = (float(at.y) + 0.5) / float(size.y);
  if (kind == 1) return vec3(26, 26, 30) / 255.0;
  if (kind == 2) return gauss(rows, at, ivec2(0, 1), radius, size);
  if (kind == 3) return texelFetch(picture, min(at / cell * cell + cell / 2, size - 1), 0).rgb;
  if (kind == 4) return vec3(grey);
  if (kind == 5) return mix(vec3(41, 26, 115), vec3(255, 158, 102), grey * 0.7 + down * 0.3) / 255.0;
  if (kind == 6) return seen * 0.25;
  if (kind == 9) return vec3((at.x / cell + at.y / cell) % 2 == 0 ? 205.0 : 160.0) / 255.0;
  return seen;
}

void main() {
  ivec2 at = ivec2(gl_FragCoord.x, float(size.y) - gl_FragCoord.y);
  vec3 seen = texelFetch(picture, at, 0).rgb;
  int own = owner(at);
  vec3 drawn = changed(own == 0 ? background : effect, at, seen);
  if (own == 0 && lies) {
    vec4 over = texelFetch(behind, at, 0);
    drawn = mix(drawn, over.rgb, over.a);
  }
  if (own >= ghosts) drawn = mix(seen, own_colour(own), own == strong ? 0.7 : 0.35);
  else if (own > 0 && effect == 7) drawn = mix(drawn, own_colour(own), 0.45);
  int edge = 0;
  for (int i = 0; i < 16; i++) {
    int other = owner(at + around[i]);
    if (other != own) edge = own > 0 ? own : other;
  }
  if (edge >= ghosts || (edge > 0 && effect >= 7)) drawn = mix(drawn, own_colour(edge), 0.95);
  colour = vec4(drawn, 1);
}`;

const UNITS = ["picture", "mask", "rows", "behind", "colours"] as const;
type Unit = (typeof UNITS)[number];

export class Painter {
  private readonly gl: WebGL2RenderingContext;
  private readonly owners: Uint8Array;
  private readonly main: Program;
  private readonly rows: Program;
  private readonly textures = {} as Record<Unit, WebGLTexture>;
  private readonly half: WebGLFramebuffer;
  private lies = false;

  constructor(
    canvas: HTMLCanvasElement,
    private readonly width: number,
    private readonly height: number,
  ) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("This browser cannot draw with WebGL 2. Switch hardware acceleration on, or use another browser.");
    this.gl = gl;
    this.owners = new Uint8Array(width * height);
    canvas.width = width;
    canvas.height = height;
    gl.viewport(0, 0, width, height);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    UNITS.forEach((unit, place) => (this.textures[unit] = texture(gl, place)));
    gl.activeTexture(gl.TEXTURE0 + UNITS.indexOf("rows"));
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    this.half = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.half);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.textures.rows, 0);
    this.main = new Program(gl, FRAGMENT);
    this.rows = new Program(gl, ROWS);
    this.setSizes();
  }

  /** A picture of the video's size that lies over the background and behind the objects. */
  layBehind(picture: TexImageSource | null): void {
    const { gl } = this;
    this.lies = picture !== null;
    if (!picture) return;
    gl.activeTexture(gl.TEXTURE0 + UNITS.indexOf("behind"));
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
  }

  /** Object numbers are too large for a byte: on a frame they are places in `things`, from 1; then come the ghosts. */
  paint(
    video: HTMLVideoElement,
    things: Thing[],
    maskOf: (id: number) => Mask | undefined,
    look: Look,
    { drawn, ghosts = [], strong = -1 }: Extras = {},
  ): void {
    const { gl, main } = this;
    const colours = new Uint8Array(4 * (MAX_OWNERS + 1));
    const shown = things.slice(0, MAX_OWNERS);
    this.owners.fill(0);
    shown.forEach((thing, index) => {
      colours.set(rgb(thing.colour), 4 * (index + 1));
      if (!thing.visible) return;
      const painted = drawn?.(thing.id);
      if (painted) this.lay(painted, index + 1);
      else this.fill(maskOf(thing.id)?.counts, index + 1);
    });
    ghosts.slice(0, MAX_OWNERS - shown.length).forEach(({ counts, colour }, index) => {
      colours.set(rgb(colour), 4 * (shown.length + 1 + index));
      this.fill(counts, shown.length + 1 + index);
    });
    this.upload("picture", () => gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, video));
    this.upload("mask", () =>
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, this.height, this.width, 0, gl.RED, gl.UNSIGNED_BYTE, this.owners),
    );
    this.upload("colours", () =>
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, MAX_OWNERS + 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colours),
    );
    if (look.background === "blur" || look.effect === "blur") this.blurRows();
    main.use();
    main.whole("background", CODES[look.background]);
    main.whole("effect", CODES[look.effect]);
    main.whole("ghosts", shown.length + 1);
    main.whole("strong", strong < 0 ? -1 : shown.length + 1 + strong);
    main.whole("lies", Number(this.lies));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  private blurRows(): void {
    const { gl } = this;
    this.rows.use();
    // What is drawn into must not be at hand for reading.
    this.upload("rows", () => gl.bindTexture(gl.TEXTURE_2D, null));
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.half);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.upload("rows", () => gl.bindTexture(gl.TEXTURE_2D, this.textures.rows));
  }

  private upload(unit: Unit, work: () => void): void {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.activeTexture(gl.TEXTURE0 + UNITS.indexOf(unit));
    work();
  }

  private setSizes(): void {
    const { width, height } = this;
    const line = Math.max(1, Math.floor((height + 135) / 270));
    const around = Array.from({ length: 16 }, (_, number) => {
      const angle = (number * 2 * Math.PI) / 16;
      return [Math.cos(angle), Math.sin(angle)].map((value) => Math.floor(value * line + 0.5));
    });
    for (const program of [this.main, this.rows]) {
      program.use();
      program.pairs("size", [width, height]);
      program.pairs("around", around.flat());
      program.whole("cell", Math.max(4, Math.floor(height / 36)));
      program.whole("radius", Math.max(2, Math.floor(height / 40)));
      UNITS.forEach((unit, place) => program.whole(unit, place));
    }
  }

  private fill(counts: Uint8Array | undefined, place: number): void {
    if (counts) eachRun(counts, (start, end) => this.owners.fill(place, start, end));
  }

  private lay(mask: Uint8Array, place: number): void {
    for (let position = 0; position < mask.length; position++) if (mask[position]) this.owners[position] = place;
  }
}

/** A shader with its uniforms; those that it lacks are passed over. */
class Program {
  private readonly program: WebGLProgram;

  constructor(
    private readonly gl: WebGL2RenderingContext,
    fragment: string,
  ) {
    this.program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS))
      throw new Error(gl.getProgramInfoLog(this.program) || "the effects cannot be drawn by this browser");
  }

  use(): void {
    this.gl.useProgram(this.program);
  }

  whole(name: string, value: number): void {
    this.gl.uniform1i(this.gl.getUniformLocation(this.program, name), value);
  }

  pairs(name: string, values: number[]): void {
    this.gl.uniform2iv(this.gl.getUniformLocation(this.program, name), values);
  }
}

function rgb(colour: string): [number, number, number] {
  const value = parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function texture(gl: WebGL2RenderingContext, unit: number): WebGLTexture {
  const made = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}
