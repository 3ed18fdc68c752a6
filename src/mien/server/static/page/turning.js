// Turns a picture that lies on its side.

import { decode } from "./decode.js";
import { complain } from "./notices.js";
import { sentence } from "./problems.js";
import { read } from "./queue.js";
import { changed } from "./state.js";

/** Turn it by a quarter to the right, and read it again. */
export async function turn(item) {
  try {
    const file = await quarter(item.file);
    URL.revokeObjectURL(item.url);
    const fresh = { file, url: URL.createObjectURL(file), thumb: null, result: null, turns: item.turns + 1 };
    Object.assign(item, fresh);
    read([item]);
  } catch (error) {
    complain(sentence(error));
    changed();
  }
}

async function quarter(file) {
  const picture = await decode(file);
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: picture.height, height: picture.width });
  const context = canvas.getContext("2d");
  context.setTransform(0, 1, -1, 0, picture.height, 0);
  context.drawImage(picture, 0, 0);
  const type = file.type === "image/png" ? "image/png" : "image/jpeg";
  const blob = await new Promise((done) => canvas.toBlob(done, type, 0.95));
  return new File([blob], file.name, { type });
}
