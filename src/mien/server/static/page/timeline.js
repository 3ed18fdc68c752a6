// The last 30 seconds of a video or the webcam: the chosen face's probabilities, and below a lane for each face.

import { colourOf, css } from "./colours.js";
import { byId, clock, percent, plural, setText } from "./dom.js";
import { changed, chosenFace, facesOf, judged, state } from "./state.js";

const SECONDS = 30;
const AREA = 120;
const LANE = 16;
const AXIS = 20;
const LEFT = 42;
const MOST_LANES = 6;

/** Other widths need another drawing: one that is stretched cannot be read. */
export function startTimeline() {
  new ResizeObserver(changed).observe(byId("timeline"));
}

export function renderTimeline() {
  const item = state.current;
  const figure = byId("timeline");
  const wanted = item && item.kind !== "picture" && item.frames.length > 0;
  figure.hidden = !wanted;
  if (!wanted) return;
  const [from, to] = spanOf(item);
  const frames = item.frames.slice(firstFrom(item.frames, from)).filter((frame) => frame.time <= to);
  const chosen = chosenFace(item)?.key ?? item.chosen ?? lastTrack(frames);
  caption(item, frames, chosen, [from, to]);
  draw({ item, frames, chosen, from, to });
}

/** Seconds that are shown: a short video as a whole, else what was last. */
function spanOf(item) {
  const last = item.frames.at(-1).time;
  if (item.kind === "webcam") return [last - SECONDS, last];
  const { duration, currentTime } = item.video;
  if (Number.isFinite(duration) && duration <= SECONDS) return [0, Math.max(duration, 0.1)];
  const to = Math.max(currentTime, Math.min(SECONDS, last));
  return [to - SECONDS, to];
}

/** Index of the first frame at or after a time. */
function firstFrom(frames, time) {
  let [low, high] = [0, frames.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle].time < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

const lastTrack = (frames) => frames.findLast((frame) => frame.faces.length)?.faces[0].track ?? null;

function caption(item, frames, chosen, [from, to]) {
  const span = item.kind === "video" && from === 0 && to < SECONDS ? "the whole video" : "the last 30 seconds";
  const seen = new Set(frames.flatMap((frame) => frame.faces.map((face) => face.track))).size;
  const face = facesOf(item).find((one) => one.key === chosen);
  setText(
    byId("timeline-caption"),
    chosen === null
      ? `No face in ${span}`
      : `Face ${chosen} over ${span}${seen > 1 ? `, and below when each of ${plural(seen, "face")} was seen` : ""}`,
  );
  byId("timeline-canvas").setAttribute(
    "aria-description",
    face ? `Now ${face.expression}, ${percent(face.confidence)}` : "",
  );
}

/** A track's points {time, face} in runs without a gap. */
function runsOf(frames, track) {
  const steps = frames
    .slice(1)
    .map((frame, index) => frame.time - frames[index].time)
    .sort((one, other) => one - other);
  const gap = Math.max(0.7, 4 * (steps[steps.length >> 1] ?? 0));
  const runs = [];
  let last = -Infinity;
  for (const { time, faces } of frames) {
    const face = faces.find((one) => one.track === track);
    if (!face) continue;
    if (time - last > gap) runs.push([]);
    runs.at(-1).push({ time, face });
    last = time;
  }
  return runs;
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return {
    ink: value("--ink"),
    soft: value("--soft"),
    line: value("--line"),
    card: value("--card"),
    accent: value("--accent"),
  };
}

function draw(view) {
  const canvas = byId("timeline-canvas");
  const tracks = [...new Set(view.frames.flatMap((frame) => frame.faces.map((face) => face.track)))].sort(
    (one, other) => one - other,
  );
  const lanes = lanesOf(tracks, view.chosen);
  const width = canvas.parentElement.clientWidth;
  const height = AREA + 8 + lanes.length * LANE + AXIS;
  const dense = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: Math.round(width * dense), height: Math.round(height * dense) });
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(dense, dense);
  context.font = "12px system-ui, sans-serif";
  const x = (time) => LEFT + ((time - view.from) / (view.to - view.from)) * (width - LEFT - 1);
  const plot = { ...view, context, x, width, classes: view.item.classes, colours: palette() };
  drawArea(plot);
  for (const [index, track] of lanes.entries()) drawLane(plot, track, AREA + 8 + index * LANE);
  drawAxis(plot, height);
}

/** The tracks that get a lane: the newest ones, and always the chosen one. */
function lanesOf(tracks, chosen) {
  if (tracks.length <= MOST_LANES) return tracks;
  const newest = tracks.slice(-MOST_LANES);
  return tracks.includes(chosen) && !newest.includes(chosen) ? [chosen, ...newest.slice(1)] : newest;
}

/** The chosen face's probabilities, stacked: the heights of one moment add up to 1. */
function drawArea({ context, frames, chosen, x, width, classes, colours }) {
  context.fillStyle = colours.card;
  context.fillRect(LEFT, 0, width - LEFT, AREA);
  for (const run of runsOf(frames, chosen)) {
    const points = run.length > 1 ? run : [run[0], { ...run[0], time: run[0].time + 0.1 }];
    let base = points.map(() => 0);
    for (const name of classes) {
      const top = points.map(({ face }, index) => base[index] + (face.probabilities[name] ?? 0));
      context.beginPath();
      for (const [index, point] of points.entries()) context.lineTo(x(point.time), AREA * (1 - base[index]));
      for (let index = points.length - 1; index >= 0; index -= 1)
        context.lineTo(x(points[index].time), AREA * (1 - top[index]));
      context.fillStyle = css(colourOf(name, classes));
      context.fill();
      base = top;
    }
  }
  context.fillStyle = colours.soft;
  context.textAlign = "right";
  for (const [share, y] of [
    ["100%", 11],
    ["50%", AREA / 2 + 4],
    ["0%", AREA],
  ])
    context.fillText(share, LEFT - 5, y);
}

/** When a face was seen, in the colour of what it showed. */
function drawLane({ context, frames, chosen, x, width, classes, colours }, track, top) {
  const middle = top + LANE / 2;
  context.fillStyle = colours.line;
  context.fillRect(LEFT, middle - 0.5, width - LEFT, 1);
  context.textAlign = "right";
  context.fillStyle = track === chosen ? colours.ink : colours.soft;
  context.font = `${track === chosen ? "700 " : ""}12px system-ui, sans-serif`;
  context.fillText(String(track), LEFT - 8, middle + 4);
  for (const run of runsOf(frames, track)) {
    for (const [index, { time, face }] of run.entries()) {
      const end = run[index + 1]?.time ?? time + 0.1;
      context.fillStyle = css(colourOf(judged(face, 0).expression, classes));
      context.fillRect(x(time), middle - 5, Math.max(1, x(end) - x(time) + 0.5), 10);
    }
  }
}

function drawAxis({ context, item, from, to, x, width, colours }, height) {
  const step = to - from > 12 ? 10 : to - from > 5 ? 2 : 1;
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colours.soft;
  context.textAlign = "center";
  const first =
    item.kind === "webcam" ? to - Math.floor((to - from) / step) * step : Math.ceil(Math.max(from, 0) / step) * step;
  for (let time = first; time <= to + 1e-6; time += step) {
    const label = item.kind === "webcam" ? (to - time < 0.5 ? "now" : `${Math.round(to - time)} s ago`) : clock(time);
    const half = context.measureText(label).width / 2;
    context.fillText(label, Math.min(Math.max(x(time), LEFT + half), width - half), height - 4);
  }
  if (item.kind !== "video") return;
  context.fillStyle = colours.ink;
  context.fillRect(Math.min(x(item.video.currentTime), width - 1.5), 0, 1.5, height - AXIS);
}
