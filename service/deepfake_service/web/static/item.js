// An item's page: tabs, the overlay of its evidence's pictures, the reason while it is written, and the keyboard.
import "./changes.js";
import "./contact.js";
import "./decide.js";
import { keyOf } from "./keys.js";
import "./plot.js";
import "./side.js";
import { showStated } from "./signs.js";
import { viewer } from "./viewer.js";
import "./views.js";

for (const scripted of document.querySelectorAll(".scripted")) scripted.hidden = false;
document.getElementById("heat")?.addEventListener("input", (event) => {
  for (const image of document.querySelectorAll(".heat")) image.style.opacity = event.target.value / 100;
});

// Tabs. Without a script, their parts stand one below another.
const tabs = [...document.querySelectorAll("[role=tab]")];
const partOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
const show = (tab) => { open(tab); partOf(tab).scrollIntoView({ block: "nearest" }); };
function open(tab) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", each === tab);
    each.tabIndex = each === tab ? 0 : -1;
    partOf(each).hidden = each !== tab;
  }
}
// What an address or a link names is in view, whichever tab it is in.
function follow() {
  const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const tab = named && tabs.find((each) => partOf(each).contains(named));
  if (tab) { open(tab); named.scrollIntoView({ block: "nearest" }); }
}
if (tabs.length) {
  tabs[0].parentElement.hidden = false;
  for (const [n, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", (event) => {
      const next = tabs[n + ({ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? NaN)];
      if (!next) return;
      event.stopPropagation();
      open(next);
      next.focus();
    });
  }
  open(tabs[0]);
  follow();
  addEventListener("hashchange", follow);
}

// Keeps in this tab what is written and ticked, for the same account alone, until the page says that it was saved, or
// shows the reason among the reviews: the session may expire. The decision is chosen again.
const reason = document.getElementById("reason");
if (reason) {
  // The answer to the form is about the same item, at an address of its own.
  const storageKey = `review ${document.body.dataset.account} ${location.pathname.split("/")[2]}`;
  const fields = [...reason.form.querySelectorAll("textarea, .hold input, #signs input")];
  const saved = JSON.parse(sessionStorage.getItem(storageKey) || "[]");
  const shown = saved[fields.indexOf(reason)]?.trim();
  const isDone = new URLSearchParams(location.search).get("done") === "reviewed"
    || (shown && [...document.querySelectorAll("#main bdi.free")].some((place) => place.textContent.trim() === shown));
  for (const [n, field] of isDone ? [] : fields.entries()) {
    if (field.type !== "checkbox") field.value ||= saved[n] ?? "";
    else if (saved[n]) [field.checked, field.value] = [true, saved[n]];
  }
  showStated();
  const keep = () => {
    const written = fields.map((field) => (field.type !== "checkbox" || field.checked ? field.value : ""));
    if (written.some(Boolean)) sessionStorage.setItem(storageKey, JSON.stringify(written));
    else sessionStorage.removeItem(storageKey);
  };
  reason.form.addEventListener("input", keep);
  addEventListener("pagehide", keep);
}

// Examines the file again, all of it or around the moment in the player, and goes there.
for (const again of document.querySelectorAll(".again")) {
  again.addEventListener("click", async () => {
    const { ask, refusal } = await import("./api.js");
    again.disabled = true;
    const body = JSON.stringify("around" in again.dataset ? { frames: 2000, around_s: viewer.time() } : { frames: 600 });
    const answer = await ask("POST", `/v1/jobs/${again.dataset.job}/examinations`, body, { "Content-Type": "application/json" });
    if (answer?.ok) return location.assign(`/items/${(await answer.json()).id}`);
    again.disabled = false;
    again.after(` ${await refusal(answer)}`);
  });
}

// The order of the list from which this item was opened.
function neighbour(step) {
  let ids = [];
  try { ids = JSON.parse(sessionStorage.getItem("queue-order")) || []; } catch { /* none */ }
  const at = ids.indexOf(location.pathname.split("/")[2]);
  return at < 0 ? undefined : ids[at + step];
}
const click = (part) => () => document.querySelector(part)?.click();
const ACTS = {
  ...(viewer.element && {
    ",": () => viewer.step(-1), ".": () => viewer.step(1), ArrowLeft: () => viewer.step(-1), ArrowRight: () => viewer.step(1),
    " ": viewer.play, "+": () => viewer.zoom(1.5), "=": () => viewer.zoom(1.5), "-": () => viewer.zoom(1 / 1.5),
    0: viewer.reset, m: viewer.startMark,
  }),
  q: () => location.assign("/"),
  n: click("#next"),
  s: click("#signs summary"),
  v: click("#unveil"),
  y: click("#take-over"),
};
const MOVED = "input[type=radio], [role=tab], [tabindex='0']";
addEventListener("keydown", (event) => {
  if (event.key === "Escape") return document.activeElement.blur(); // from a field back to the keys
  const key = keyOf(event);
  // Buttons have the space bar for themselves; choices, tabs and what scrolls have the arrow keys.
  const own = { " ": "input, button, summary, [role=tab]", ArrowLeft: MOVED, ArrowRight: MOVED }[key];
  if (!key || (own && event.target.closest(own))) return;
  const id = { j: neighbour(1), k: neighbour(-1) }[key];
  if (id) location.assign(`/items/${id}`);
  else if (tabs[key - 1]) show(tabs[key - 1]);
  else if (ACTS[key]) { event.preventDefault(); ACTS[key](); }
});
