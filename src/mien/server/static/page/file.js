// Says why nothing works where the page was opened as a file: browsers then load none of its modules, and no model.

if (location.protocol === "file:") {
  const note = document.createElement("p");
  note.className = "notice wrong";
  note.textContent =
    "Browsers do not run this page from a file. Run “python -m http.server” in its folder, then open http://127.0.0.1:8000 instead.";
  document.getElementById("intake").append(note);
  for (const part of document.querySelectorAll(".actions, .lede, .settings, .place")) part.hidden = true;
}
