// One colour for each class, the same as in mien's own pictures and plots (src/mien/colours.py says where they are from).

export const UNCERTAIN = "uncertain";

const EXPRESSIONS = {
  angry: [213, 94, 0],
  disgust: [0, 158, 115],
  fear: [204, 121, 167],
  happy: [240, 228, 66],
  neutral: [200, 200, 200],
  sad: [0, 114, 178],
  surprise: [86, 180, 233],
  [UNCERTAIN]: [128, 128, 128],
};
const OTHERS = [
  [230, 159, 0],
  [136, 34, 85],
  [153, 153, 51],
  [68, 170, 153],
  [170, 68, 153],
  [221, 204, 119],
  [102, 17, 0],
  [51, 34, 136],
  [17, 119, 51],
  [136, 204, 238],
];

/** [red, green, blue] of a class; `classes` settles what names outside the seven get. */
export function colourOf(name, classes = []) {
  if (Object.hasOwn(EXPRESSIONS, name)) return EXPRESSIONS[name];
  const others = classes.filter((one) => !Object.hasOwn(EXPRESSIONS, one));
  return OTHERS[Math.max(0, others.indexOf(name)) % OTHERS.length];
}

export const css = ([red, green, blue]) => `rgb(${red}, ${green}, ${blue})`;

/** Black or white, whichever is easier to read on a colour (contrast as WCAG 2 has it). */
export function inkOn(colour) {
  const [red, green, blue] = colour
    .map((value) => value / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (luminance + 0.05) ** 2 > 0.05 * 1.05 ? "#000000" : "#ffffff";
}
