// Answers about a smaller copy of a picture, turned back into pixels of the picture itself.

/** A face {box, keypoints, ...} times `scale`, rounded to a hundredth of a pixel. */
export function scaled(face, scale) {
  const tidy = (value) => Math.round(value * scale * 100) / 100;
  const box = Object.fromEntries(Object.entries(face.box).map(([name, value]) => [name, tidy(value)]));
  const keypoints = Object.entries(face.keypoints ?? {}).map(([name, point]) => [name, point.map(tidy)]);
  return { ...face, box, keypoints: Object.fromEntries(keypoints) };
}

/** An answer {size_wh, faces, ...} as if it were of a picture of `size` [width, height]. */
export function enlarged(answer, size) {
  const scale = size[0] / answer.size_wh[0];
  return { ...answer, size_wh: size, faces: answer.faces.map((face) => scaled(face, scale)) };
}
