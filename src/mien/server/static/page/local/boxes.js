// Geometry of boxes [x1, y1, x2, y2] in pixels: mien/faces/boxes.py.

const { fround } = Math;

/** Move each edge by its offset, counted in widths (x) and heights (y) of the box; in float32, as in Python. */
export function moved([x1, y1, x2, y2], offsets) {
  const sides = [fround(x2 - x1), fround(y2 - y1)];
  return [x1, y1, x2, y2].map((edge, i) => fround(edge + fround(offsets[i] * sides[i % 2])));
}

/** The square with the same centre, as wide as the longer side; in float32. */
export function squared([x1, y1, x2, y2]) {
  const half = fround(Math.max(fround(x2 - x1), fround(y2 - y1), 0) / 2);
  const x = fround(fround(x1 + x2) / 2);
  const y = fround(fround(y1 + y2) / 2);
  return [fround(x - half), fround(y - half), fround(x + half), fround(y + half)];
}

export function area([x1, y1, x2, y2]) {
  return Math.max(x2 - x1, 0) * Math.max(y2 - y1, 0);
}

/** Intersection over union of two boxes, or over the smaller of the two; 0 for boxes without area. */
export function overlap(a, b, ofSmaller = false) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  const whole = ofSmaller ? Math.min(area(a), area(b)) : area(a) + area(b) - shared;
  return whole > 0 ? shared / whole : 0;
}

/** Of candidates {box, odds} that overlap by more than `threshold`, the best; the best first. */
export function best(candidates, threshold, ofSmaller = false) {
  const kept = [];
  for (const one of [...candidates].sort((a, b) => b.odds - a.odds)) {
    if (kept.every((other) => overlap(one.box, other.box, ofSmaller) <= threshold)) kept.push(one);
  }
  return kept;
}

/** Largest first, equal ones from left to right, then from top to bottom. */
export function inOrder(faces) {
  const size = ({ box: [x1, y1, x2, y2] }) => Math.fround((x2 - x1) * (y2 - y1));
  return [...faces].sort((a, b) => size(b) - size(a) || a.box[0] - b.box[0] || a.box[1] - b.box[1]);
}
