// What the page says: errors in sight, and short words for screen readers.

import { byId, make, setText } from "./dom.js";

/** Show one clear sentence until it is closed or another takes its place. */
export function complain(sentence) {
  const close = make("button", {
    type: "button",
    class: "quiet",
    text: "Close",
    "aria-label": "Close this message",
    onclick: hush,
  });
  byId("alert").replaceChildren(make("div", { class: "notice wrong" }, make("p", { text: sentence }), close));
}

export function hush() {
  const area = byId("alert");
  const focused = area.contains(document.activeElement);
  area.replaceChildren();
  if (focused) byId("main").focus();
}

/** Tell screen readers something, politely; the same words twice are said twice. */
export function say(text) {
  const status = byId("status");
  setText(status, "");
  setTimeout(() => setText(status, text), 60);
}
