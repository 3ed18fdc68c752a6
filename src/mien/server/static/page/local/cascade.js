// The cascade of MTCNN over one picture: P-Net proposes, R-Net refuses, O-Net looks closely, more than once. It is that
// of mien/faces/cascade.py, step by step; docs/faces.md says why it is as it is.

import { best, inOrder, moved, squared } from "./boxes.js";
import { Pyramid, scales } from "./pyramid.js";

/** What mien's detector is told by default; a test holds these equal to Python's. */
export const OPTIONS = {
  minFaceSize: 20,
  scaleFactor: 0.709,
  thresholds: [0.5, 0.6, 0.85],
  proposalOverlap: 0.7,
  refinedOverlap: 0.7,
  sameFace: 0.7,
  aside: [
    [-0.13, 0],
    [0.13, 0],
    [0, -0.1],
  ],
  secondChance: 2.2,
};

const { fround } = Math;

/** Pixels that one cell of P-Net looks at; cells lie 2 pixels apart. */
const WINDOW = 12;

/**
 * The faces of an RGB image, largest first: {box, score, points}.
 * @param networks runs the three networks: {propose, judge}.
 * @param check is called between stages; it throws where the work is no longer wanted.
 */
export async function findFaces(image, networks, check = async () => {}) {
  const [first, second, third] = OPTIONS.thresholds.map((score) => Math.log(score / (1 - score)));
  const pyramid = new Pyramid(image);
  let found = await propose(pyramid, networks, first, check);
  found = best(found, OPTIONS.proposalOverlap);
  found = (await refine(pyramid, networks, found)).filter(({ odds }) => odds > second);
  await check();
  found = best(found, OPTIONS.refinedOverlap);
  found = await look(pyramid, networks, found.map(({ box }) => squared(box)));
  await check();
  found = best(found.filter(({ odds }) => odds > third - OPTIONS.secondChance), OPTIONS.sameFace, true);
  found = await lookAgain(pyramid, networks, found);
  found = best(found.filter(({ odds }) => odds > third), OPTIONS.sameFace, true);
  return inOrder(found).map(({ box, odds, points }) => ({ box, points, score: 1 / (1 + Math.exp(-odds)) }));
}

async function propose(pyramid, networks, least, check) {
  const found = [];
  for (const scale of scales(pyramid.height, pyramid.width, OPTIONS.minFaceSize, OPTIONS.scaleFactor)) {
    const level = pyramid.level(scale);
    found.push(...peaks(level, await networks.propose(level.image), least));
    await check();
  }
  return found;
}

/** Cells that score more than `least` and than their neighbours, moved to where they say the face is. */
function peaks({ across, down }, { values, rows, columns }, least) {
  const plane = rows * columns;
  const odds = values.subarray(4 * plane, 5 * plane);
  const found = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const cell = i * columns + j;
      if (odds[cell] <= least || !isPeak(odds, i, j, rows, columns)) continue;
      const edges = [2 * j, 2 * i, 2 * j + WINDOW, 2 * i + WINDOW];
      const window = edges.map((edge, k) => fround(edge / fround(k % 2 ? down : across)));
      const offsets = [0, 1, 2, 3].map((edge) => values[edge * plane + cell]);
      found.push({ box: moved(window, offsets), odds: odds[cell] });
    }
  }
  return found;
}

function isPeak(odds, i, j, rows, columns) {
  const own = odds[i * columns + j];
  for (let y = Math.max(i - 1, 0); y <= Math.min(i + 1, rows - 1); y++) {
    for (let x = Math.max(j - 1, 0); x <= Math.min(j + 1, columns - 1); x++) {
      if (odds[y * columns + x] > own) return false;
    }
  }
  return true;
}

/** R-Net on the squares around boxes. */
async function refine(pyramid, networks, found) {
  const squares = found.map(({ box }) => squared(box));
  const rows = await networks.judge(pyramid.crops(squares, 24), 24);
  return rows.map((row, i) => ({ box: moved(squares[i], row), odds: row[4] }));
}

/** O-Net on squares. */
async function look(pyramid, networks, squares) {
  const rows = await networks.judge(pyramid.crops(squares, 48), 48);
  return rows.map((row, i) => {
    const [x, y, right] = squares[i];
    const points = [0, 1, 2, 3, 4].map((k) => [x + row[5 + k] * (right - x), y + row[10 + k] * (right - x)]);
    return { box: moved(squares[i], row), odds: row[4], points };
  });
}

/** O-Net again on each face, aside: the mean of all answers, the first too. */
async function lookAgain(pyramid, networks, found) {
  const squares = found.map(({ box }) => squared(box));
  const aside = OPTIONS.aside.flatMap(([right, below]) =>
    squares.map(([x1, y1, x2, y2]) => {
      const side = fround(x2 - x1);
      const [across, down] = [right, below].map((step) => fround(side * fround(step)));
      return [x1 + across, y1 + down, x2 + across, y2 + down].map(fround);
    }),
  );
  const looks = await look(pyramid, networks, aside);
  return found.map((face, i) => mean([face, ...OPTIONS.aside.map((_, k) => looks[k * found.length + i])]));
}

function mean(looks) {
  const over = (pick) => fround(looks.reduce((sum, one) => sum + pick(one), 0) / looks.length);
  return {
    box: [0, 1, 2, 3].map((edge) => over(({ box }) => box[edge])),
    odds: over(({ odds }) => odds),
    points: [0, 1, 2, 3, 4].map((k) => [0, 1].map((axis) => over(({ points }) => points[k][axis]))),
  };
}
