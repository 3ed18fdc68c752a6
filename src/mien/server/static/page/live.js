// Reads a playing video or the webcam: one frame in flight, those that come meanwhile are dropped.

import { grab } from "./decode.js";
import { currentEngine } from "./engines.js";
import { sentence } from "./problems.js";
import { enlarged } from "./scaling.js";
import { changed, state } from "./state.js";
import { Tracker } from "./tracking.js";

/** Pixels of a frame's longer side: the most, and the least where answers come slowly. */
const LONGEST_SIDE = { service: [960, 640], local: [640, 480] };
const [SLOW, FAST] = [220, 90];
const MOST_FACES = 50_000;
const MOST_FAILURES = 3;

export class Live {
  /** @param hooks {failed(sentence), tokenAsked(), stopped(), shown()}: shown, for each frame that the video shows. */
  constructor(item, video, hooks) {
    Object.assign(this, {
      item,
      video,
      hooks,
      tracker: new Tracker(),
      on: false,
      busy: false,
      missed: false,
      failures: 0,
    });
    this.canvases = [];
    this.frame = 0;
    this.rate = 0;
    this.share = 1;
    this.shown = null;
    /** Seconds of what is shown now: of a video the time of its frame, of the webcam since it was started. */
    this.clock = () => this.shown ?? video.currentTime;
  }

  start() {
    if (this.on) return;
    this.on = true;
    this.abort = new AbortController();
    this.#watch();
  }

  stop() {
    if (!this.on) return;
    this.on = false;
    this.abort.abort();
    if (this.handle) this.video.cancelVideoFrameCallback?.(this.handle);
    this.hooks.stopped?.();
  }

  /** Frames a second that were read lately. */
  get framesPerSecond() {
    return this.rate;
  }

  #watch() {
    const next = (now, frame) => {
      if (!this.on) return;
      this.#watch();
      const shown = frame?.mediaTime ?? this.video.currentTime;
      // Without frame callbacks a paused video comes by again and again.
      if (!frame && shown === this.shown) return;
      this.shown = shown;
      this.#offer();
      this.hooks.shown?.();
    };
    if (this.video.requestVideoFrameCallback) this.handle = this.video.requestVideoFrameCallback(next);
    else setTimeout(next, 40);
  }

  #offer() {
    if (this.busy || document.hidden || !this.video.videoWidth) {
      this.missed = this.busy;
      return;
    }
    this.busy = true;
    this.missed = false;
    this.#read().finally(() => {
      this.busy = false;
      // A video that was paused meanwhile shows a frame that nobody read yet.
      if (this.on && this.missed && this.video.paused) this.#offer();
    });
  }

  async #read() {
    const time = this.clock();
    const { tta, minConfidence, model, engine: name } = state.settings;
    const { signal } = this.abort;
    const began = performance.now();
    const canvas = grab(this.video, this.#side(name), this.canvases.pop());
    try {
      const engine = await currentEngine();
      const options = { tta, minConfidence, model: model || null, signal, name: "frame.jpg" };
      const answer = await engine.analyze(canvas, options);
      if (signal.aborted) return;
      this.failures = 0;
      this.#keep(answer, time, canvas);
      this.#measure(performance.now() - began);
    } catch (error) {
      if (!signal.aborted) await this.#fail(error);
    }
    changed();
  }

  #keep(answer, time, canvas) {
    const { item, video } = this;
    const size = [video.videoWidth, video.videoHeight];
    const { faces: found, classes } = enlarged(answer, size);
    const last = item.frames.at(-1);
    if (last && time <= last.time) this.#rewind(time);
    const faces = this.tracker.follow(found, time);
    item.frames.push({ frame: this.frame, time, faces });
    this.frame += 1;
    if (item.still) this.canvases.push(item.still);
    Object.assign(item, {
      still: canvas,
      result: { source: item.name, size_wh: size, faces },
      classes,
      model: answer.model,
    });
    this.#trim();
  }

  /** The video was wound back: what follows is read anew. */
  #rewind(time) {
    const { frames } = this.item;
    while (frames.length && frames.at(-1).time >= time) frames.pop();
    this.frame = frames.length ? frames.at(-1).frame + 1 : 0;
    if (!frames.length) this.tracker.reset();
  }

  /** Memory has a limit: of very long sessions the oldest part goes. */
  #trim() {
    const { item } = this;
    this.faces = (this.faces ?? 0) + item.result.faces.length + 1;
    if (this.faces <= MOST_FACES) return;
    const gone = item.frames.splice(0, Math.ceil(item.frames.length / 10));
    item.dropped += gone.length;
    this.faces = item.frames.reduce((sum, frame) => sum + frame.faces.length + 1, 0);
  }

  #side(engine) {
    const [most, least] = LONGEST_SIDE[engine];
    return Math.max(least, Math.round(most * this.share));
  }

  /** Where answers come slowly, smaller frames are sent; where they come fast, larger ones again. */
  #measure(milliseconds) {
    if (milliseconds > SLOW) this.share = Math.max(0.5, this.share * 0.9);
    else if (milliseconds < FAST) this.share = Math.min(1, this.share * 1.05);
    const rate = 1000 / Math.max(milliseconds, 1);
    this.rate = this.rate ? this.rate + (rate - this.rate) * 0.2 : rate;
  }

  async #fail(error) {
    this.failures += 1;
    if (error.status === 401) {
      this.stop();
      this.hooks.tokenAsked();
    } else if (error.status === 503 && this.failures < 20) {
      await new Promise((done) => setTimeout(done, 1000 * Math.min(error.retryAfter ?? 1, 5)));
    } else if (error.status === 0 || this.failures >= MOST_FAILURES) {
      this.stop();
      this.hooks.failed(sentence(error));
    }
  }
}
