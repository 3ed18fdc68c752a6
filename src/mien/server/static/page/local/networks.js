// Runs MTCNN's three networks with onnxruntime-web: mien/faces/running.py.

/** Pixels of a level that go through P-Net at once, so that memory stays small whatever the picture. */
const PIECE_PIXELS = 96 * 1024;
const WINDOW = 12;
/** The most crops that go through R-Net and O-Net at once, by their side. */
const PIECE_CROPS = { 24: 64, 48: 16 };

export class Networks {
  /** `sessions`: {proposal, refinement, output} of `ort`. */
  constructor(ort, { proposal, refinement, output }) {
    this.ort = ort;
    this.proposal = proposal;
    this.bySide = { 24: refinement, 48: output };
  }

  /** P-Net over an RGB image: {values, rows, columns}, values (5, rows, columns): four offsets, then log-odds. */
  async propose(image) {
    const parts = [];
    for (const strip of strips(image)) parts.push(await this.#run(this.proposal, strip.data, [1, strip.height, strip.width, 3]));
    return joined(parts);
  }

  /** R-Net or O-Net for crops, bytes (count, side, side, 3): a row of numbers for each. */
  async judge(crops, side) {
    const size = side * side * 3;
    const rows = [];
    for (let start = 0; start < crops.length; start += PIECE_CROPS[side] * size) {
      const piece = crops.subarray(start, start + PIECE_CROPS[side] * size);
      const { data, dims } = await this.#run(this.bySide[side], piece, [piece.length / size, side, side, 3]);
      for (let i = 0; i < dims[0]; i++) rows.push(Array.from(data.subarray(i * dims[1], (i + 1) * dims[1])));
    }
    return rows;
  }

  async #run(session, bytes, dims) {
    const pixels = new this.ort.Tensor("uint8", bytes, dims);
    const results = await session.run({ pixels });
    const result = results[session.outputNames[0]];
    return { data: result.data, dims: result.dims };
  }
}

/** Cut a level into strips that overlap so that no window is lost. */
function strips({ data, width, height }) {
  const step = Math.max(32, Math.floor(Math.floor(PIECE_PIXELS / width) / 2) * 2);
  const found = [];
  for (let top = 0; top < Math.max(1, height - WINDOW + 1); top += step) {
    const bottom = Math.min(height, top + step + WINDOW - 2);
    found.push({ data: data.subarray(top * width * 3, bottom * width * 3), width, height: bottom - top });
  }
  return found;
}

/** Strips of P-Net's answer, one below the other. */
function joined(parts) {
  const columns = parts[0].dims[3];
  const rows = parts.reduce((sum, { dims }) => sum + dims[2], 0);
  if (parts.length === 1) return { values: parts[0].data, rows, columns };
  const values = new Float32Array(5 * rows * columns);
  let row = 0;
  for (const { data, dims } of parts) {
    const length = dims[2] * columns;
    for (let c = 0; c < 5; c++) values.set(data.subarray(c * length, (c + 1) * length), (c * rows + row) * columns);
    row += dims[2];
  }
  return { values, rows, columns };
}
