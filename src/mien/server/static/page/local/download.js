// Fetching the files that reading in the browser needs.

/** Something that is not there; its message is a sentence for people. */
export class Missing extends Error {
  constructor(message) {
    super(message);
    this.name = "Missing";
  }
}

/**
 * A file's bytes.
 * @param missing what is said where it cannot be had.
 * @param report called with bytes so far and in all; 0 in all where the server does not say.
 */
export async function download(address, missing, report = () => {}) {
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Missing(missing);
    return await collect(response, report);
  } catch {
    throw new Missing(missing);
  }
}

async function collect(response, report) {
  const given = response.headers.get("Content-Encoding") ? "X-Plain-Length" : "Content-Length";
  const total = Number(response.headers.get(given) ?? 0);
  const parts = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    report(loaded, total);
  }
  const bytes = new Uint8Array(loaded);
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}
