// Signs that a reviewer ticks: each takes the moment that the viewer shows, and the place that was marked.
import { viewer } from "./viewer.js";

const part = document.getElementById("signs");
const reason = document.getElementById("reason");
const ticks = part ? [...part.querySelectorAll("input")] : [];
let [marked, last] = [null, null]; // a place that waits for its sign, and the sign that a place goes to

function state(tick, mark) {
  const time = mark ? mark.time_s : viewer.kind === "video" && viewer.element ? viewer.time() : null;
  const sign = { code: tick.dataset.code, ...(time === null ? {} : { time_s: Math.round(time * 1000) / 1000 }), ...(mark ? { rect: mark.rect } : {}) };
  tick.value = JSON.stringify(sign);
  const said = time === null ? [] : [part.dataset.seconds.replace("{s}", time.toFixed(2))];
  if (mark) said.push(`${Math.round(mark.rect[2] - mark.rect[0])} × ${Math.round(mark.rect[3] - mark.rect[1])}`);
  tick.parentElement.querySelector(".place").textContent = said.join(" · ");
}
function count() {
  const stated = ticks.filter((tick) => tick.checked);
  part.querySelector("summary output").textContent = stated.length || "";
  reason.required = !stated.length; // signs are grounds enough
}
// What was ticked, as the question before saving repeats it.
export const ticked = () => ticks.filter((tick) => tick.checked).map((tick) => tick.parentElement.textContent.replace(/\s+/g, " ").trim());

if (part && reason) {
  for (const tick of ticks) {
    tick.addEventListener("change", () => {
      if (tick.checked) {
        state(tick, marked);
        [marked, last] = [null, tick];
      } else {
        tick.parentElement.querySelector(".place").textContent = "";
        if (last === tick) last = null;
      }
      count();
    });
  }
  viewer.on("mark", (mark) => {
    part.open = true;
    if (last && !last.value.includes("rect")) state(last, mark);
    else marked = mark;
  });
  count();
}
