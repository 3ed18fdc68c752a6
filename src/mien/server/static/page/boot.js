// Starts the page; where that fails, says so: an old browser, or files of two versions beside each other.

import("./main.js").catch((error) => {
  const words =
    "This page could not start: reload it, or use a newer browser (Firefox, Chrome, Edge or Safari of 2024 on).";
  const note = document.createElement("p");
  note.className = "notice wrong";
  note.textContent = words;
  document.getElementById("alert").replaceChildren(note);
  console.error(error);
});
