// WebP pictures whose EXIF says which side is up. The service turns them; of browsers some do, and Chromium does not.

const ORIENTATION = 0x112;

/** The EXIF type of whole numbers of four bytes; others have two. */
const LONG = 4;

/** What setTransform takes to turn a picture of this width and height upright, by its orientation. */
const TURNS = {
  2: (width) => [-1, 0, 0, 1, width, 0],
  3: (width, height) => [-1, 0, 0, -1, width, height],
  4: (width, height) => [1, 0, 0, -1, 0, height],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (width, height) => [0, 1, -1, 0, height, 0],
  7: (width, height) => [0, -1, -1, 0, height, width],
  8: (width) => [0, -1, 1, 0, 0, width],
};

const text = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((index) => view.getUint8(at + index)));

/** Bit of the VP8X chunk's flags that says that there is EXIF. */
const HAS_EXIF = 8;

/** Where a file's orientation stands, how many bytes it has, and their order; null where it has none. */
function find(view) {
  if (!(view.getUint8(20) & HAS_EXIF)) return null;
  const end = Math.min(view.byteLength, 8 + view.getUint32(4, true));
  for (let at = 12; at + 8 <= end; ) {
    const size = view.getUint32(at + 4, true);
    if (text(view, at) === "EXIF") return findInExif(view, at + 8);
    at += 8 + size + (size % 2);
  }
  return null;
}

function findInExif(view, start) {
  const head = text(view, start) === "Exif" ? start + 6 : start;
  const little = text(view, head).startsWith("II");
  const directory = head + view.getUint32(head + 4, little);
  const count = view.getUint16(directory, little);
  for (let index = 0; index < count; index++) {
    const at = directory + 2 + 12 * index;
    if (view.getUint16(at, little) !== ORIENTATION) continue;
    return { at: at + 8, long: view.getUint16(at + 2, little) === LONG, little };
  }
  return null;
}

/**
 * A picture file as every browser reads it alike, and the EXIF orientation that is left to apply: 1 but for WebP files
 * that lie, which are copied without theirs.
 */
export async function lying(file) {
  const asIs = { blob: file, orientation: 1 };
  try {
    const head = new DataView(await file.slice(0, 16).arrayBuffer());
    if (text(head, 0) !== "RIFF" || text(head, 8) !== "WEBP" || text(head, 12) !== "VP8X") return asIs;
    const view = new DataView(await file.arrayBuffer());
    const place = find(view);
    if (place === null) return asIs;
    const [get, set] = place.long ? ["getUint32", "setUint32"] : ["getUint16", "setUint16"];
    const orientation = view[get](place.at, place.little);
    if (!TURNS[orientation]) return asIs;
    view[set](place.at, 1, place.little);
    return { blob: new Blob([view.buffer], { type: "image/webp" }), orientation };
  } catch {
    return asIs; // cut short, or no EXIF: whoever decodes it will say what is wrong
  }
}

/** A bitmap turned upright, on a canvas. */
export function turned(bitmap, orientation) {
  const canvas = document.createElement("canvas");
  const { width, height } = bitmap;
  Object.assign(canvas, orientation > 4 ? { width: height, height: width } : { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(...TURNS[orientation](width, height));
  context.drawImage(bitmap, 0, 0);
  return canvas;
}

/** A WebP file that lies as a picture that stands; null for every other file. */
export async function standing(file) {
  const { blob, orientation } = await lying(file);
  if (orientation === 1) return null;
  const bitmap = await createImageBitmap(blob);
  const canvas = turned(bitmap, orientation);
  bitmap.close();
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
