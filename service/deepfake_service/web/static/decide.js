// A letter chooses a decision, for one item or for several; Ctrl+Enter asks whether to save it.
import { keyOf } from "./keys.js";
import { ticked } from "./signs.js";

const decisions = [...document.querySelectorAll("input[type=radio][name=decision]")];
const reason = document.getElementById("reason");
const sure = document.getElementById("sure");

function decide(radio) {
  const closed = radio.closest("details:not([open])");
  if (closed) closed.open = true;
  radio.checked = true;
  reason.focus();
}
addEventListener("keydown", (event) => {
  const radio = decisions.find((each) => each.dataset.key === keyOf(event));
  if (radio) { event.preventDefault(); decide(radio); }
});

// The original's finding; `signs.js` ticks its signs.
const original = document.getElementById("take-over");
original?.addEventListener("click", () => decide(decisions.find((each) => each.value === original.value)));

if (reason) {
  addEventListener("keydown", (event) => {
    if (sure?.open || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!reason.form.reportValidity()) return;
    if (!sure) return reason.form.requestSubmit(); // it has a box instead, to which the browser goes unless ticked
    const chosen = reason.form.querySelector("input[name=decision]:checked");
    document.getElementById("sure-what").textContent = chosen.nextSibling.textContent.trim();
    document.getElementById("sure-why").textContent = [...ticked(), reason.value].filter(Boolean).join("; ");
    sure.showModal();
  });
}
sure?.addEventListener("close", () => { if (sure.returnValue === "yes") reason.form.requestSubmit(); });
