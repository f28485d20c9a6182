// Adds a screenshot to a post of a notice's form: to its record, which the other fields identify.
import { ask, refusal } from "./api.js";
import { onChosen } from "./chosen.js";

const form = document.getElementById("notice");

async function add(place, input, status) {
  const body = new FormData();
  for (const [name, value] of Object.entries(place.dataset)) if (value) body.append(name, value);
  body.append("screenshot", input.files[0]);
  status.textContent = status.dataset.sending;
  input.disabled = true;
  const response = await ask("POST", form.dataset.occurrences, body);
  input.disabled = false;
  if (!response?.ok) {
    status.textContent = await refusal(response);
    return;
  }
  place.parentElement.querySelector("input[type=checkbox]").checked = true;
  place.parentElement.querySelector("[data-lacks]").remove();
  place.textContent = status.dataset.saved;
}

for (const place of document.querySelectorAll(".capture")) {
  place.hidden = false;
  onChosen(place.querySelector("input"), (input) => add(place, input, place.querySelector("[role=status]")));
}

// Days are those of the person who signs.
for (const input of form.querySelectorAll("[data-today]")) {
  const now = new Date();
  input.value ||= new Date(now - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}

// What nobody has changed follows the language of the notice.
const defaults = JSON.parse(form.dataset.defaults);
const language = form.elements.language;
let before = language.value;
language.addEventListener("change", () => {
  for (const [name, value] of Object.entries(defaults[language.value])) {
    if (form.elements[name].value === (defaults[before][name] ?? "")) form.elements[name].value = value;
  }
  before = language.value;
});

// A notice about consent does not claim manipulation, as the standard statements do.
for (const input of form.querySelectorAll("[name=basis]")) {
  input.addEventListener("change", () => {
    for (const select of form.querySelectorAll("[data-claims]")) {
      if (input.value === "without_consent" && select.value === select.dataset.claims) select.value = "";
    }
    for (const text of form.querySelectorAll("textarea")) {
      const standard = defaults[language.value][text.name];
      if (input.value === "without_consent" && text.value === standard?.replaceAll("\r\n", "\n")) text.value = "";
    }
  });
}
