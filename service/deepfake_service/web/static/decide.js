// A letter chooses a decision, for one item or for several; Ctrl+Enter asks whether to save it.
import { keyOf } from "./keys.js";
import { ticked } from "./signs.js";

const DECISIONS = { c: "confirmed", g: "body_generated", r: "rejected", u: "undecided" };
const reason = document.getElementById("reason");
const sure = document.getElementById("sure");

function decide(decision) {
  const radio = document.querySelector(`input[type=radio][name=decision][value=${decision}]`);
  if (!radio) return;
  const closed = radio.closest("details:not([open])");
  if (closed) closed.open = true;
  radio.checked = true;
  reason.focus();
}
addEventListener("keydown", (event) => {
  const decision = DECISIONS[keyOf(event)];
  if (decision) { event.preventDefault(); decide(decision); }
});

// The original's finding; `signs.js` ticks its signs.
const original = document.getElementById("take-over");
original?.addEventListener("click", () => decide(original.value));

if (reason) {
  addEventListener("keydown", (event) => {
    if (sure?.open || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!reason.form.reportValidity()) return;
    if (!sure) return reason.form.requestSubmit(); // it has a box instead, to which the browser goes unless ticked
    const chosen = reason.form.querySelector("input[name=decision]:checked");
    document.getElementById("sure-what").textContent = chosen.parentElement.textContent.trim();
    document.getElementById("sure-why").textContent = [...ticked(), reason.value].filter(Boolean).join("; ");
    sure.showModal();
  });
}
sure?.addEventListener("close", () => { if (sure.returnValue === "yes") reason.form.requestSubmit(); });
