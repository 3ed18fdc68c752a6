// The engine that asks mien's service: POST v1/analyze, one picture a request.

import { frameBlob, pixelsOf, smaller } from "./decode.js";
import { Failure, failureOf, sentenceOf } from "./problems.js";
import { enlarged } from "./scaling.js";

/** Bytes that the form around a file may take. */
const FORM = 4096;
const UNREACHABLE = "The service does not answer: see that “mien serve” is still running, then try again.";

/** What the service knows: {models: [...], limits: {...}, tta: [...]}. */
async function askModels(headers) {
  const response = await reach("v1/models", { headers });
  return response.json();
}

async function reach(address, options) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(UNREACHABLE, { status: 0 });
  }
  if (!response.ok) throw await failureOf(response);
  return response;
}

/** What is sent of a picture: a file as it is, or a smaller copy where the service would refuse it; `size` is that before. */
async function prepared(picture, { max_body: bytes = Infinity, max_pixels: pixels = Infinity }) {
  if (!(picture instanceof Blob)) return { blob: await frameBlob(picture), size: null };
  // A file of few bytes may have many pixels: a scan, or whatever is of one colour.
  const large = picture.size + FORM > bytes || (await pixelsOf(picture)) > pixels;
  return large ? smaller(picture, pixels, bytes - FORM) : { blob: picture, size: null };
}

/**
 * Open the service.
 * @param getToken gives the token, "" where there is none.
 * @returns an engine: {name, classes, models, analyze}; throws a Failure.
 */
export async function openService({ getToken }) {
  const headers = () => (getToken() ? { Authorization: `Bearer ${getToken()}` } : {});
  const known = await askModels(headers());
  const models = known.models ?? [];
  const usual = models.find((one) => one.default) ?? models[0];
  return {
    name: "service",
    classes: usual?.classes ?? [],
    models: models.map(({ name, classes, default: isDefault }) => ({ name, classes, default: Boolean(isDefault) })),
    /** `picture`: a file, a canvas or ImageData. */
    async analyze(picture, { tta = "none", minConfidence = 0, model = null, signal, name = "picture" } = {}) {
      const { blob, size } = await prepared(picture, known.limits ?? {});
      const form = new FormData();
      form.append("files", blob, name);
      const confidence = minConfidence > 0 && { min_confidence: minConfidence };
      const query = new URLSearchParams({ tta, ...confidence, ...(model && { model }) });
      const options = { method: "POST", body: form, headers: headers(), signal };
      const answer = await (await reach(`v1/analyze?${query}`, options)).json();
      const result = { ...firstOf(answer), classes: answer.classes, model: answer.model };
      return size ? enlarged(result, size) : result;
    },
  };
}

function firstOf({ results: [result] }) {
  if (!result.error) return result;
  const words = sentenceOf(result.error) ?? "The service could not read this picture: use another one.";
  throw new Failure(words, { status: result.error.status ?? 422 });
}
