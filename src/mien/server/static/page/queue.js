// Reads pictures one after the other: each has its own state, and one that fails does not stop the rest.

import { configured } from "./config.js";
import { thumbnail } from "./decode.js";
import { currentEngine } from "./engines.js";
import { say } from "./notices.js";
import { plural } from "./dom.js";
import { sentence } from "./problems.js";
import { changed, recipe, state } from "./state.js";

const AT_ONCE = { service: 2, local: 1 };
const MOST_TRIES = 6;

const running = new Map();
let held = false;
let asked = () => {};

/** Who is told that the service asks for a token. */
export function onTokenAsked(action) {
  asked = action;
}

export const pictures = () => state.items.filter((item) => item.kind === "picture");
export const busy = () => pictures().some((item) => item.state === "waiting" || item.state === "working");

/** Read, or read again, these pictures. */
export function read(items) {
  for (const item of items) Object.assign(item, { state: "waiting", error: "" });
  changed();
  pump();
}

/** Stop; what is finished stays. */
export function cancel() {
  for (const item of pictures()) if (item.state === "waiting") item.state = "cancelled";
  for (const stop of running.values()) stop.abort();
  changed();
}

export function abort(item) {
  running.get(item)?.abort();
}

/** Go on after a token was given, or another engine was chosen. */
export function resume() {
  held = false;
  pump();
}

function pump() {
  while (!held && running.size < AT_ONCE[state.settings.engine]) {
    const item = pictures().find((one) => one.state === "waiting" && !running.has(one));
    if (!item) return;
    const stop = new AbortController();
    running.set(item, stop);
    item.state = "working";
    changed();
    readOne(item, stop.signal).finally(() => {
      running.delete(item);
      changed();
      pump();
      if (!busy()) summarise();
    });
  }
}

async function readOne(item, signal) {
  await configured;
  const made = recipe();
  try {
    item.thumb ??= await thumbnail(item.file);
    changed();
    const answer = await tried(item, signal);
    Object.assign(item, {
      result: answer,
      classes: answer.classes,
      model: answer.model,
      state: "done",
      made,
      chosen: null,
    });
  } catch (error) {
    settle(item, error, signal);
  }
}

function settle(item, error, signal) {
  if (signal.aborted) {
    item.state = "cancelled";
  } else if (error.status === 401) {
    held = state.settings.engine === "service";
    item.state = "waiting";
    asked(state.token !== "");
  } else {
    Object.assign(item, { state: "failed", error: sentence(error), result: null });
  }
}

/** Ask; where the service is busy, wait as long as it says and ask again. */
async function tried(item, signal) {
  const { tta, minConfidence, model } = state.settings;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const engine = await currentEngine();
      signal.throwIfAborted();
      const answer = await engine.analyze(item.file, {
        tta,
        minConfidence,
        model: model || null,
        signal,
        name: item.name,
      });
      signal.throwIfAborted();
      return answer;
    } catch (error) {
      if (error.status !== 503 || attempt >= MOST_TRIES) throw error;
      await pause(Math.min(error.retryAfter ?? 1, 30), signal);
    }
  }
}

function pause(seconds, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    });
  });
}

/** One sentence when all is read. */
function summarise() {
  const all = pictures();
  const done = all.filter((item) => item.state === "done");
  const failed = all.filter((item) => item.state === "failed");
  if (!done.length && !failed.length) return;
  const faces = done.reduce((sum, item) => sum + item.result.faces.length, 0);
  const wrong = failed.length ? ` ${plural(failed.length, "picture")} could not be read.` : "";
  const read = done.length
    ? `${plural(done.length, "picture")} read, ${faces ? plural(faces, "face") : "no face"} found.`
    : "";
  say(`${read}${wrong}`.trim());
}
