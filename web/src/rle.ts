/**
 * COCO run lengths: pixels outside and inside by turns, column by column. Each number is a little-endian sequence of
 * characters of five bits and a sign; from the fourth on, the difference to the number two before is stored.
 */

/** Calls `inside(start, end)` for every run of set pixels; positions count down the columns. */
export function eachRun(counts: Uint8Array, inside: (start: number, end: number) => void): void {
  let position = 0;
  let [before, last] = [0, 0];
  for (let place = 0, index = 0; place < counts.length; index++) {
    let [value, shift, more] = [0, 0, true];
    while (more && place < counts.length) {
      const bits = counts[place++] - 48;
      value |= (bits & 31) << shift;
      more = (bits & 32) !== 0;
      shift += 5;
      if (!more && bits & 16 && shift < 32) value |= -1 << shift;
    }
    const run = index > 2 ? value + before : value;
    [before, last] = [last, run];
    if (index % 2) inside(position, position + run);
    position += run;
  }
}

/** Whether the pixel at a position, counted down the columns, is set. */
export function holds(counts: Uint8Array, position: number): boolean {
  let found = false;
  eachRun(counts, (start, end) => (found ||= start <= position && position < end));
  return found;
}

/** Run lengths of a mask that lies column by column; other values than 0 are inside. */
export function encode(mask: Uint8Array): string {
  const runs: number[] = [];
  let [start, isInside] = [0, false];
  for (let position = 0; position < mask.length; position++) {
    if (mask[position] !== 0 !== isInside) {
      runs.push(position - start);
      start = position;
      isInside = !isInside;
    }
  }
  runs.push(mask.length - start);
  return runs.map((run, index) => characters(index > 2 ? run - runs[index - 2] : run)).join("");
}

function characters(number: number): string {
  let text = "";
  for (let more = true; more; ) {
    let bits = number & 31;
    number >>= 5;
    more = bits & 16 ? number !== -1 : number !== 0;
    if (more) bits |= 32;
    text += String.fromCharCode(bits + 48);
  }
  return text;
}
