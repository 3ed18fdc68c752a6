// The page: opens the service or the browser's own engine, and draws whatever changes.

import { configured } from "./config.js";
import { byId, setText } from "./dom.js";
import { startCopying } from "./copying.js";
import { renderDownloads, startDownloads } from "./downloads.js";
import { renderFaces } from "./faces.js";
import { focusTile, renderGallery, startGallery } from "./gallery.js";
import { startIntake } from "./intake.js";
import { hush } from "./notices.js";
import { abort, cancel, onTokenAsked, read } from "./queue.js";
import { askToken, firstContact, renderSettings, startSettings } from "./settings.js";
import { onFrameShown, onLiveTokenAsked, runningCamera, startCamera, stopCamera, watchVisibility } from "./sources.js";
import { renderCaption, draw, renderStage, startStage } from "./stage.js";
import { changed, dropItem, state, watch } from "./state.js";
import { renderTable } from "./table.js";
import { renderTimeline, startTimeline } from "./timeline.js";
import { renderTransport, startTransport } from "./transport.js";
import { turn } from "./turning.js";

function render() {
  const focused = document.activeElement;
  document.body.classList.toggle("empty", state.items.length === 0);
  byId("viewer").hidden = state.items.length === 0;
  setText(byId("choose"), state.items.length ? "Add pictures" : "Choose pictures or videos");
  setText(byId("webcam"), runningCamera() ? "Stop webcam" : "Start webcam");
  renderCaption();
  renderStage();
  renderTransport();
  renderTimeline();
  renderGallery();
  renderFaces();
  renderSettings();
  renderTable();
  renderDownloads();
  keepFocus(focused);
}

/** A control that goes while it has the focus leaves it to the part of the page that it was in. */
function keepFocus(focused) {
  const part = focused?.closest("[hidden]")?.parentElement.closest("section, main");
  if (!part) return;
  part.tabIndex = -1;
  part.focus({ preventScroll: true });
}

function remove(item) {
  const inGallery = byId("gallery").contains(document.activeElement);
  abort(item);
  dropItem(item);
  if (!state.items.length) byId("choose").focus();
  else if (inGallery) focusTile(state.current);
}

function clear() {
  cancel();
  hush();
  for (const item of [...state.items]) dropItem(item);
  byId("choose").focus();
}

function startButtons() {
  byId("webcam").addEventListener("click", async ({ target }) => {
    if (runningCamera()) return stopCamera();
    target.disabled = true;
    await startCamera();
    target.disabled = false;
    return target.focus();
  });
  byId("cancel").addEventListener("click", cancel);
  byId("clear").addEventListener("click", clear);
  byId("remove").addEventListener("click", () => remove(state.current));
  byId("turn").addEventListener("click", () => turn(state.current));
  byId("again-one").addEventListener("click", () => read([state.current]));
}

function start() {
  startButtons();
  startStage();
  startGallery(remove);
  startIntake();
  startTransport();
  startTimeline();
  startDownloads();
  startCopying();
  startSettings();
  onTokenAsked(askToken);
  onLiveTokenAsked(() => askToken(state.token !== ""));
  onFrameShown(draw);
  watchVisibility();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  configured.then(() => {
    setText(byId("version"), `mien ${state.config.version ?? ""}`.trim());
    // A link carries no token.
    byId("api").hidden = !state.config.service || state.config.token;
    firstContact();
    watch(render);
    changed();
  });
}

start();
