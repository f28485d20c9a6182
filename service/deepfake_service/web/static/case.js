// Sends forms with files to the HTTP API.
import { ask, refusal } from "./api.js";
import { onChosen } from "./chosen.js";
import { completeTime, decode } from "./delimited.js";
import { nameZones } from "./times.js";

for (const form of document.querySelectorAll("form.api")) {
  const problem = form.querySelector("[role=alert]");
  const time = form.elements.captured_at ?? form.elements.seen_at;
  form.hidden = false;
  nameZones(form);
  time?.addEventListener("change", () => { time.value = completeTime(time.value); });
  addEventListener("pageshow", () => { form.querySelector("button").disabled = false; }); // who comes back may send again
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (time) time.value = completeTime(time.value);
    const body = new FormData();
    for (const [name, value] of new FormData(form)) {
      if (typeof value === "string" ? value.trim() : value.size) body.append(name, value);
    }
    const button = form.querySelector("button");
    button.disabled = true;
    const response = await ask("POST", form.action, body);
    if (response?.ok) {
      // The address of the page may be the same after another post: only its fragment would be sought.
      history.replaceState(null, "", location.pathname);
      const { case_id: caseId } = await response.json();
      location.assign(form.dataset.done.replace("{case}", caseId));
    } else {
      button.disabled = false; // not until the next page has come, or a second click would record it again
      problem.textContent = await refusal(response);
      problem.hidden = false;
    }
  });
}

// A table of links goes into the text, where it can be read before it is sent.
for (const chosen of document.querySelectorAll("input[data-into]")) {
  chosen.parentElement.hidden = false;
  chosen.form.addEventListener("input", () => chosen.setCustomValidity(""));
  onChosen(chosen, async (_, isEarly) => {
    const text = document.getElementById(chosen.dataset.into);
    if (isEarly && text.value) return; // which the browser kept as well
    const bytes = new Uint8Array(await chosen.files[0].arrayBuffer());
    try {
      text.value = decode(bytes);
    } catch {
      chosen.setCustomValidity(chosen.dataset.undecodable);
      chosen.reportValidity();
    }
  });
}
