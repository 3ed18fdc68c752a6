// The table of all faces of all pictures, and the downloads beside it.

import { byId, clock, make, percent, plural, setText, throttled } from "./dom.js";
import { classesOf, tableRows } from "./rows.js";
import { chooseFace, chosenFace, show, state } from "./state.js";

const MOST_ROWS = 500;

/** "item-face" to its line, which stays the same element, so that focus and selection stay where they are. */
const lines = new Map();
let columns = "";

export const renderTable = throttled(render, 500);

function render() {
  const read = state.items.filter((item) => item.result);
  byId("results").hidden = read.length === 0;
  const rows = tableRows(read);
  const moving = read.some((item) => item.kind !== "picture");
  note(rows, moving, read);
  const classes = classesOf(read);
  begin(classes, moving);
  const shown = rows.slice(0, MOST_ROWS).map((row) => updated(row, classes));
  const gone = new Set(lines.values());
  for (const line of shown) gone.delete(line);
  for (const line of gone) {
    line.remove();
    lines.delete(line.key);
  }
  const body = byId("table").tBodies[0];
  for (const [index, line] of shown.entries()) {
    if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
  }
}

/** Other columns need other lines. */
function begin(classes, moving) {
  const wanted = [moving ? "Seen" : "", ...classes].join("\n");
  if (wanted === columns) return;
  columns = wanted;
  lines.clear();
  const table = byId("table");
  table.tHead.replaceChildren(head(classes, moving));
  table.tBodies[0].replaceChildren();
}

function note(rows, moving, read) {
  const shown =
    rows.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${rows.length} faces; the downloads hold all. ` : "";
  const frames = moving
    ? "Of videos and the webcam each face is shown as it was seen last; the downloads hold every frame that was read. "
    : "";
  const dropped = read.some((item) => item.dropped) ? "The oldest frames were dropped to save memory. " : "";
  setText(byId("table-note"), `${counted(rows)}${shown}${frames}${dropped}`.trim());
  byId("table-note").hidden = !byId("table-note").textContent;
  byId("save-csv").title = `${plural(rows.length, "face")} as comma-separated values`;
}

/** "12 faces: 8 happy, 4 sad. " */
function counted(rows) {
  if (!rows.length) return "No face was found. ";
  if (rows.length === 1) return "";
  const counts = new Map();
  for (const { face } of rows) counts.set(face.expression, (counts.get(face.expression) ?? 0) + 1);
  const words = [...counts].sort(([, one], [, other]) => other - one).map(([name, count]) => `${count} ${name}`);
  return `${plural(rows.length, "face")}: ${words.join(", ")}. `;
}

function head(classes, moving) {
  const names = [
    ["Picture", "left"],
    ...(moving ? [["Seen", ""]] : []),
    ["Face", ""],
    ["Expression", "left"],
    ["Confidence", ""],
    ...classes.map((name) => [name, ""]),
  ];
  return make("tr", {}, ...names.map(([text, side]) => make("th", { scope: "col", class: side, text })));
}

function updated({ item, face, time }, classes) {
  const key = `${item.id}-${face.key}`;
  const line = lines.get(key) ?? added(item, face.key, key, classes);
  const { seen, expression, confidence, shares } = line.parts;
  if (seen) setText(seen, time === null ? "" : clock(time));
  setText(expression, face.expression);
  setText(confidence, percent(face.confidence));
  for (const [name, cell] of shares) {
    setText(cell, name in face.probabilities ? percent(face.probabilities[name]) : "");
    cell.classList.toggle("best", name === face.best);
  }
  line.classList.toggle("chosen", item === state.current && face.key === chosenFace(item)?.key);
  return line;
}

function added(item, number, key, classes) {
  const look = () => {
    show(item);
    chooseFace(item, number);
    byId("viewer").scrollIntoView({ block: "nearest" });
  };
  const label = `Show face ${number} of ${item.name}`;
  const button = make("button", {
    type: "button",
    class: "quiet link",
    text: number,
    "aria-label": label,
    onclick: look,
  });
  const seen = columns.startsWith("Seen") ? make("td") : null;
  const [expression, confidence] = [make("td", { class: "left" }), make("td")];
  const shares = classes.map((name) => [name, make("td")]);
  const name = make("th", { scope: "row", text: item.name, title: item.name });
  const cells = [...(seen ? [seen] : []), make("td", {}, button), expression, confidence];
  const line = make("tr", {}, name, ...cells, ...shares.map(([, cell]) => cell));
  Object.assign(line, { key, parts: { seen, expression, confidence, shares } });
  lines.set(key, line);
  return line;
}
