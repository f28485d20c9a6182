// Copies the text before a button, where the browser allows it: over TLS, or on this machine.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => navigator.clipboard.writeText(button.previousElementSibling.textContent));
}
