// The work of reading faces, off the page's own thread. Messages: {id, open: {model}} and {id, analyze: {...}} are
// answered by {id, result} or {id, error}; {cancel: id} ends one; {progress: {loaded, total}} tells of downloads.

import { inside, toFace } from "./analysis.js";
import { findFaces } from "./cascade.js";
import { classify } from "./classify.js";
import { download, Missing } from "./download.js";
import { Networks } from "./networks.js";
import { fromRgba } from "./pixels.js";

const ORT = new URL("../ort/", import.meta.url);
const MODELS = new URL("../models/", import.meta.url);
const NO_ORT =
  "Reading in this browser needs onnxruntime-web, which is not installed here: run “make web” in mien's folder, restart the service and reload this page.";
const NO_MODELS = "The models could not be loaded: reload this page.";
const MOST_THREADS = 4;

const cancelled = new Set();
let runtime = null;
let working = Promise.resolve();

function report(loaded, total) {
  self.postMessage({ progress: { loaded, total } });
}

/** onnxruntime-web and MTCNN, opened once. */
function opened() {
  runtime ??= openRuntime().catch((error) => {
    runtime = null;
    throw error;
  });
  return runtime;
}

async function openRuntime() {
  const ort = await openOrt();
  const manifest = JSON.parse(new TextDecoder().decode(await download(new URL("manifest.json", MODELS), NO_MODELS)));
  const { proposal, refinement, output } = manifest.detector;
  const sessions = {
    proposal: await openSession(ort, proposal),
    refinement: await openSession(ort, refinement),
    output: await openSession(ort, output),
  };
  return { ort, manifest, networks: new Networks(ort, sessions), models: new Map() };
}

async function openOrt() {
  let ort;
  try {
    ort = await import(new URL("ort.wasm.min.mjs", ORT));
  } catch {
    throw new Missing(NO_ORT);
  }
  const bytes = await download(new URL("ort-wasm-simd-threaded.wasm", ORT), NO_ORT, report);
  ort.env.wasm.wasmPaths = ORT.href;
  ort.env.wasm.wasmBinary = bytes.buffer;
  const cores = Math.ceil((navigator.hardwareConcurrency || 1) / 2);
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, cores) : 1;
  ort.env.logLevel = "error";
  return ort;
}

async function openSession(ort, file) {
  const bytes = await download(new URL(file, MODELS), NO_MODELS);
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

/** The classifier of that name, or the default one: {session, spec}. */
async function openModel(name) {
  const { ort, manifest, models } = await opened();
  const spec = manifest.models.find((one) => (name ? one.name === name : one.default)) ?? null;
  if (!spec) throw new Missing(`There is no model called ${name}: choose another one.`);
  if (!models.has(spec.name)) models.set(spec.name, { session: await openSession(ort, spec.file), spec });
  return models.get(spec.name);
}

async function open({ model }) {
  const { spec } = await openModel(model);
  const { manifest } = await opened();
  const models = manifest.models.map(({ name, classes, default: usual }) => ({ name, classes, default: Boolean(usual) }));
  return { model: spec.name, classes: spec.classes, models };
}

async function analyze({ pixels, width, height, model, tta = "none", minConfidence = 0, name = "picture" }, check) {
  const { ort, networks } = await opened();
  const classifier = await openModel(model);
  await check();
  const image = fromRgba({ data: new Uint8ClampedArray(pixels), width, height });
  const faces = inside(await findFaces(image, networks, check), width, height);
  const boxes = faces.map(({ box }) => box.map(Math.fround));
  const shares = await classify(ort, classifier, image, boxes, tta, check);
  const { classes } = classifier.spec;
  return {
    source: name,
    frame: 0,
    time: null,
    size_wh: [width, height],
    faces: faces.map((face, i) => toFace(face, shares[i], classes, minConfidence)),
  };
}

/** Work in WebAssembly ends no task by itself, so that a cancellation would wait for the whole picture. */
function letMessagesIn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

async function answer({ id, open: opening, analyze: analyzing }) {
  const check = async () => {
    await letMessagesIn();
    if (cancelled.has(id)) throw new DOMException("The reading was cancelled.", "AbortError");
  };
  try {
    await check();
    const result = opening ? await open(opening) : await analyze(analyzing, check);
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: worded(error) });
  } finally {
    cancelled.delete(id);
  }
}

function worded(error) {
  if (error instanceof Missing || error.name === "AbortError") return { name: error.name, message: error.message };
  const full = error instanceof RangeError || /memory|allocat/i.test(String(error?.message ?? error));
  const message = full
    ? "This browser has not enough memory for a picture of this size: use a smaller one."
    : "Reading this picture failed in this browser: reload the page, or use another picture.";
  return { name: "Error", message, cause: String(error?.message ?? error) };
}

self.onmessage = ({ data }) => {
  if (data.cancel !== undefined) cancelled.add(data.cancel);
  else working = working.then(() => answer(data));
};
