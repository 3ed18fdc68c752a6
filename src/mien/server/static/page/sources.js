// Where moving pictures come from: the webcam, and video files.

import { plural } from "./dom.js";
import { thumbnail } from "./decode.js";
import { Live } from "./live.js";
import { complain, hush, say } from "./notices.js";
import { cameraSentence, Failure } from "./problems.js";
import { addItem, changed, newItem, show, state } from "./state.js";

let camera = null;
let askToken = () => {};
let redraw = () => {};
const hooks = () => ({ failed: complain, tokenAsked: askToken, shown: redraw });

export function onLiveTokenAsked(action) {
  askToken = action;
}

/** What draws the faces anew for each frame that is shown. */
export function onFrameShown(action) {
  redraw = action;
}

/** The item whose camera is running, or null. */
export const runningCamera = () => (camera?.state === "running" ? camera : null);

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function newVideo() {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, disablePictureInPicture: true });
  return video;
}

/** Ask for the camera and read what it shows, until `stopCamera`. */
export async function startCamera() {
  hush();
  let stream;
  try {
    stream = await openCamera();
  } catch (error) {
    complain(error instanceof Failure ? error.message : cameraSentence(error));
    return;
  }
  const number = state.items.filter((item) => item.kind === "webcam").length + 1;
  const item = newItem("webcam", number > 1 ? `Webcam ${number}` : "Webcam");
  const [track] = stream.getVideoTracks();
  item.mirrored = track.getSettings().facingMode !== "environment";
  await run(item, stream);
  track.addEventListener("ended", () => {
    stopCamera();
    complain("The camera was disconnected: connect it, then start again.");
  });
}

function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Failure("The webcam needs a secure page: open this page under https:// or as localhost.");
  }
  const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user" };
  return navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
}

async function run(item, stream) {
  const video = newVideo();
  video.srcObject = stream;
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    item.state = "stopped";
    if (item.still) thumbnail(item.still).then((thumb) => Object.assign(item, { thumb }) && changed());
    changed();
  };
  const live = new Live(item, video, { ...hooks(), stopped: release });
  const began = performance.now();
  live.clock = () => (performance.now() - began) / 1000;
  Object.assign(item, { video, live, state: "running" });
  showThumbnail(item);
  camera = item;
  addItem(item);
  show(item);
  live.start();
  await video.play().catch(() => {});
  say("Webcam started.");
}

export function stopCamera() {
  const item = runningCamera();
  if (!item) return;
  item.live.stop();
  const faces = new Set(item.frames.flatMap((frame) => frame.faces.map((face) => face.track))).size;
  say(`Webcam stopped, ${faces ? plural(faces, "face") : "no face"} seen.`);
}

/** A video file: it is read as it plays. */
export function addVideo(file) {
  const item = newItem("video", file.name, file);
  const video = newVideo();
  video.preload = "auto";
  video.src = item.url;
  item.video = video;
  const stopped = () => {
    video.pause();
    item.state = "stopped";
    changed();
  };
  item.live = new Live(item, video, { ...hooks(), stopped });
  for (const event of ["play", "pause", "ended", "seeked", "timeupdate", "loadedmetadata"])
    video.addEventListener(event, () => follow(item, event));
  video.addEventListener("error", () => {
    Object.assign(item, {
      state: "failed",
      error: "This browser cannot play the video: use an MP4 (H.264) or WebM file, or “mien predict”, which reads others too.",
    });
    changed();
  });
  showThumbnail(item);
  addItem(item);
}

/** Play what is shown now, and nothing else, where it is a video and motion is welcome. */
export function playShown() {
  for (const other of state.items) if (other.kind === "video" && other !== state.current) other.video.pause();
  if (state.current.kind === "video" && !still()) playVideo(state.current);
}

function showThumbnail(item, video = item.video) {
  video.addEventListener(
    "loadeddata",
    async () => Object.assign(item, { thumb: await thumbnail(video) }) && changed(),
    { once: true },
  );
}

function follow(item, event) {
  if (event === "play" || event === "seeked") item.live.start();
  if (item.state !== "failed" && event !== "timeupdate")
    item.state = item.video.paused ? (item.frames.length ? "paused" : "ready") : "running";
  changed();
}

export function playVideo(item) {
  hush();
  item.live.start();
  item.video.play().catch(() => changed());
}

/** A tab that nobody sees reads nothing: videos are paused, the camera's picture goes black until the tab is back. */
export function watchVisibility() {
  const paused = new Set();
  document.addEventListener("visibilitychange", () => {
    const track = runningCamera()?.video.srcObject?.getVideoTracks()[0];
    if (track) track.enabled = !document.hidden;
    if (document.hidden) {
      for (const { video } of state.items.filter((item) => item.kind === "video" && !item.video.paused)) {
        video.pause();
        paused.add(video);
      }
    } else {
      for (const video of paused) video.play().catch(() => {});
      paused.clear();
    }
  });
}
