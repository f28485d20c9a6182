// Sends the form of a new occurrence to the HTTP API, which accepts the screenshot.
import { refusal } from "./api_errors.js";
import { completeTime } from "./delimited.js";
import { nameZones } from "./times.js";

const form = document.getElementById("occurrence");
const problem = document.getElementById("occurrence-problem");
const csrf = document.querySelector("meta[name=csrf]").content;
form.hidden = false;
nameZones(form);
const captured = form.elements.captured_at;
captured.addEventListener("change", () => { captured.value = completeTime(captured.value); });
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  captured.value = completeTime(captured.value);
  const body = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" ? value.trim() : value.size) body.append(name, value);
  }
  const button = form.querySelector("button");
  button.disabled = true;
  const options = { method: "POST", body, headers: { "X-CSRF-Token": csrf } };
  const response = await fetch(form.action, options).catch(() => null);
  button.disabled = false;
  if (response?.ok) {
    // The address of the page may be the same after another post: only its fragment would be sought.
    history.replaceState(null, "", location.pathname);
    location.assign("?done=post_added#seen");
  } else {
    problem.textContent = await refusal(response, form);
    problem.hidden = false;
  }
});
