// From a service's answer, or an error of the browser, to one sentence for people.

/** Something that failed; `message` is a sentence that says what happened and what to do. */
export class Failure extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.name = "Failure";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const BY_STATUS = {
  401: "The service asks for a token: enter it above.",
  413: "This file is larger than the service takes: make it smaller, then try again.",
  415: "The service does not read this kind of file: use a JPEG, PNG or WebP picture.",
  429: "The service has too much to do: try again in a moment.",
  503: "The service has too much to do: try again in a moment.",
  504: "The service took too long: try again, or use a smaller picture.",
};

/** The failure that an answer other than 2xx stands for; reads RFC 9457 problem documents. */
export async function failureOf(response) {
  const status = response.status;
  const wait = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const problem = await problemIn(response);
  const words =
    sentenceOf(problem) ??
    BY_STATUS[status] ??
    `The service answered with an error (${status}): try again, or look at its log.`;
  return new Failure(words, { status, retryAfter: Number.isFinite(wait) ? wait : null });
}

async function problemIn(response) {
  if (!/json/.test(response.headers.get("Content-Type") ?? "")) return null;
  return response.json().catch(() => null);
}

/** The sentence in a problem document: that of its first error where it lists some; null where it has none. */
export function sentenceOf(problem) {
  if (!problem || typeof problem !== "object") return null;
  const first = Array.isArray(problem.errors) ? problem.errors[0] : null;
  const nested = first ? sentenceOf(first.error ?? first) : null;
  if (nested) return nested;
  const { title, detail } = problem;
  const words = typeof detail === "string" && detail ? detail : title;
  return typeof words === "string" && words ? ended(words) : null;
}

function ended(words) {
  const text = words.trim();
  // A sentence begins with a capital, the name of a file or a field stays as it is.
  const whole = /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** Any error as a sentence. */
export function sentence(error) {
  if (error instanceof Failure) return error.message;
  const text = String(error?.message ?? error);
  return text ? ended(text) : "Something went wrong: reload the page and try again.";
}

/** Why the camera did not start. */
export function cameraSentence(error) {
  const sentences = {
    NotAllowedError:
      "The browser did not allow the camera: allow it for this page in the address bar, then start again.",
    SecurityError: "The browser did not allow the camera: allow it for this page in the address bar, then start again.",
    NotFoundError: "No camera was found: connect one, then start again.",
    OverconstrainedError: "No camera was found that fits: connect another, then start again.",
    NotReadableError: "The camera is in use by another program: close that, then start again.",
    AbortError: "The camera stopped while it was starting: try again.",
  };
  return sentences[error?.name] ?? `The camera could not be started (${error?.name ?? "unknown reason"}): try again.`;
}
