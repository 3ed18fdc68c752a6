// The two engines that read faces, opened when they are first needed.

import { configured } from "./config.js";
import { imageData } from "./decode.js";
import { Failure, sentence } from "./problems.js";
import { openService } from "./service.js";
import { changed, state } from "./state.js";

const opened = new Map();

/** What the settings show of an engine: its models, and how far it is loaded (0 to 1, null where that is unknown). */
export const known = {
  service: { models: [], loading: false, share: null },
  local: { models: [], loading: false, share: null },
};

/** The engine that is set, opened once; throws a Failure, and may be asked again after one. */
export async function currentEngine() {
  await configured;
  const { engine, model } = state.settings;
  const key = engine === "local" ? `local ${model}` : "service";
  if (!opened.has(key)) {
    const opening = engine === "local" ? openLocal(model) : openRemote();
    opened.set(key, opening);
    opening.catch(() => opened.delete(key));
  }
  return opened.get(key);
}

/** Open the service anew, with another token. */
export function forgetService() {
  opened.delete("service");
}

async function openRemote() {
  const engine = await openService({ getToken: () => state.token });
  known.service.models = engine.models;
  changed();
  return engine;
}

async function openLocal(model) {
  Object.assign(known.local, { loading: true, share: null });
  changed();
  try {
    const { openLocalEngine } = await import("./local/engine.js");
    const engine = await openLocalEngine({ onProgress: report, ...(model && { model }) });
    known.local.models = engine.models ?? (await localModels());
    return adapted(engine);
  } catch (error) {
    throw new Failure(missing(error));
  } finally {
    known.local.loading = false;
    changed();
  }
}

/** An engine takes ImageData; files and canvases are turned into it here. */
function adapted(engine) {
  const usual = known.local.models.find((one) => one.default) ?? known.local.models[0];
  const analyze = async (picture, options) => {
    const answer = await engine.analyze(await imageData(picture), options);
    return { classes: engine.classes, model: options.model ?? usual?.name ?? "local", ...answer };
  };
  return { name: "local", classes: engine.classes, analyze };
}

async function localModels() {
  const answer = await fetch("page/models/manifest.json");
  return answer.ok ? ((await answer.json()).models ?? []) : [];
}

/** Takes a share, or {loaded, total}, in whatever step the engine reports. */
function report(progress) {
  const share = typeof progress === "number" ? progress : progress?.total ? progress.loaded / progress.total : null;
  known.local.share = share === null ? null : Math.min(1, Math.max(0, share));
  changed();
}

function missing(error) {
  if (!(error instanceof TypeError) && error?.message) return sentence(error);
  const other = state.config.service ? " Until then, choose this computer's service." : "";
  return `Reading in this browser is not available: its files could not be loaded. Run “make web” in mien's folder and reload this page.${other}`;
}
