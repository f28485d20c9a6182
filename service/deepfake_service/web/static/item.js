// Scripted parts of an item's page: the slider of the overlay, the player with boxes over the video,
// the plot, and the keyboard.
import "./decide.js";
import { keyOf } from "./keys.js";

const heat = document.getElementById("heat");
if (heat) {
  heat.closest(".scripted").hidden = false;
  heat.addEventListener("input", () => {
    for (const image of document.querySelectorAll(".heat")) image.style.opacity = heat.value / 100;
  });
}

const timeline = document.getElementById("timeline");
const player = document.getElementById("player");
const video = player && player.querySelector("video");
const points = timeline ? [...timeline.querySelectorAll("circle[data-t]")] : [];
const FRAME_S = 1 / 30;
const NEAR_S = 0.15;

// Goes to a moment in the player, and shows it.
function go(time) {
  if (!video) return;
  player.open = true;
  if (!video.src) video.src = player.dataset.src;
  const seek = () => { video.currentTime = time; video.scrollIntoView({ block: "center" }); };
  player.scrollIntoView();
  if (video.readyState) seek();
  else { video.addEventListener("loadedmetadata", seek, { once: true }); video.load(); }
}

if (timeline) {
  const readout = document.getElementById("readout");
  let chosen = -1;
  const choose = (n) => {
    if (points[chosen]) points[chosen].classList.remove("chosen");
    chosen = n;
    const point = points[n];
    if (!point) return;
    point.classList.add("chosen");
    const { t, p, v } = point.dataset;
    const time = timeline.dataset.seconds.replace("{s}", Number(t).toFixed(2));
    readout.textContent = `${time} · ${timeline.dataset.person} ${p} · ${v}`;
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
  timeline.addEventListener("click", (event) => {
    choose(nearest(event));
    if (points[chosen]) go(Number(points[chosen].dataset.t));
  });
  timeline.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      event.preventDefault();
      choose(Math.min(points.length - 1, Math.max(0, chosen + step)));
    }
    if (event.key === "Enter" && points[chosen]) go(Number(points[chosen].dataset.t));
  });
}

if (player) {
  const cursor = timeline.querySelector(".cursor");
  const over = document.getElementById("over");
  player.addEventListener("toggle", () => {
    if (player.open && !video.src) video.src = player.dataset.src;
    if (!player.open) video.pause();
  });
  const toggle = (id, change) => {
    const button = document.getElementById(id);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      change(on);
    });
  };
  toggle("slow", (on) => { video.playbackRate = on ? 0.25 : 1; });
  const step = (by) => { video.pause(); video.currentTime = Math.max(0, video.currentTime + by); };
  document.getElementById("back").addEventListener("click", () => step(-FRAME_S));
  document.getElementById("forth").addEventListener("click", () => step(FRAME_S));
  over.setAttribute("viewBox", `0 0 ${player.dataset.width} ${player.dataset.height}`);
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  // The box of each person is that of the examined frame that is nearest in time.
  const boxes = () => {
    const shown = new Map();
    for (const point of points) {
      const far = Math.abs(Number(point.dataset.t) - video.currentTime);
      const known = shown.get(point.dataset.p);
      if (far < NEAR_S && (!known || far < known.far)) shown.set(point.dataset.p, { far, box: point.dataset.b.split(",") });
    }
    over.replaceChildren(...[...shown].flatMap(([person, { box: [x, y, right, bottom] }]) => {
      const label = make("text", { x, y: y - 4, "font-size": player.dataset.height / 20 });
      label.textContent = person;
      return [make("rect", { x, y, width: right - x, height: bottom - y }), label];
    }));
  };
  const follow = () => {
    if (!video.duration) return;
    cursor.hidden = false;
    const share = video.currentTime / video.duration;
    cursor.style.left = `${Number(timeline.dataset.left) + Number(timeline.dataset.span) * share}%`;
    boxes();
  };
  const unplayable = document.getElementById("unplayable");
  video.addEventListener("error", () => { unplayable.hidden = false; });
  for (const kind of ["timeupdate", "seeked"]) video.addEventListener(kind, follow);
  for (const button of document.querySelectorAll(".seek")) {
    button.hidden = false;
    button.addEventListener("click", () => go(Number(button.dataset.time)));
  }
}

// Saves the reason of a review in this tab while it is being written, in case the session expires, for
// the same account alone, and removes it once the page shows it among the reviews.
const reason = document.getElementById("reason");
if (reason) {
  const storageKey = `reason ${document.body.dataset.account} ${location.pathname}`;
  const saved = (sessionStorage.getItem(storageKey) || "").trim();
  if (saved && document.getElementById("main").innerText.includes(saved)) sessionStorage.removeItem(storageKey);
  else if (saved && !reason.value) reason.value = saved;
  reason.addEventListener("input", () => sessionStorage.setItem(storageKey, reason.value));
}

// The order of the list from which this item was opened.
function neighbour(step) {
  let ids = [];
  try { ids = JSON.parse(sessionStorage.getItem("queue-order")) || []; } catch { /* none */ }
  const at = ids.indexOf(location.pathname.split("/")[2]);
  return at < 0 ? undefined : ids[at + step];
}
addEventListener("keydown", (event) => {
  const key = keyOf(event);
  const id = { j: neighbour(1), k: neighbour(-1) }[key];
  if (id) location.assign(`/items/${id}`);
  else if (key === "q") location.assign("/");
  else if (key === "n") document.getElementById("next").click();
  else if (key === "v") { const unveil = document.getElementById("unveil"); if (unveil) unveil.click(); }
  else if (video && video.readyState && (key === "," || key === ".")) {
    document.getElementById(key === "," ? "back" : "forth").click();
  }
});
