// From boxes to expressions: cut the faces out, ask the classifier about their views, take the mean.

import { region, roundEven, toGrey, toSquare } from "./pixels.js";

/** How far the view `full` moves a picture, as a share of its side. */
export const SHIFT = 1 / 24;
/** Faces that go through the network at once. */
const BATCH = 64;
/** The smallest normal float32: no logarithm of zero. */
const TINY = 1.1754943508222875e-38;

/** The square around a box, widened by the model's margin, as (size, size, channels) bytes. */
export function cutFace(image, [x1, y1, x2, y2], { size, channels, crop_margin: margin }) {
  const side = Math.max(x2 - x1, y2 - y1) * (1 + 2 * margin);
  const length = Math.max(1, roundEven(side));
  const left = roundEven((x1 + x2) / 2 - length / 2);
  const top = roundEven((y1 + y2) / 2 - length / 2);
  const face = region(image, left, top, length, length);
  return toSquare(channels === 1 ? toGrey(face) : face, size);
}

/** The views whose answers are averaged: `none` one, `flip` two, `full` ten. */
export function views(image, tta) {
  const sides = tta === "none" ? [image] : [image, mirrored(image)];
  if (tta !== "full") return sides;
  const step = Math.max(1, roundEven(SHIFT * image.height));
  const moves = [-step, step].flatMap((down) => [-step, step].map((right) => [down, right]));
  return sides.flatMap((side) => [
    side,
    ...moves.map(([down, right]) => region(side, -right, -down, side.width, side.height)),
  ]);
}

function mirrored({ data, width, height, channels }) {
  const copy = { data: new Uint8Array(data.length), width, height, channels };
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = (row * width + column) * channels;
      const to = (row * width + width - 1 - column) * channels;
      for (let c = 0; c < channels; c++) copy.data[to + c] = data[from + c];
    }
  }
  return copy;
}

/** softmax(log p / temperature): mien.classifier.apply_temperature. */
export function tempered(shares, temperature) {
  if (temperature === 1) return shares;
  const scaled = shares.map((share) => Math.log(Math.max(share, TINY)) / temperature);
  const highest = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - highest));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / total);
}

/**
 * Probabilities of each face, in the order of the model's classes.
 * @param model {session, spec}: spec is the model's entry in manifest.json.
 */
export async function classify(ort, { session, spec }, image, boxes, tta, check = async () => {}) {
  const faces = boxes.map((box) => views(cutFace(image, box, spec), tta));
  const rows = [];
  const all = faces.flat();
  for (let start = 0; start < all.length; start += BATCH) {
    rows.push(...(await run(ort, session, spec, all.slice(start, start + BATCH))));
    await check();
  }
  const count = faces.length ? faces[0].length : 0;
  return faces.map((_, i) => average(rows.slice(i * count, (i + 1) * count).map((row) => tempered(row, spec.temperature))));
}

async function run(ort, session, { size, channels, classes }, pictures) {
  const length = size * size * channels;
  const input = new Float32Array(pictures.length * length);
  const scale = Math.fround(1 / 255);
  pictures.forEach(({ data }, i) => {
    for (let k = 0; k < length; k++) input[i * length + k] = data[k] * scale;
  });
  const tensor = new ort.Tensor("float32", input, [pictures.length, size, size, channels]);
  const { data } = (await session.run({ [session.inputNames[0]]: tensor }))[session.outputNames[0]];
  return pictures.map((_, i) => Array.from(data.subarray(i * classes.length, (i + 1) * classes.length)));
}

function average(rows) {
  return rows[0].map((_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length);
}
