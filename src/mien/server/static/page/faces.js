// The faces of the item that is looked at, as radio buttons, and the bars of the chosen one.

import { colourOf, css } from "./colours.js";
import { byId, make, percent, setText } from "./dom.js";
import { chooseFace, chosenFace, facesOf, state } from "./state.js";

const rows = new Map();
let owner = null;
let bars = null;

export function renderFaces() {
  const item = state.current;
  const panel = byId("faces-panel");
  panel.hidden = !item;
  if (!item) return;
  if (owner !== item) reset(item);
  const faces = facesOf(item);
  const chosen = chosenFace(item, faces);
  heading(item, faces);
  keep(item, faces, chosen);
  renderBars(item, chosen);
}

function reset(item) {
  owner = item;
  rows.clear();
  byId("face-list").replaceChildren();
}

function heading(item, faces) {
  const title = byId("faces-heading");
  if (!title.lastElementChild) title.append(" ", make("small"));
  setText(title.lastElementChild, faces.length ? String(faces.length) : "");
  const empty = byId("faces-empty");
  empty.hidden = faces.length > 0;
  setText(empty, emptyWords(item));
}

function emptyWords(item) {
  if (item.state === "failed") return "Nothing was read.";
  if (item.kind !== "picture") return item.result ? "No face is in sight." : "Faces appear here as they are found.";
  if (item.state === "done")
    return "No face was found. Faces are found best when they look towards the camera and are at least 20 pixels high; a picture that lies on its side must be turned first.";
  return item.state === "cancelled" ? "Reading was stopped." : "Looking for faces…";
}

/** Keep one row for each face, so that the one in focus stays in focus while a video plays. */
function keep(item, faces, chosen) {
  const list = byId("face-list");
  const keys = new Set(faces.map((face) => face.key));
  let lost = false;
  for (const [key, row] of rows) {
    if (keys.has(key)) continue;
    lost ||= row.contains(document.activeElement);
    row.remove();
    rows.delete(key);
  }
  for (const [index, face] of faces.entries()) {
    const row = rows.get(face.key) ?? addRow(item, face);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    update(row, face, item);
    row.input.checked = face.key === chosen?.key;
  }
  if (lost) rows.get(chosen?.key)?.input.focus();
}

function addRow(item, face) {
  const input = make("input", {
    type: "radio",
    name: "face",
    value: face.key,
    onchange: () => chooseFace(item, face.key),
  });
  const parts = ["number", "swatch", "word", "share"].map((name) => make("span", { class: name }));
  const row = make("label", { class: "face" }, input, ...parts);
  row.input = input;
  row.parts = parts;
  setText(parts[0], String(face.key));
  rows.set(face.key, row);
  return row;
}

function update(row, face, item) {
  const [, swatch, word, share] = row.parts;
  swatch.style.backgroundColor = css(colourOf(face.expression, item.classes));
  setText(word, face.expression);
  setText(share, percent(face.confidence));
  const name = `Face ${face.key}: ${face.expression}, ${percent(face.confidence)}`;
  if (row.input.getAttribute("aria-label") !== name) row.input.setAttribute("aria-label", name);
}

function renderBars(item, face) {
  const area = byId("bars");
  area.hidden = !face;
  if (!face) return;
  const classes = Object.keys(face.probabilities);
  if (bars?.classes.join("\n") !== classes.join("\n")) bars = buildBars(area, classes);
  setText(bars.title, `Face ${face.key}`);
  setText(bars.note, `${size(face)}, ${percent(face.score)} sure it is a face`);
  for (const [name, row] of bars.rows) {
    const share = face.probabilities[name];
    row.line.classList.toggle("best", name === face.best);
    setText(row.value, percent(share));
    row.fill.classList.toggle("none", share < 0.005);
    row.fill.style.width = `${(100 * share).toFixed(1)}%`;
  }
}

const size = ({ box }) => `${Math.round(box.x2 - box.x1)} × ${Math.round(box.y2 - box.y1)} pixels`;

function buildBars(area, classes) {
  const title = make("h3");
  const note = make("p", { class: "note" });
  const lines = classes.map((name) => {
    const fill = make("span", { class: "fill" });
    fill.style.backgroundColor = css(colourOf(name, classes));
    const value = make("td");
    const head = make("th", { scope: "row", text: name, title: name });
    const line = make(
      "tr",
      {},
      head,
      make("td", { "aria-hidden": "true" }, make("span", { class: "track" }, fill)),
      value,
    );
    return [name, { line, fill, value }];
  });
  const table = make(
    "table",
    {},
    make("caption", {}, make("span", { class: "hidden", text: "Probability of each expression" })),
    make("tbody", {}, ...lines.map(([, row]) => row.line)),
  );
  area.className = "bars";
  area.replaceChildren(title, note, table);
  return { classes, title, note, rows: new Map(lines) };
}
