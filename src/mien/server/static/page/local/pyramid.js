// A picture in halves, quarters, ...; levels of any scale and square crops are taken from these: mien/faces/pyramid.py.

import { cropped, halved, region, resized, roundEven } from "./pixels.js";

const { fround } = Math;

/** Halving stops before the shorter side gets smaller than P-Net's window. */
export const SMALLEST = 12;

export class Pyramid {
  /** Takes an RGB image. */
  constructor(image) {
    this.width = image.width;
    this.height = image.height;
    const halvings = Math.trunc(Math.log2(Math.max(1, Math.min(image.width, image.height) / SMALLEST)));
    const multiple = 2 ** halvings;
    this.halves = [padded(image, multiple)];
    for (let i = 0; i < halvings; i++) this.halves.push(halved(this.halves[i]));
  }

  /** The picture shrunk to `scale`: {image, across, down}, the last two in pixels of the level per pixel of the picture. */
  level(scale) {
    const step = Math.min(this.halves.length - 1, Math.max(0, Math.trunc(-Math.log2(scale) + 1e-9)));
    const columns = Math.ceil(this.width / 2 ** step);
    const rows = Math.ceil(this.height / 2 ** step);
    const width = Math.max(1, roundEven(columns * scale * 2 ** step));
    const height = Math.max(1, roundEven(rows * scale * 2 ** step));
    const image = resized(cropped(this.halves[step], columns, rows), width, height, scale <= 1);
    return { image, across: width / columns / 2 ** step, down: height / rows / 2 ** step };
  }

  /** Squares [x1, y1, x2, y2] brought to one side: RGB bytes, (count, side, side, 3). */
  crops(squares, side) {
    const bytes = new Uint8Array(squares.length * side * side * 3);
    squares.forEach((square, index) => this.#cut(square, side, bytes, index * side * side * 3));
    return bytes;
  }

  #cut([x1, y1, x2, y2], side, bytes, start) {
    const step = Math.min(Math.max(halvingsFor(x2 - x1, side), 0), this.halves.length - 1);
    const { data, width: stride } = this.halves[step];
    const columns = places(x1, x2, side, this.width, 2 ** step);
    const rows = places(y1, y2, side, this.height, 2 ** step);
    let to = start;
    for (const y of rows) {
      for (const x of columns) {
        const at = (y.first * stride + x.first) * 3;
        const right = x.share > 0 ? 3 : 0;
        const below = y.share > 0 ? stride * 3 : 0;
        for (let c = 0; c < 3; c++) {
          const upper = data[at + c] + (data[at + right + c] - data[at + c]) * x.share;
          const lower = data[at + below + c] + (data[at + below + right + c] - data[at + below + c]) * x.share;
          bytes[to++] = upper + (lower - upper) * y.share + 0.5;
        }
      }
    }
  }
}

/** Where the pixels of a crop lie between those of the picture, along one side; in float32, as in Python. */
function places(from, to, side, size, factor) {
  const [begin, end, most] = [from / factor, to / factor, size / factor - 1].map(fround);
  return Array.from({ length: side }, (_, i) => {
    const place = fround(fround(begin + fround(fround(end - begin) * fround((i + 0.5) / side))) - 0.5);
    const inside = Math.min(Math.max(place, 0), most);
    const first = Math.floor(inside);
    return { first, share: inside - first };
  });
}

function halvingsFor(width, side) {
  return roundEven(Math.log2(Math.max(width, 1e-3) / side));
}

/** The picture continued by its edge to the right and below, to a multiple of pixels. */
function padded(image, multiple) {
  const width = Math.ceil(image.width / multiple) * multiple;
  const height = Math.ceil(image.height / multiple) * multiple;
  if (width === image.width && height === image.height) return image;
  return region(image, 0, 0, width, height);
}

/** The scales at which P-Net's window sees faces of `least` pixels and of larger sizes. */
export function scales(height, width, least, factor) {
  const found = [];
  for (let scale = SMALLEST / least; Math.min(height, width) * scale >= SMALLEST; scale *= factor) found.push(scale);
  return found;
}
