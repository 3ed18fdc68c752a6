// The settings beside the picture, and the token that a service may ask for.

import { byId, make, percent, setText } from "./dom.js";
import { currentEngine, forgetService, known } from "./engines.js";
import { complain, hush } from "./notices.js";
import { sentence } from "./problems.js";
import { busy, pictures, read, resume } from "./queue.js";
import { changed, recipe, state } from "./state.js";

const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const serviceName = here ? "This computer's service" : `The service at ${location.host}`;
/** Whether the service waits for a token. */
let tokenWanted = false;

export function startSettings() {
  setText(byId("name-service"), serviceName);
  for (const input of document.querySelectorAll("[name=engine]"))
    input.addEventListener("change", () => chooseEngine(input.value));
  byId("model").addEventListener("change", ({ target }) => set({ model: target.value }));
  byId("tta").addEventListener("change", ({ target }) => set({ tta: target.value }));
  byId("confidence").addEventListener("input", ({ target }) => set({ minConfidence: Number(target.value) / 100 }));
  byId("again").addEventListener("click", () => {
    hush();
    read(stale());
  });
  byId("token-form").addEventListener("submit", useToken);
}

/** Once it is known what the service asks for: ask for the token, or for its models. */
export function firstContact() {
  const { config } = state;
  if (config.token) askToken();
  else if (config.service)
    currentEngine().catch((error) => (error.status === 401 ? askToken() : complain(sentence(error))));
}

function set(values) {
  Object.assign(state.settings, values);
  changed();
}

async function chooseEngine(name) {
  hush();
  useEngine(name);
  try {
    await currentEngine();
    resume();
  } catch (error) {
    if (error.status === 401) askToken();
    else complain(sentence(error));
    if (name === "local" && state.config.service) useEngine("service");
  }
}

function useEngine(engine) {
  set({ engine, model: "" });
  renderTokenForm();
}

const stale = () => pictures().filter((item) => item.state === "done" && item.made !== recipe());

export function renderSettings() {
  const { settings, config } = state;
  for (const input of document.querySelectorAll("[name=engine]")) input.checked = input.value === settings.engine;
  byId("choice-service").hidden = byId("note-service").hidden = !config.service;
  document.querySelector("[value=local]").disabled = config.service && config.local === false;
  setText(
    byId("note-service"),
    here
      ? "Pictures go to the service on this computer, which does not keep them."
      : `Pictures are sent to ${location.host}, which does not keep them.`,
  );
  setText(byId("note-local"), localNote());
  renderLoading();
  renderModels();
  setText(byId("confidence-value"), percent(settings.minConfidence));
  byId("tta").value = settings.tta;
  byId("again").hidden = busy() || stale().length === 0;
  setText(byId("privacy"), privacy());
  setText(
    byId("place"),
    settings.engine === "local"
      ? "Nothing leaves this tab"
      : here
        ? "Nothing leaves this machine"
        : `Read by ${location.host}`,
  );
}

function localNote() {
  if (state.config.service && state.config.local === false)
    return "Not installed here. Run “make web” in mien's folder, restart the service and reload this page.";
  if (!known.local.loading) return "Pictures never leave this tab. The models are loaded once.";
  return known.local.share === null ? "Loading the models…" : `Loading the models: ${percent(known.local.share)}`;
}

function privacy() {
  if (state.settings.engine === "local")
    return "Pictures are read in this tab. They are not kept, and nothing leaves this tab.";
  if (here)
    return "Pictures are not kept, and nothing leaves this machine: the service that reads them runs on this computer.";
  return `Pictures are sent to ${location.host} and to nobody else. They are read in memory and not kept.`;
}

function renderLoading() {
  const bar = byId("local-progress");
  const { loading, share } = known.local;
  bar.hidden = !loading;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

function renderModels() {
  const { models } = known[state.settings.engine];
  byId("model-field").hidden = models.length < 2;
  const select = byId("model");
  const key = models.map((one) => one.name).join("\n");
  if (select.dataset.models !== key) {
    select.replaceChildren(
      ...models.map((one) => make("option", { value: one.default ? "" : one.name, text: one.name })),
    );
    select.dataset.models = key;
  }
  select.value = state.settings.model;
}

/** Show the field for the token; `refused` where the one given was not taken. */
export function askToken(refused = false) {
  const input = byId("token");
  tokenWanted = true;
  renderTokenForm();
  const note = byId("token-note");
  note.classList.toggle("wrong", refused);
  setText(
    note,
    refused
      ? "The service did not accept this token: check it and enter it again."
      : "It stays in this tab's memory, and is gone when you close or reload it.",
  );
  if (refused) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  if (refused || state.items.length) input.focus();
}

/** This tab's own engine needs no token. */
function renderTokenForm() {
  byId("token-form").hidden = !tokenWanted || state.settings.engine === "local";
}

async function useToken(event) {
  event.preventDefault();
  const token = byId("token").value.trim();
  if (!token) return byId("token").focus();
  hush();
  state.token = token;
  forgetService();
  try {
    await currentEngine();
  } catch (error) {
    if (error.status === 401) return askToken(true);
    return complain(sentence(error));
  }
  byId("token").value = "";
  tokenWanted = false;
  renderTokenForm();
  byId(state.items.length ? "main" : "choose").focus();
  return resume();
}
