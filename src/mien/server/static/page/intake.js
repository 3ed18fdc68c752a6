// How pictures come in: chosen, dropped, pasted.

import { byId } from "./dom.js";
import { complain, hush } from "./notices.js";
import { read } from "./queue.js";
import { addVideo, playShown } from "./sources.js";
import { addItem, newItem, show, state } from "./state.js";

const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|ogv)$/i;

export function startIntake() {
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = "";
  });
  byId("example").addEventListener("click", takeExample);
  document.addEventListener("paste", paste);
  startDropping();
}

/** Read these files; the first of them is shown, and played where it is a video. */
export function take(files) {
  if (!files.length) return;
  hush();
  const before = state.items.length;
  const pictures = [];
  for (const file of files) {
    if (file.type.startsWith("video/") || VIDEO.test(file.name)) {
      addVideo(file);
    } else {
      const item = newItem("picture", file.name || "picture", file);
      pictures.push(item);
      addItem(item);
    }
  }
  show(state.items[before]);
  playShown();
  read(pictures);
}

/** A drawing of three people: nobody has to look for a picture to see what the page does. */
async function takeExample() {
  try {
    const response = await fetch("page/example.jpg");
    if (!response.ok) throw new Error(response.statusText);
    take([new File([await response.blob()], "example.jpg", { type: "image/jpeg" })]);
  } catch {
    complain("The example could not be loaded: check the connection, or choose a picture of your own.");
  }
}

function paste(event) {
  const typing = event.target.closest?.("input, textarea");
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) {
    event.preventDefault();
    take(files.map((file, index) => named(file, index)));
  } else if (!typing) {
    complain("There is no picture on the clipboard: copy a picture itself, not its address or text, then paste again.");
  }
}

/** Browsers call every pasted picture "image.png". */
function named(file, index) {
  if (file.name && file.name !== "image.png") return file;
  const number = state.items.filter((item) => item.name.startsWith("pasted")).length + index + 1;
  return new File([file], `pasted-${number}.png`, { type: file.type });
}

function startDropping() {
  const veil = byId("veil");
  let depth = 0;
  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const on = (name, action) => document.addEventListener(name, (event) => carriesFiles(event) && action(event));
  on("dragenter", () => {
    depth += 1;
    veil.hidden = false;
  });
  on("dragleave", () => {
    depth -= 1;
    veil.hidden = depth > 0 ? veil.hidden : true;
  });
  on("dragover", (event) => event.preventDefault());
  on("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    take(await dropped(event.dataTransfer));
  });
}

/** The files of a drop, those in folders too. */
async function dropped(transfer) {
  const loose = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return loose;
  const found = await Promise.all(entries.map(filesIn));
  return found.flat().filter((file) => !file.name.startsWith("."));
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const part = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!part.length) break;
    inside.push(...part);
  }
  return (await Promise.all(inside.map(filesIn))).flat();
}
