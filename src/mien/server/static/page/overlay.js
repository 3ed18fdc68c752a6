// Boxes and expressions over a picture: on the page's canvas, and in the annotated PNG.

import { colourOf, css, inkOn } from "./colours.js";
import { percent } from "./dom.js";
import { placeLabels } from "./labels.js";

const PANEL = "rgb(24, 26, 30)";
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';

/** Letters for a picture that is drawn `width` by `height` pixels large. */
export function lettersFor(width, height) {
  const side = Math.min(width, height);
  return Math.round(Math.min(Math.max(side / 34, 12), Math.max(side / 40, 15)));
}

/** Rectangles {left, top, right, bottom} of faces as drawn: scaled, mirrored where asked, inside the picture. */
export function faceAreas(faces, size, { scale, mirrored = false }) {
  const width = size[0] * scale;
  const height = size[1] * scale;
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  return faces.map(({ box }) => {
    const [left, right] = mirrored
      ? [width - box.x2 * scale, width - box.x1 * scale]
      : [box.x1 * scale, box.x2 * scale];
    return {
      left: within(left, width),
      top: within(box.y1 * scale, height),
      right: within(right, width),
      bottom: within(box.y2 * scale, height),
    };
  });
}

/**
 * Draw faces.
 * @param faces as `facesOf` gives them; `size` [width, height] of the picture in its own pixels.
 * @param options {scale, letters, mirrored, chosen: key, classes}.
 */
export function drawFaces(context, faces, size, options) {
  const { scale, letters, chosen = null, classes = [] } = options;
  const areas = faceAreas(faces, size, options);
  const line = Math.max(2, Math.round(letters / 6));
  context.font = `600 ${letters}px ${FONT}`;
  const chips = faces.map((face) => variants(context, face, letters));
  const order = [...faces.keys()].sort((one, other) => (faces[other].key === chosen) - (faces[one].key === chosen));
  const bounds = { width: size[0] * scale, height: size[1] * scale };
  const places = placeLabels(areas, chips, bounds, order);
  for (const index of order.toReversed()) {
    drawBox(context, areas[index], colourOf(faces[index].expression, classes), line, faces[index].key === chosen);
  }
  for (const index of order.toReversed()) {
    const place = places[index];
    if (place)
      drawChip(context, chips[index][place.choice], place.area, colourOf(faces[index].expression, classes), letters);
  }
}

/** The label in full, without the share, and the number alone. */
function variants(context, face, letters) {
  const number = String(face.key);
  const texts = [[number, face.expression, percent(face.confidence)], [number, face.expression], [number]];
  const pad = Math.round(letters / 2.6);
  return texts.map((parts) => {
    const widths = parts.map((part) => Math.ceil(context.measureText(part).width));
    const rest = widths.slice(1).reduce((sum, width) => sum + width + pad, 0);
    return {
      parts,
      widths,
      pad,
      width: widths[0] + 2 * pad + (rest ? rest + pad : 0),
      height: Math.round(letters * 1.5),
    };
  });
}

function drawBox(context, { left, top, right, bottom }, colour, line, chosen) {
  const wide = chosen ? line + Math.max(1, Math.round(line / 2)) : line;
  const inset = (wide + 2) / 2;
  const place = [
    left + inset,
    top + inset,
    Math.max(1, right - left - 2 * inset),
    Math.max(1, bottom - top - 2 * inset),
  ];
  context.lineJoin = "round";
  for (const [width, style] of [
    [wide + 2, "rgba(0, 0, 0, 0.75)"],
    [wide, css(colour)],
  ]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.strokeRect(...place);
  }
  if (!chosen) return;
  context.lineWidth = 1;
  context.strokeStyle = "rgba(255, 255, 255, 0.95)";
  context.strokeRect(...place);
}

function drawChip(context, { parts, widths, pad }, area, colour, letters) {
  const height = area.bottom - area.top;
  const baseline = area.top + height / 2 + letters * 0.36;
  context.textBaseline = "alphabetic";
  context.fillStyle = PANEL;
  context.fillRect(area.left, area.top, area.right - area.left, height);
  context.fillStyle = "#ffffff";
  context.fillText(parts[0], area.left + pad, baseline);
  if (parts.length === 1) return;
  let x = area.left + widths[0] + 2 * pad;
  context.fillStyle = css(colour);
  context.fillRect(x, area.top, area.right - x, height);
  context.fillStyle = inkOn(colour);
  x += pad;
  for (const [index, part] of parts.slice(1).entries()) {
    context.fillText(part, x, baseline);
    x += widths[index + 1] + pad;
  }
}

/** The face under a point of the drawing, the smallest where several are; null where none is. */
export function faceAt(faces, areas, x, y) {
  const hits = areas
    .map((area, index) => ({ ...area, face: faces[index] }))
    .filter(({ left, top, right, bottom }) => x >= left && x <= right && y >= top && y <= bottom);
  const size = (area) => (area.right - area.left) * (area.bottom - area.top);
  return hits.sort((one, other) => size(one) - size(other))[0]?.face ?? null;
}
