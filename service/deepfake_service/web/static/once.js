// Sends a form once: pressed again on a slow connection, it would record a decision or a notice twice.
const FORGOTTEN_MS = 30000; // the browser does not say that a reader has stopped it

addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if ("sent" in form.dataset) event.preventDefault();
  form.dataset.sent = "";
  setTimeout(() => delete form.dataset.sent, FORGOTTEN_MS);
});

addEventListener("pageshow", () => { // whoever has come back to a form may send it again
  for (const form of document.forms) delete form.dataset.sent;
});
