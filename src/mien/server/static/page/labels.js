// Where labels go: beside their faces, inside the picture, covering as little as possible.

const ON_LABEL = 8;
const ON_FACE = 3;
const ON_OWN_FACE = 2;

const covered = (one, other) =>
  Math.max(0, Math.min(one.right, other.right) - Math.max(one.left, other.left)) *
  Math.max(0, Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top));

function candidates(face, { width, height }) {
  const { left, top, right, bottom } = face;
  const around = [
    [left, top - height],
    [right - width, top - height],
    [left, bottom],
    [right - width, bottom],
  ];
  const beside = [
    [right, top],
    [left - width, top],
    [right, bottom - height],
    [left - width, bottom - height],
  ];
  return [...around, ...beside, [left, top], [left, bottom - height]];
}

function inside([left, top], size, bounds) {
  const x = Math.min(Math.max(left, 0), Math.max(bounds.width - size.width, 0));
  const y = Math.min(Math.max(top, 0), Math.max(bounds.height - size.height, 0));
  return { left: x, top: y, right: x + size.width, bottom: y + size.height };
}

/**
 * Place one label for each face.
 * @param faces rectangles {left, top, right, bottom}.
 * @param sizes for each face its label's sizes {width, height}, the fullest first; shorter ones are taken where the fuller cover something.
 * @param bounds {width, height} of the picture.
 * @param order the indices of faces, the most important first.
 * @returns for each face {area, choice}: choice is the index into its sizes; null where not even the shortest fits into the picture.
 */
export function placeLabels(faces, sizes, bounds, order) {
  const placed = new Array(faces.length).fill(null);
  const labels = [];
  for (const index of order) {
    const best = bestPlace(index, faces, sizes[index], bounds, labels);
    if (!best) continue;
    placed[index] = best;
    labels.push(best.area);
  }
  return placed;
}

function bestPlace(index, faces, sizes, bounds, labels) {
  let best = null;
  for (const [choice, size] of sizes.entries()) {
    if (size.width > bounds.width || size.height > bounds.height) continue;
    for (const place of candidates(faces[index], size)) {
      const area = inside(place, size, bounds);
      const cost = costOf(area, index, faces, labels) / (size.width * size.height);
      if (!best || cost < best.cost - 0.05) best = { area, choice, cost };
    }
    if (best && best.cost < 0.05) break;
  }
  return best;
}

function costOf(area, index, faces, labels) {
  const onLabels = labels.reduce((sum, label) => sum + ON_LABEL * covered(area, label), 0);
  return faces.reduce((sum, face, at) => sum + (at === index ? ON_OWN_FACE : ON_FACE) * covered(area, face), onLabels);
}
