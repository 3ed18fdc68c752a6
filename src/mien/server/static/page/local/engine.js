// The engine that reads faces in this tab: the same answers as mien's service, and no picture leaves the browser.

/** One worker for all engines, as the runtime in it takes 14 MB to load; another where it has failed. */
let shared = null;
const currentReader = () => (shared ??= new Reader());

class Reader {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.reports = new Set();
    this.last = 0;
    this.worker.onmessage = ({ data }) => this.#receive(data);
    this.worker.onerror = (event) => this.#fail(event);
  }

  /** Ask the worker; the signal ends it early. */
  ask(request, { signal, transfer = [] } = {}) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(aborted());
      const stop = () => {
        this.worker.postMessage({ cancel: id });
        this.#settle(id)?.reject(aborted());
      };
      signal?.addEventListener("abort", stop, { once: true });
      this.waiting.set(id, { resolve, reject, done: () => signal?.removeEventListener("abort", stop) });
      this.worker.postMessage({ id, ...request }, transfer);
    });
  }

  #receive({ id, result, error, progress }) {
    if (progress) return this.reports.forEach((report) => report(progress));
    const one = this.#settle(id);
    if (error) one?.reject(Object.assign(new Error(error.message, { cause: error.cause }), { name: error.name }));
    else one?.resolve(result);
  }

  #settle(id) {
    const one = this.waiting.get(id);
    this.waiting.delete(id);
    one?.done();
    return one;
  }

  /** The worker could not even begin, or ended: all that wait fail, and the next call starts a new one. */
  #fail(event) {
    event.preventDefault();
    shared = null;
    const error = new Error("Reading in this browser failed: try again, or reload this page.");
    for (const id of [...this.waiting.keys()]) this.#settle(id).reject(error);
    this.worker.terminate();
  }
}

function aborted() {
  return new DOMException("The reading was cancelled.", "AbortError");
}

/**
 * Open the engine; the first time it loads about 20 MB from where the page came from.
 * @param onProgress called with {loaded, total} bytes; total is 0 where it is unknown.
 * @param model name of the classifier; the default one where it is not given.
 * @returns {name, model, classes, models, analyze}; throws an Error whose message is a sentence for people.
 */
export async function openLocalEngine({ onProgress = null, model = null } = {}) {
  const reader = currentReader();
  if (onProgress) reader.reports.add(onProgress);
  try {
    const opened = await reader.ask({ open: { model } });
    return { name: "local", ...opened, analyze: (picture, options) => analyze(picture, { ...options, model: opened.model }) };
  } finally {
    if (onProgress) reader.reports.delete(onProgress);
  }
}

/**
 * The faces of a picture, as the service gives them.
 * @param picture ImageData, upright.
 * @param options {tta: none | flip | full, minConfidence: 0 to 1, name, signal}.
 */
function analyze(picture, { signal, model, tta, minConfidence, name } = {}) {
  const pixels = picture.data.slice().buffer;
  const request = { pixels, width: picture.width, height: picture.height, model, tta, minConfidence, name };
  return currentReader().ask({ analyze: request }, { signal, transfer: [pixels] });
}
