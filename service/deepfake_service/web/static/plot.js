// The plot of values over time: points are chosen by pointer or arrow keys, and lead to their moment.
import { viewer } from "./viewer.js";

const timeline = document.getElementById("timeline");
const points = timeline ? [...timeline.querySelectorAll("circle[data-t]")] : [];

if (timeline) {
  const [readout, cursor] = [document.getElementById("readout"), timeline.querySelector(".cursor")];
  let chosen = -1;
  const choose = (n) => {
    points[chosen]?.classList.remove("chosen");
    chosen = n;
    const point = points[n];
    if (!point) return;
    point.classList.add("chosen");
    const { t, p, v } = point.dataset;
    const time = timeline.dataset.seconds.replace("{s}", Number(t).toFixed(2));
    readout.textContent = `${time} · ${timeline.dataset.person} ${p} · ${v}`;
  };
  const go = () => {
    if (!viewer.element || !points[chosen]) return;
    viewer.go(Number(points[chosen].dataset.t));
    viewer.element.scrollIntoView({ block: "nearest" });
  };
  const nearest = (event) => {
    let [best, at] = [Infinity, -1];
    for (const [n, point] of points.entries()) {
      const box = point.getBoundingClientRect();
      const far = Math.hypot(box.x + box.width / 2 - event.clientX, (box.y + box.height / 2 - event.clientY) / 3);
      if (far < best) [best, at] = [far, n];
    }
    return at;
  };
  timeline.addEventListener("pointermove", (event) => choose(nearest(event)));
  timeline.addEventListener("click", (event) => { choose(nearest(event)); go(); });
  timeline.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      event.preventDefault();
      event.stopPropagation();
      choose(Math.min(points.length - 1, Math.max(0, chosen + step)));
    }
    if (event.key === "Enter") go();
  });
  viewer.on("time", (time) => {
    const duration = Number(viewer.element.dataset.duration);
    cursor.hidden = false;
    cursor.style.left = `${Number(timeline.dataset.left) + (Number(timeline.dataset.span) * time) / duration}%`;
  });
}
