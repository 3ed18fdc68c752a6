// What this copy of the page can do, as page/config.json says: {service, local, token, version}.

import { changed, state } from "./state.js";

async function ask() {
  try {
    const answer = await fetch("page/config.json", { cache: "no-store" });
    return answer.ok ? await answer.json() : { service: false };
  } catch {
    return { service: false };
  }
}

/** Fulfilled once it is known; until then pictures that come in wait. */
export const configured = ask().then((config) => {
  Object.assign(state.config, config);
  state.settings.engine = config.service ? "service" : "local";
  changed();
});
