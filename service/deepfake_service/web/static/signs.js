// Signs that a reviewer ticks: each takes the moment that the viewer shows, and the place that was marked.
import { viewer } from "./viewer.js";

const part = document.getElementById("signs");
const reason = document.getElementById("reason");
const ticks = [...document.querySelectorAll("#signs input")];
let marked, last; // a place that waits for its sign, and the sign that a place goes to

const place = (tick) => tick.parentElement.querySelector(".place");
function state(tick, { time_s = null, rect = null }) {
  time_s &&= Math.round(time_s * 1000) / 1000;
  tick.value = JSON.stringify({ code: tick.dataset.code, time_s, rect });
  const said = time_s === null ? [] : [part.dataset.seconds.replace("{s}", time_s.toFixed(2))];
  if (rect) said.push(`${Math.round(rect[2] - rect[0])} × ${Math.round(rect[3] - rect[1])}`);
  place(tick).textContent = said.join(" · ");
}
// Says how many signs are stated, and of each, of which moment and place.
export function showStated() {
  for (const tick of stated()) state(tick, JSON.parse(tick.value));
  if (part) count();
}
const stated = () => ticks.filter((tick) => tick.checked);
function count() {
  part.querySelector("summary output").textContent = stated().length || "";
  reason.required = !stated().length; // signs are grounds enough
}
// What was ticked, as the question before saving repeats it.
export const ticked = () => stated().map((tick) => tick.parentElement.textContent.replace(/\s+/g, " ").trim());

if (part) {
  for (const tick of ticks) {
    tick.addEventListener("change", () => {
      if (tick.checked) {
        state(tick, marked || { time_s: viewer.kind === "video" && viewer.element ? viewer.time() : null });
        [marked, last] = [null, tick];
      } else {
        place(tick).textContent = "";
        if (last === tick) last = null;
      }
      count();
    });
  }
  viewer.on("mark", (mark) => {
    part.open = true;
    if (last?.value.endsWith("null}")) state(last, mark);
    else marked = mark;
  });
  document.getElementById("take-over")?.addEventListener("click", () => {
    for (const tick of part.querySelectorAll("[data-original]:not(:checked)")) {
      tick.checked = true;
      state(tick, JSON.parse(tick.dataset.original));
    }
    count();
  });
}
