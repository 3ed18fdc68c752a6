// The picture, video or webcam that is looked at, with its faces drawn over it.

import { byId, make, percent, plural, setText } from "./dom.js";
import { drawFaces, faceAreas, faceAt, lettersFor } from "./overlay.js";
import { chooseFace, chosenFace, facesNow, facesOf, state } from "./state.js";
import { standing } from "./webp.js";

const HIGHEST = "min(70vh, 46rem)";

let frame = null;
let canvas = null;
let shown = "";
const unreadable = new WeakSet();
const stood = new WeakMap();

export function startStage() {
  new ResizeObserver(draw).observe(byId("stage"));
  byId("stage").addEventListener("click", (event) => {
    const face = under(event);
    if (face) chooseFace(state.current, face.key);
  });
  byId("stage").addEventListener("pointermove", (event) => {
    byId("stage").style.cursor = under(event) ? "pointer" : "";
  });
}

/** What is shown of an item: its picture, its video, the last frame of a webcam that was stopped, or words. */
function kindOf(item) {
  if (item.state === "failed") return "words";
  if (item.kind === "picture") return unreadable.has(item) ? "blank" : "picture";
  return item.kind === "webcam" && item.state === "stopped" ? "still" : "video";
}

export function renderStage() {
  const item = state.current;
  if (!item) {
    shown = "";
    byId("stage").replaceChildren();
    return;
  }
  const kind = kindOf(item);
  const key = `${item.id} ${kind} ${item.turns} ${kind === "words" ? item.error : ""}`;
  if (key !== shown) build(item, kind);
  shown = key;
  if (!frame) return;
  frame.classList.toggle("working", item.state === "working");
  fit(item);
  describe(item);
  draw();
}

function build(item, kind) {
  const stage = byId("stage");
  frame = canvas = null;
  if (kind === "words") {
    const what = item.kind === "video" ? "This video could not be played" : "This picture could not be read";
    stage.replaceChildren(make("p", { class: "message" }, make("strong", { text: what }), item.error));
    return;
  }
  if (kind === "blank") {
    const text = "This browser cannot show this kind of picture; its faces are in the table.";
    stage.replaceChildren(make("p", { class: "message", text }));
    return;
  }
  canvas = make("canvas", { "aria-hidden": "true" });
  frame = make("div", { class: "frame" }, mediaOf(item, kind), canvas);
  stage.replaceChildren(frame);
}

function mediaOf(item, kind) {
  if (kind === "video") {
    item.video.classList.toggle("mirrored", Boolean(item.mirrored));
    // Browsers pause what is taken out of the page.
    if (item.kind === "webcam") setTimeout(() => item.video.play().catch(() => {}));
    return item.video;
  }
  if (kind === "still") {
    if (!item.still) return make("p", { class: "message", text: "The webcam was stopped before a picture was read." });
    const copy = make("canvas", { role: "img" });
    Object.assign(copy, { width: item.still.width, height: item.still.height });
    copy.getContext("2d").drawImage(item.still, 0, 0);
    return make("div", {}, copy);
  }
  const image = make("img", { alt: "", decoding: "async" });
  image.addEventListener("load", () => renderStage());
  image.addEventListener("error", () => {
    unreadable.add(item);
    renderStage();
  });
  if (!stood.has(item.file)) stood.set(item.file, stand(item));
  stood.get(item.file).then(() => {
    if (state.items.includes(item)) image.src = item.url; // else it was taken away, and its address with it
  });
  return image;
}

/** See that what a picture's address leads to stands upright. */
async function stand(item) {
  const { file } = item;
  const copy = await standing(file).catch(() => null);
  if (!copy || !state.items.includes(item) || item.file !== file) return;
  URL.revokeObjectURL(item.url);
  item.url = URL.createObjectURL(copy);
}

/** Width and height in the item's own pixels; null as long as nobody knows. */
export function sizeOf(item) {
  if (item.result) return item.result.size_wh;
  const { video } = item;
  if (video) return video.videoWidth ? [video.videoWidth, video.videoHeight] : null;
  const image = frame?.querySelector("img");
  return image?.naturalWidth ? [image.naturalWidth, image.naturalHeight] : null;
}

function fit(item) {
  const size = sizeOf(item);
  if (!size) return;
  const aspect = size[0] / size[1];
  frame.style.aspectRatio = String(aspect);
  frame.style.width = `min(100%, calc(${HIGHEST} * ${aspect.toFixed(6)}), ${Math.max(2 * size[0], 240)}px)`;
}

/** What people hear who do not see the picture. */
function describe(item) {
  const faces = facesOf(item);
  const words = faces.slice(0, 6).map((face) => `${face.key} ${face.expression} ${percent(face.confidence)}`);
  const list = item.result
    ? faces.length
      ? `: ${plural(faces.length, "face")}: ${words.join(", ")}`
      : ": no face"
    : "";
  const target = frame.querySelector("img, video, canvas[role]");
  if (!target) return;
  const text = item.kind === "picture" ? `${item.name}${list}` : item.name;
  if (target.tagName === "IMG") target.alt = text;
  else target.setAttribute("aria-label", text);
}

const mirroredNow = (item) => Boolean(item.mirrored) && item.state === "running";

function drawing() {
  const item = state.current;
  const size = item?.result?.size_wh;
  if (!canvas?.isConnected || !size) return null;
  const width = canvas.clientWidth;
  return { item, size, width, height: canvas.clientHeight, scale: width / size[0], mirrored: mirroredNow(item) };
}

/** Draw the faces over the picture, and nothing else anew. */
export function draw() {
  if (!canvas?.isConnected) return;
  const dense = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const pixels = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  const now = drawing();
  if (!now || !width) return;
  const faces = facesNow(now.item);
  const chosen = faces.length > 1 ? chosenFace(now.item, faces)?.key : null;
  drawFaces(context, faces, now.size, {
    ...now,
    letters: lettersFor(width, height),
    chosen,
    classes: now.item.classes,
  });
}

function under(event) {
  const now = drawing();
  if (!now) return null;
  const place = canvas.getBoundingClientRect();
  const faces = facesNow(now.item);
  return faceAt(faces, faceAreas(faces, now.size, now), event.clientX - place.left, event.clientY - place.top);
}

/** The line over the picture: its name and how far it is. */
export function renderCaption() {
  const item = state.current;
  if (!item) return;
  setText(byId("item-name"), item.name);
  const note = byId("item-state");
  setText(note, item.state === "failed" ? "Failed" : stateOf(item));
  note.classList.toggle("wrong", item.state === "failed");
  byId("again-one").hidden = !(item.kind === "picture" && ["failed", "cancelled"].includes(item.state));
  byId("turn").hidden = !(item.kind === "picture" && item.result && !unreadable.has(item));
  byId("turn").setAttribute("aria-label", `Turn ${item.name} by a quarter to the right`);
  byId("remove").setAttribute("aria-label", `Remove ${item.name}`);
}

const WORDS = {
  waiting: "Waiting",
  working: "Reading…",
  cancelled: "Stopped",
  failed: "Failed",
  ready: "Press Play",
  paused: "Paused",
  stopped: "Stopped",
  running: "Running",
};

/** An item's state in a few words. */
export function stateOf(item) {
  if (item.kind === "picture") {
    if (item.state !== "done") return WORDS[item.state];
    const count = item.result.faces.length;
    return count ? plural(count, "face") : "No face";
  }
  const faces = item.result?.faces.length;
  const now = faces === undefined ? "" : `, ${faces ? plural(faces, "face") : "no face"}`;
  const rate =
    item.state === "running" && item.live?.framesPerSecond
      ? `, about ${Math.max(1, Math.round(item.live.framesPerSecond))} a second`
      : "";
  return `${WORDS[item.state]}${now}${rate}`;
}
