// What the page knows: pictures and videos ("items"), settings, and who wants to hear of changes.

import { UNCERTAIN } from "./colours.js";
import { moved } from "./tracking.js";

export const state = {
  /** page/config.json: {service, local, token, version}. */
  config: { service: false, local: true, token: false, version: "" },
  settings: { engine: "service", model: "", tta: "none", minConfidence: 0 },
  items: [],
  current: null,
  /** Kept here only: never in a cookie, storage or address. */
  token: "",
};

const watchers = [];
let scheduled = false;

/** Call `action` after changes, at most once a frame. */
export function watch(action) {
  watchers.push(action);
}

export function changed() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    for (const action of watchers) action();
  });
}

let count = 0;

/**
 * An item. `kind` is "picture", "video" or "webcam".
 * `state`: waiting, working, done, failed or cancelled for pictures; ready, running, paused or stopped for the others.
 * `result`: the last answer {size_wh, faces}; `frames`: [{frame, time, faces}] of videos and the webcam.
 */
export function newItem(kind, name, file = null) {
  const url = file ? URL.createObjectURL(file) : null;
  const start = kind === "picture" ? "waiting" : "ready";
  const empty = {
    thumb: null,
    result: null,
    frames: [],
    dropped: 0,
    classes: [],
    model: "",
    error: "",
    chosen: null,
    made: "",
    turns: 0,
    still: null,
    video: null,
    live: null,
  };
  return { id: ++count, kind, name, file, url, state: start, ...empty };
}

export function addItem(item) {
  state.items.push(item);
  if (!state.current) state.current = item;
  changed();
}

/** Forget an item and free what it holds; the one beside it is shown next. */
export function dropItem(item) {
  const place = state.items.indexOf(item);
  if (place < 0) return;
  item.live?.stop();
  if (item.url) URL.revokeObjectURL(item.url);
  state.items.splice(place, 1);
  if (state.current === item) state.current = state.items[Math.min(place, state.items.length - 1)] ?? null;
  changed();
}

export function show(item) {
  if (state.current === item) return;
  state.current = item;
  changed();
}

export function chooseFace(item, key) {
  item.chosen = key;
  changed();
}

/** The settings that an answer depends on, as one string. */
export function recipe({ engine, model, tta } = state.settings) {
  return `${engine}|${model}|${tta}`;
}

/** A face with its expression at the least confidence set now, and the number it is called by. */
export function judged(face, index) {
  const pairs = Object.entries(face.probabilities);
  const [best, confidence] = pairs.reduce((top, pair) => (pair[1] > top[1] ? pair : top), ["", -1]);
  const expression = confidence < state.settings.minConfidence ? UNCERTAIN : best;
  return { ...face, best, confidence, expression, key: face.track ?? index + 1 };
}

export function facesOf(item) {
  return (item?.result?.faces ?? []).map(judged);
}

/** The same where they should be by now: a running picture has gone on since its last frame was read. */
export function facesNow(item) {
  const faces = facesOf(item);
  if (!item.live || item.state !== "running" || !item.frames.length) return faces;
  const late = item.live.clock() - item.frames.at(-1).time;
  return faces.map((face) => ({ ...face, box: moved(face.box, face.speed, late) }));
}

/** The face whose bars are shown: the chosen one where it is there, else the first. */
export function chosenFace(item, faces = facesOf(item)) {
  return faces.find((face) => face.key === item.chosen) ?? faces[0] ?? null;
}
