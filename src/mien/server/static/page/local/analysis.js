// Faces as mien's command line and service write them: Face.to_dict of mien/results.py.

export const KEYPOINTS = ["right_eye", "left_eye", "nose", "right_mouth", "left_mouth"];
/** A face whose box, cut to the picture, is smaller than this on a side is none. */
const NO_BOX = 1;

function round(value, digits) {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

/** The faces of which at least `NO_BOX` pixels lie in the picture along both sides, each with its box cut to it. */
export function inside(faces, width, height) {
  const clip = (value, most) => Math.min(Math.max(value, 0), most);
  return faces
    .map((face) => ({ ...face, shown: face.box.map((edge, i) => clip(edge, i % 2 ? height : width)) }))
    .filter(({ shown: [x1, y1, x2, y2] }) => x2 - x1 >= NO_BOX && y2 - y1 >= NO_BOX);
}

/** One face as JSON has it. */
export function toFace({ shown, score, points }, shares, classes, minConfidence) {
  const best = shares.reduce((top, share, i) => (share > shares[top] ? i : top), 0);
  return {
    track: null,
    box: Object.fromEntries(["x1", "y1", "x2", "y2"].map((name, i) => [name, round(shown[i], 2)])),
    score: round(score, 4),
    expression: shares[best] < minConfidence ? "uncertain" : classes[best],
    confidence: shares[best],
    probabilities: Object.fromEntries(classes.map((name, i) => [name, shares[i]])),
    keypoints: Object.fromEntries(KEYPOINTS.map((name, i) => [name, points[i].map((value) => round(value, 2))])),
  };
}
