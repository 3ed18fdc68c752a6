// Pictures as bytes, resized and cut out as OpenCV does it for mien in Python. An image is {data, width, height, channels}:
// Uint8Array of height * width * channels values, row by row, RGB or grey.

const { fround } = Math;

/** Python's round: halves go to the even neighbour. */
export function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

export function newImage(width, height, channels) {
  return { data: new Uint8Array(width * height * channels), width, height, channels };
}

/** RGB of RGBA pixels; transparent parts are laid on white. */
export function fromRgba({ data, width, height }) {
  const image = newImage(width, height, 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    const alpha = data[from + 3];
    for (let c = 0; c < 3; c++) {
      const value = data[from + c];
      image.data[to + c] = alpha === 255 ? value : Math.round((value * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return image;
}

/** Grey of RGB, with OpenCV's weights in 15 bits. */
export function toGrey(image) {
  const grey = newImage(image.width, image.height, 1);
  for (let from = 0, to = 0; to < grey.data.length; from += 3, to++) {
    const sum = image.data[from] * 9798 + image.data[from + 1] * 19235 + image.data[from + 2] * 3735;
    grey.data[to] = (sum + 16384) >> 15;
  }
  return grey;
}

/** Half as wide and high: means of 2 x 2 pixels. Both sides must be even. */
export function halved({ data, width, height, channels }) {
  const half = newImage(width / 2, height / 2, channels);
  const stride = width * channels;
  let to = 0;
  for (let row = 0; row < height; row += 2) {
    for (let column = 0; column < width; column += 2) {
      const from = row * stride + column * channels;
      for (let c = 0; c < channels; c++) {
        const at = from + c;
        half.data[to++] = (data[at] + data[at + channels] + data[at + stride] + data[at + stride + channels] + 2) >> 2;
      }
    }
  }
  return half;
}

/** The upper left part of an image. */
export function cropped(image, width, height) {
  return region(image, 0, 0, width, height);
}

/** A rectangle that may reach past the image: its edge is repeated there. */
export function region({ data, width, height, channels }, left, top, wide, high) {
  const part = newImage(wide, high, channels);
  const inside = left >= 0 && left + wide <= width;
  let to = 0;
  for (let y = top; y < top + high; y++) {
    const row = Math.min(Math.max(y, 0), height - 1) * width;
    if (inside) {
      part.data.set(data.subarray((row + left) * channels, (row + left + wide) * channels), to);
      to += wide * channels;
      continue;
    }
    for (let x = left; x < left + wide; x++) {
      const from = (row + Math.min(Math.max(x, 0), width - 1)) * channels;
      for (let c = 0; c < channels; c++) part.data[to++] = data[from + c];
    }
  }
  return part;
}

/** Which of `from` pixels make up each of `to` pixels, and with what weight: OpenCV's INTER_AREA. */
function areaTable(from, to) {
  const scale = from / to;
  const starts = new Int32Array(to + 1);
  const sources = [];
  const weights = [];
  const add = (source, weight) => {
    sources.push(source);
    weights.push(Math.fround(weight));
  };
  for (let d = 0; d < to; d++) {
    const begin = d * scale;
    const end = begin + scale;
    const cell = Math.min(scale, from - begin);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(begin), last);
    if (first - begin > 1e-3) add(first - 1, (first - begin) / cell);
    for (let s = first; s < last; s++) add(s, 1 / cell);
    if (end - last > 1e-3) add(last, Math.min(Math.min(end - last, 1), cell) / cell);
    starts[d + 1] = sources.length;
  }
  return { starts, sources: Int32Array.from(sources), weights: Float32Array.from(weights) };
}

/** A row of the image, its pixels summed as the table says, into `sums`. */
function sumRow({ data, width, channels }, row, table, sums) {
  const begin = row * width * channels;
  let to = 0;
  for (let x = 0; x + 1 < table.starts.length; x++) {
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let k = table.starts[x]; k < table.starts[x + 1]; k++) {
        sum = fround(sum + fround(data[begin + table.sources[k] * channels + c] * table.weights[k]));
      }
      sums[to++] = sum;
    }
  }
}

/** Resize: by area where it shrinks along both sides, linearly else; the image itself where nothing changes. */
export function resized(image, width, height, area) {
  if (image.width === width && image.height === height) return image;
  if (area && image.width === 2 * width && image.height === 2 * height) return halved(image);
  return area ? shrunk(image, width, height) : interpolated(image, width, height);
}

/** OpenCV's INTER_AREA. Sums are rounded to float32 after each step, as OpenCV's are: the bytes are the same. */
function shrunk(image, width, height) {
  const across = areaTable(image.width, width);
  const down = areaTable(image.height, height);
  const result = newImage(width, height, image.channels);
  const length = width * image.channels;
  const rows = new Map(); // sums of the last rows, which the next result row may need again
  const sums = new Float32Array(length);
  const bytes = new Uint8ClampedArray(result.data.buffer); // which rounds halves to even
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let k = down.starts[y]; k < down.starts[y + 1]; k++) {
      const row = rowOf(image, down.sources[k], across, rows, length);
      const weight = down.weights[k];
      for (let i = 0; i < length; i++) sums[i] += fround(row[i] * weight);
    }
    bytes.set(sums, y * length);
  }
  return result;
}

function rowOf(image, row, table, rows, length) {
  if (!rows.has(row)) {
    const oldest = rows.size > 1 ? rows.keys().next().value : null;
    const sums = oldest === null ? new Float32Array(length) : rows.get(oldest);
    if (oldest !== null) rows.delete(oldest);
    sumRow(image, row, table, sums);
    rows.set(row, sums);
  }
  return rows.get(row);
}

/** Two neighbours of each of `to` pixels, and their shares in 11 bits. */
function linearTable(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, d) => {
    const place = fround((d + 0.5) * scale - 0.5);
    const first = Math.min(Math.max(Math.floor(place), 0), from - 1);
    const share = place < 0 || first >= from - 1 ? 0 : fround(place - first);
    const shares = [roundEven(fround(1 - share) * 2048), roundEven(share * 2048)];
    return { first, second: Math.min(first + 1, from - 1), shares };
  });
}

/** OpenCV's INTER_LINEAR for bytes: whole numbers, 11 bits of the shares, 4 of the sums dropped in between. */
function interpolated(image, width, height) {
  const { data, channels } = image;
  const across = linearTable(image.width, width);
  const result = newImage(width, height, channels);
  const sums = (row) => {
    const begin = row * image.width * channels;
    return across.flatMap(({ first, second, shares: [one, two] }) =>
      Array.from({ length: channels }, (_, c) => {
        const [left, right] = [data[begin + first * channels + c], data[begin + second * channels + c]];
        return (left * one + right * two) >> 4;
      }),
    );
  };
  linearTable(image.height, height).forEach(({ first, second, shares: [one, two] }, y) => {
    const [upper, lower] = [sums(first), sums(second)];
    const begin = y * upper.length;
    upper.forEach((value, i) => {
      result.data[begin + i] = (((value * one) >> 16) + ((lower[i] * two) >> 16) + 2) >> 2;
    });
  });
  return result;
}

/** `mien.images.resize`: to a square, by area when shrinking, linearly when enlarging. */
export function toSquare(image, side) {
  return resized(image, side, side, image.width >= side && image.height >= side);
}
