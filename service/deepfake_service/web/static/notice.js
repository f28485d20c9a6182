// Adds a screenshot to a post of a notice's form: to its record, which the other fields identify.
import { refusal } from "./api_errors.js";

const csrf = document.querySelector("meta[name=csrf]").content;
const form = document.getElementById("notice");

async function add(place, input, status) {
  const body = new FormData();
  for (const [name, value] of Object.entries(place.dataset)) if (value) body.append(name, value);
  body.append("screenshot", input.files[0]);
  status.textContent = status.dataset.sending;
  input.disabled = true;
  const options = { method: "POST", body, headers: { "X-CSRF-Token": csrf } };
  const response = await fetch(form.dataset.occurrences, options).catch(() => null);
  input.disabled = false;
  if (!response?.ok) {
    status.textContent = await refusal(response, form);
    return;
  }
  place.parentElement.querySelector("input[type=checkbox]").checked = true;
  place.parentElement.querySelector("[data-lacks]").remove();
  place.textContent = status.dataset.saved;
}

for (const place of document.querySelectorAll(".capture")) {
  const input = place.querySelector("input");
  place.hidden = false;
  input.addEventListener("change", () => {
    if (input.files.length) add(place, input, place.querySelector("[role=status]"));
  });
}
