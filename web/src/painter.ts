/** Draws a frame with its masks and effects, on the graphics processor. */

import type { Mask, Thing } from "./editor.svelte";
import { eachRun } from "./rle";

export const BACKGROUNDS = ["original", "erase", "blur", "pixelate", "desaturate", "gradient", "spotlight"] as const;
export const EFFECTS = ["overlay", "outline", "original", "erase", "blur", "pixelate", "desaturate", "gradient"] as const;

const MAX_OBJECTS = 100;
const CODES: Record<string, number> = {
  original: 0, erase: 1, blur: 2, pixelate: 3, desaturate: 4, gradient: 5, spotlight: 6, overlay: 7, outline: 8,
};

const VERTEX = `#version 300 es
out vec2 place;
void main() {
  place = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(place * vec2(2, -2) + vec2(-1, 1), 0, 1);
}`;

// The mask lies column by column, as run lengths count, so its axes are swapped here.
const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture;
uniform sampler2D mask;
uniform vec2 size;
uniform float line;
uniform int background;
uniform int effect;
uniform int chosen;
uniform vec3 colours[${MAX_OBJECTS + 1}];
in vec2 place;
out vec4 colour;

int owner(vec2 at) { return int(texture(mask, clamp(at, 0.0, 1.0).yx).r * 255.0 + 0.5); }

vec3 blurred(vec2 at) {
  vec3 sum = vec3(0);
  for (int i = 0; i < 32; i++) {
    float angle = float(i) * 2.399963, reach = sqrt(float(i) + 0.5) * size.y / 160.0;
    sum += texture(picture, at + vec2(cos(angle), sin(angle)) * reach / size).rgb;
  }
  return sum / 32.0;
}

vec3 changed(int kind, vec2 at, vec3 seen) {
  float grey = dot(seen, vec3(0.2126, 0.7152, 0.0722));
  if (kind == 1) return vec3(mod(floor(at.x * size.x / 16.0) + floor(at.y * size.y / 16.0), 2.0) * 0.06 + 0.1);
  if (kind == 2) return blurred(at);
  if (kind == 3) { vec2 cells = size / (size.y / 36.0); return texture(picture, (floor(at * cells) + 0.5) / cells).rgb; }
  if (kind == 4) return vec3(grey);
  if (kind == 5) return mix(vec3(0.16, 0.1, 0.45), vec3(1.0, 0.62, 0.4), grey * 0.7 + at.y * 0.3);
  if (kind == 6) return seen * 0.25;
  return seen;
}

void main() {
  vec3 seen = texture(picture, place).rgb;
  int own = owner(place);
  vec3 drawn = changed(own == 0 ? background : effect, place, seen);
  if (effect >= 7 && own > 0) drawn = mix(drawn, colours[own], effect == 7 ? (own == chosen ? 0.5 : 0.38) : 0.0);
  if (effect >= 7) {
    float nearest = 9.0;
    int edge = 0;
    for (int i = 0; i < 16; i++) {
      float angle = float(i) * 0.3926991;
      vec2 beside = place + vec2(cos(angle), sin(angle)) * line / size;
      int other = owner(beside);
      if (other != own) { edge = own > 0 ? own : other; nearest = 0.0; }
    }
    if (nearest < 1.0 && edge > 0) drawn = mix(drawn, colours[edge], 0.95);
  }
  colour = vec4(drawn, 1);
}`;

export class Painter {
  private readonly gl: WebGL2RenderingContext;
  private readonly owners: Uint8Array;
  private readonly uniforms: Record<string, WebGLUniformLocation | null> = {};
  private readonly textures: WebGLTexture[];

  constructor(
    canvas: HTMLCanvasElement,
    private readonly width: number,
    private readonly height: number,
  ) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser cannot draw with WebGL 2; switch hardware acceleration on or use another one");
    this.gl = gl;
    this.owners = new Uint8Array(width * height);
    const program = linked(gl);
    gl.useProgram(program);
    for (const name of ["picture", "mask", "size", "line", "background", "effect", "chosen", "colours"])
      this.uniforms[name] = gl.getUniformLocation(program, name);
    gl.uniform1i(this.uniforms.picture, 0);
    gl.uniform1i(this.uniforms.mask, 1);
    gl.uniform2f(this.uniforms.size, width, height);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.textures = [texture(gl, gl.LINEAR), texture(gl, gl.NEAREST)];
    canvas.width = width;
    canvas.height = height;
    gl.viewport(0, 0, width, height);
  }

  /** Object numbers are too large for a byte: on a frame they are places in `things`, from 1. */
  paint(
    video: HTMLVideoElement,
    things: Thing[],
    maskOf: (id: number) => Mask | undefined,
    look: { background: string; effect: string; chosen: number; line: number },
    drawn: { id: number; mask: Uint8Array } | null = null,
  ): void {
    const { gl, uniforms } = this;
    this.owners.fill(0);
    const shown = things.slice(0, MAX_OBJECTS);
    const colours = new Float32Array(3 * (MAX_OBJECTS + 1));
    shown.forEach((thing, index) => {
      colours.set(rgb(thing.colour), 3 * (index + 1));
      if (!thing.visible) return;
      if (drawn?.id === thing.id) this.lay(drawn.mask, index + 1);
      else this.fill(maskOf(thing.id), index + 1);
    });
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[0]);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, video);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[1]);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, this.height, this.width, 0, gl.RED, gl.UNSIGNED_BYTE, this.owners);
    gl.uniform3fv(uniforms.colours, colours);
    gl.uniform1f(uniforms.line, look.line);
    gl.uniform1i(uniforms.background, CODES[look.background]);
    gl.uniform1i(uniforms.effect, CODES[look.effect]);
    gl.uniform1i(uniforms.chosen, shown.findIndex((thing) => thing.id === look.chosen) + 1);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  private fill(mask: Mask | undefined, place: number): void {
    if (mask?.area) eachRun(mask.counts, (start, end) => this.owners.fill(place, start, end));
  }

  private lay(mask: Uint8Array, place: number): void {
    for (let position = 0; position < mask.length; position++) if (mask[position]) this.owners[position] = place;
  }
}

export function rgb(colour: string): [number, number, number] {
  const value = parseInt(colour.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}

function texture(gl: WebGL2RenderingContext, filter: number): WebGLTexture {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

function linked(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "no program");
  return program;
}
