// From files to pixels: upright, transparent parts on white, colours as they are stored.

import { Failure } from "./problems.js";
import { lying, turned } from "./webp.js";

const MOST_PIXELS = 60e6;
const UPRIGHT = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };

async function uprightBitmap(file) {
  const { blob, orientation } = await lying(file);
  const bitmap = await createImageBitmap(blob, UPRIGHT);
  if (orientation === 1) return bitmap;
  const canvas = turned(bitmap, orientation);
  bitmap.close();
  return createImageBitmap(canvas);
}

async function bitmapOf(file) {
  try {
    return await uprightBitmap(file);
  } catch {
    throw new Failure("This browser cannot read the file as a picture: use a JPEG, PNG or WebP picture.", {
      status: 422,
    });
  }
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function onWhite(bitmap, width = bitmap.width, height = bitmap.height) {
  const canvas = canvasOf(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

/** A picture file as a canvas of its own size. */
export async function decode(file) {
  const bitmap = await bitmapOf(file);
  try {
    if (bitmap.width * bitmap.height > MOST_PIXELS) {
      throw new Failure("This picture has more than 60 million pixels: make it smaller, then try again.", {
        status: 413,
      });
    }
    return onWhite(bitmap);
  } finally {
    bitmap.close();
  }
}

/** A smaller copy of a picture as JPEG, and its size [width, height] before; of at most `pixels`, `bytes` are aimed at. */
export async function smaller(file, pixels, bytes) {
  const canvas = await decode(file);
  const size = [canvas.width, canvas.height];
  // JPEGs of this quality take well below 8 bits for a pixel.
  const scale = Math.min(1, Math.sqrt(Math.min(pixels, bytes) / (size[0] * size[1])));
  const copy = onWhite(canvas, Math.max(1, Math.floor(size[0] * scale)), Math.max(1, Math.floor(size[1] * scale)));
  return { blob: await frameBlob(copy), size };
}

/** How many pixels a picture has; 0 where the browser cannot tell. */
export async function pixelsOf(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const count = bitmap.width * bitmap.height;
    bitmap.close();
    return count;
  } catch {
    return 0;
  }
}

export async function imageData(picture) {
  if (picture instanceof ImageData) return picture;
  const canvas = picture instanceof Blob ? await decode(picture) : picture;
  return canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
}

/** A small canvas for the gallery, its longer side `side` pixels; null where the browser cannot read the file. */
export async function thumbnail(source, side = 232) {
  try {
    const bitmap = source instanceof Blob ? await uprightBitmap(source) : source;
    const width = bitmap.videoWidth || bitmap.width;
    const height = bitmap.videoHeight || bitmap.height;
    const scale = Math.min(1, side / Math.max(width, height));
    const small = onWhite(bitmap, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    bitmap.close?.();
    return small;
  } catch {
    return null;
  }
}

/** What a video shows now, its longer side at most `side` pixels, on `canvas`, which is made where it is not given. */
export function grab(video, side, canvas = canvasOf(1, 1)) {
  const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
  const width = Math.max(1, Math.round(video.videoWidth * scale));
  const height = Math.max(1, Math.round(video.videoHeight * scale));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
  return canvas;
}

/** A canvas or ImageData as JPEG. */
export async function frameBlob(picture) {
  let canvas = picture;
  if (picture instanceof ImageData) {
    canvas = canvasOf(picture.width, picture.height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  if (!blob) throw new Failure("The browser could not encode the picture: use a smaller one.");
  return blob;
}
