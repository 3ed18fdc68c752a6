// Faces as rows: for the table, and as mien's command line writes them (ROW_COLUMNS in src/mien/analysis.py, then the classes).

import { facesOf, judged, state } from "./state.js";

export const ROW_COLUMNS = [
  "source",
  "frame",
  "time",
  "track",
  "x1",
  "y1",
  "x2",
  "y2",
  "score",
  "expression",
  "confidence",
];

/** The classes of all items, in the order of the model; more than one model's stand behind each other. */
export function classesOf(items) {
  return [...new Set(items.flatMap((item) => (item.result ? item.classes : [])))];
}

/** An item as Analysis.to_dict gives it, one for each frame. */
export function analysesOf(item) {
  if (!item.result) return [];
  const of = ({ frame, time, faces }) => ({
    source: item.name,
    frame,
    time,
    size_wh: item.result.size_wh,
    faces: faces.map(plain),
  });
  if (item.kind === "picture") return [of({ frame: 0, time: null, faces: item.result.faces })];
  return item.frames.map(of);
}

function plain(face, index) {
  const { expression, confidence } = judged(face, index);
  const { track = null, box, score, probabilities, keypoints = {} } = face;
  return { track, box, score, expression, confidence, probabilities, keypoints };
}

export function csvOf(items) {
  const classes = classesOf(items);
  const lines = items
    .flatMap(analysesOf)
    .flatMap(({ source, frame, time, faces }) =>
      faces.map(({ track, box, score, expression, confidence, probabilities }) => [
        ...[source, frame, time, track, box.x1, box.y1, box.x2, box.y2, score, expression, confidence],
        ...classes.map((name) => probabilities[name]),
      ]),
    );
  return [[...ROW_COLUMNS, ...classes], ...lines].map((line) => `${line.map(cell).join(",")}\n`).join("");
}

function cell(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function jsonOf(items) {
  const results = items.flatMap((item) =>
    item.state === "failed" ? [{ source: item.name, error: { detail: item.error } }] : analysesOf(item),
  );
  const models = [...new Set(items.filter((item) => item.result).map((item) => item.model))];
  const document = { models, classes: classesOf(items), min_confidence: state.settings.minConfidence, results };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Lines of the page's table: every face of a picture, and of videos each face as it was seen last. */
export function tableRows(items) {
  return items.flatMap((item) =>
    item.kind === "picture" ? facesOf(item).map((face) => ({ item, face, time: null })) : lastSeen(item),
  );
}

function lastSeen(item) {
  const seen = new Map();
  for (const { time, faces } of item.frames) for (const face of faces) seen.set(face.track, { face, time });
  const lines = [...seen.values()].map(({ face, time }) => ({ item, face: judged(face, 0), time }));
  return lines.sort((one, other) => one.face.key - other.face.key);
}
