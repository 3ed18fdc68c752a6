// The same face from frame to frame: motion and overlap of boxes, numbers from 1, probabilities averaged over half a second.

const SMOOTHING = 0.5;
const FORGET = 1.0;
/** A face that the detector is less sure of is shown only once it was found in two frames; as in src/mien/tracking.py. */
const SURE = 0.9;
/** Seconds over which speed is averaged, and after which a face is taken to have stopped. */
const PACE = 0.15;
const COASTING = 0.4;
/** How far from where it is expected a face may be, in its own sizes: at once, and more for each second. */
const REACH = 0.6;
const REACH_GROWTH = 1.5;
const SIZE_RATIO = 1.8;

const area = (box) => (box.x2 - box.x1) * (box.y2 - box.y1);
const middle = (box) => [(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2];

/** Intersection over union of two {x1, y1, x2, y2}. */
export function overlap(one, other) {
  const width = Math.min(one.x2, other.x2) - Math.max(one.x1, other.x1);
  const height = Math.min(one.y2, other.y2) - Math.max(one.y1, other.y1);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (area(one) + area(other) - shared);
}

/** Where a face is `seconds` after it was seen in `box`: it goes on at its speed [x, y] a second, and slows down. */
export function moved(box, speed, seconds) {
  const coasted = COASTING * (1 - Math.exp(-Math.max(seconds, 0) / COASTING));
  const [across, down] = speed.map((value) => value * coasted);
  return { x1: box.x1 + across, y1: box.y1 + down, x2: box.x2 + across, y2: box.y2 + down };
}

/** How well a box goes on from a track: 0 where it cannot be the same face, up to 2. */
function fit(track, box, time) {
  const gap = time - track.time;
  const expected = moved(track.box, track.speed, gap);
  const size = Math.sqrt(area(expected));
  const ratio = Math.abs(Math.log(Math.sqrt(area(box)) / size));
  const [from, to] = [middle(expected), middle(box)];
  const distance = Math.hypot(to[0] - from[0], to[1] - from[1]) / (size * (REACH + REACH_GROWTH * gap));
  return distance < 1 && ratio < Math.log(SIZE_RATIO) ? overlap(expected, box) + 1 - distance : 0;
}

export class Tracker {
  constructor({ smoothing = SMOOTHING, forget = FORGET } = {}) {
    this.smoothing = smoothing;
    this.forget = forget;
    this.reset();
  }

  /** Begin anew: the next face is number 1. */
  reset() {
    this.tracks = [];
    this.next = 1;
    this.time = -Infinity;
  }

  /** The faces of the frame at `time` seconds, by number: each with `track`, `speed` and averaged `probabilities`. */
  follow(faces, time) {
    const first = !Number.isFinite(this.time);
    if (time < this.time) this.tracks = [];
    this.time = time;
    this.tracks = this.tracks.filter((track) => time - track.time <= (track.number ? this.forget : this.forget / 2));
    const owners = this.#pair(faces, time);
    const followed = faces.map((face, index) => this.#see(owners.get(index), face, time, first));
    return followed.filter((face) => face.track).sort((one, other) => one.track - other.track);
  }

  #pair(faces, time) {
    const fits = this.tracks.flatMap((track) =>
      faces.map((face, index) => ({ track, index, value: fit(track, face.box, time) })),
    );
    const owners = new Map();
    const taken = new Set();
    for (const { track, index, value } of fits.sort((one, other) => other.value - one.value)) {
      if (value === 0 || taken.has(track) || owners.has(index)) continue;
      owners.set(index, track);
      taken.add(track);
    }
    return owners;
  }

  #see(known, face, time, first) {
    const track = known ?? { number: 0, time, box: face.box, speed: [0, 0], shares: face.probabilities };
    if (!known) this.tracks.push(track);
    if (known) this.#update(track, face, time);
    if (!track.number && (known || first || face.score >= SURE)) track.number = this.next++;
    return { ...face, track: track.number, speed: track.speed, probabilities: { ...track.shares } };
  }

  #update(track, face, time) {
    const elapsed = Math.max(time - track.time, 1e-3);
    const [from, to] = [middle(track.box), middle(face.box)];
    const share = 1 - Math.exp(-elapsed / PACE);
    track.speed = track.speed.map((speed, axis) => speed + ((to[axis] - from[axis]) / elapsed - speed) * share);
    track.shares = blend(track.shares, face.probabilities, 1 - Math.exp(-elapsed / this.smoothing));
    Object.assign(track, { box: face.box, time });
  }
}

function blend(before, after, share) {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [
      name,
      (before[name] ?? value) + (value - (before[name] ?? value)) * share,
    ]),
  );
}
