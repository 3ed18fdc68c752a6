// Play, pause and position of a video.

import { byId, clock, setText } from "./dom.js";
import { playVideo } from "./sources.js";
import { state } from "./state.js";

export function startTransport() {
  byId("play").addEventListener("click", () => {
    const { video } = state.current;
    if (video.paused) playVideo(state.current);
    else video.pause();
  });
  byId("position").addEventListener("input", ({ target }) => {
    state.current.video.currentTime = Number(target.value);
  });
}

export function renderTransport() {
  const item = state.current;
  const wanted = item?.kind === "video" && item.state !== "failed";
  byId("transport").hidden = !wanted;
  if (!wanted) return;
  const { paused, currentTime, duration } = item.video;
  setText(byId("play"), paused ? "Play" : "Pause");
  const known = Number.isFinite(duration) ? duration : 0;
  const range = byId("position");
  range.max = String(known);
  if (!range.matches(":active")) range.value = String(currentTime);
  const words = `${clock(currentTime)} of ${clock(known)}`;
  range.setAttribute("aria-valuetext", words);
  setText(byId("clock"), words);
}
