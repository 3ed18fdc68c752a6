// The row of pictures: what state each is in, which one is looked at.

import { byId, make, plural, setText } from "./dom.js";
import { busy, pictures } from "./queue.js";
import { stateOf } from "./stage.js";
import { show, state } from "./state.js";

const tiles = new Map();

/** @param remove is called with the item that Delete was pressed on. */
export function startGallery(remove) {
  // Another picture may be higher or lower: the tile that arrow keys have led to stays in sight.
  new ResizeObserver(() => {
    const { activeElement } = document;
    if (byId("gallery").contains(activeElement)) activeElement.scrollIntoView({ block: "nearest" });
  }).observe(byId("stage"));
  byId("gallery").addEventListener("keydown", (event) => {
    const place = state.items.indexOf(state.current);
    const steps = {
      ArrowLeft: place - 1,
      ArrowUp: place - 1,
      ArrowRight: place + 1,
      ArrowDown: place + 1,
      Home: 0,
      End: state.items.length - 1,
    };
    if (event.key === "Delete") {
      event.preventDefault();
      remove(state.current);
    } else if (event.key in steps) {
      event.preventDefault();
      const next = state.items[Math.min(Math.max(steps[event.key], 0), state.items.length - 1)];
      show(next);
      focusTile(next);
    }
  });
}

/** Focus an item's tile; for after a removal, too. */
export function focusTile(item) {
  renderGallery();
  tiles.get(item)?.focus();
}

export function renderGallery() {
  const { items, current } = state;
  // One item alone needs no row to choose it from.
  byId("shelf").hidden = items.length < 2 && !busy();
  byId("gallery").hidden = byId("clear").hidden = items.length < 2;
  for (const [item, tile] of tiles) {
    if (items.includes(item)) continue;
    tile.remove();
    tiles.delete(item);
  }
  for (const item of items) update(tiles.get(item) ?? addTile(item), item, current);
  byId("gallery").classList.toggle("many", items.length > 16);
  renderProgress();
}

function addTile(item) {
  const [thumb, name, note] = [
    make("span", { class: "thumb", text: "·" }),
    make("span", { class: "name", text: item.name }),
    make("span", { class: "state" }),
  ];
  const tile = make(
    "div",
    { class: "tile", role: "option", id: `item-${item.id}`, title: item.name, onclick: () => show(item) },
    thumb,
    name,
    note,
  );
  Object.assign(tile, { thumb, note });
  tiles.set(item, tile);
  byId("gallery").append(tile);
  return tile;
}

function update(tile, item, current) {
  const selected = item === current;
  if (tile.getAttribute("aria-selected") !== String(selected)) {
    tile.setAttribute("aria-selected", String(selected));
    if (selected) reveal(tile);
  }
  tile.tabIndex = selected ? 0 : -1;
  tile.classList.toggle("failed", item.state === "failed");
  setText(tile.note, stateOf(item).split(",")[0]);
  if (item.thumb && tile.thumb.firstElementChild !== item.thumb) tile.thumb.replaceChildren(item.thumb);
  else if (item.state === "failed" && !item.thumb) setText(tile.thumb, "!");
}

/** Scroll the gallery, and only the gallery, so that a tile is in sight. */
function reveal(tile) {
  const row = byId("gallery");
  const left = tile.offsetLeft - row.offsetLeft;
  const top = tile.offsetTop - row.offsetTop;
  const below = top + tile.offsetHeight > row.scrollTop + row.clientHeight;
  if (top < row.scrollTop || below) row.scrollTop = top - row.clientHeight / 3;
  if (left < row.scrollLeft || left + tile.offsetWidth > row.scrollLeft + row.clientWidth)
    row.scrollLeft = left - row.clientWidth / 3;
}

function renderProgress() {
  const all = pictures();
  const left = all.filter((item) => ["waiting", "working"].includes(item.state)).length;
  const failed = all.filter((item) => item.state === "failed").length;
  const reading = busy();
  const wrong = failed ? `, ${failed} failed` : "";
  setText(
    byId("progress-text"),
    reading
      ? `${all.length - left} of ${plural(all.length, "picture")} read${wrong}`
      : `${plural(state.items.length, all.length === state.items.length ? "picture" : "item")}${wrong}`,
  );
  const bar = byId("progress");
  bar.hidden = !reading || all.length < 2;
  bar.value = all.length ? (all.length - left) / all.length : 0;
  byId("cancel").hidden = !reading;
}
