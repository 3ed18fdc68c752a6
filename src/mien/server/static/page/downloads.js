// Files made in this tab: CSV, JSON, and the picture with its boxes.

import { decode } from "./decode.js";
import { byId, make } from "./dom.js";
import { complain } from "./notices.js";
import { drawFaces } from "./overlay.js";
import { sentence } from "./problems.js";
import { csvOf, jsonOf } from "./rows.js";
import { facesOf, state } from "./state.js";

export function startDownloads() {
  const read = () => state.items.filter((item) => item.result || item.state === "failed");
  byId("save-csv").addEventListener("click", () =>
    save(new Blob([csvOf(read())], { type: "text/csv" }), "mien-faces.csv"),
  );
  byId("save-json").addEventListener("click", () =>
    save(new Blob([jsonOf(read())], { type: "application/json" }), "mien-faces.json"),
  );
  byId("save-png").addEventListener("click", () => savePicture(state.current));
}

export function renderDownloads() {
  byId("save-png").disabled = !state.current?.result;
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function savePicture(item) {
  try {
    const canvas = await annotated(item);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    save(blob, `${item.name.replace(/\.[^.]*$/, "")}-mien.png`);
  } catch (error) {
    complain(sentence(error));
  }
}

/** The picture in its own size with its faces drawn in; of videos and the webcam the frame that was read last. */
async function annotated(item) {
  const source = item.kind === "picture" ? await decode(item.file) : item.still;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: source.width, height: source.height });
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0);
  const size = item.result.size_wh;
  const letters = Math.round(Math.max(11, Math.min(source.width, source.height) / 36));
  drawFaces(context, facesOf(item), size, { scale: source.width / size[0], letters, classes: item.classes });
  return canvas;
}
