// The table of all faces, for the clipboard: spreadsheets and letters take it as a table.

import { byId, percent, setText } from "./dom.js";
import { complain, say } from "./notices.js";
import { classesOf, tableRows } from "./rows.js";
import { state } from "./state.js";

const SHOWN = 2000;

export function startCopying() {
  const button = byId("copy");
  button.hidden = !navigator.clipboard?.writeText; // browsers have it on secure pages alone
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(tableText());
    } catch {
      complain("The browser did not let the page copy: allow it, or take the CSV file.");
      return;
    }
    setText(button, "Copied");
    say("The table was copied.");
    setTimeout(() => setText(button, "Copy table"), SHOWN);
  });
}

/** The table as it is shown, a tab between cells. */
function tableText() {
  const read = state.items.filter((item) => item.result);
  const classes = classesOf(read);
  const lines = tableRows(read).map(({ item, face }) => [
    item.name,
    face.key,
    face.expression,
    percent(face.confidence),
    ...classes.map((name) => (name in face.probabilities ? percent(face.probabilities[name]) : "")),
  ]);
  const head = ["Picture", "Face", "Expression", "Confidence", ...classes];
  const plain = (cell) => String(cell).replace(/[\t\r\n]+/g, " ");
  return [head, ...lines].map((line) => `${line.map(plain).join("\t")}\n`).join("");
}
