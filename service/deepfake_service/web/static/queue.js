// Keeps the queue current, and moves through it by keyboard.
import { keyOf } from "./keys.js";
import { localise } from "./times.js";

const IDLE_MS = 20000;
const BUSY_MS = 4000;

// Replaces what has changed only, so that focus, selections and pictures stay.
const holdsFocus = (place) => place.contains(document.activeElement);
const inUse = (place) => holdsFocus(place) || place.querySelector("input:checked");
function replaceRows(old, fresh) {
  const rows = new Map([...old.rows].map((row) => [row.id, row]));
  const next = [...fresh.rows].map((row) => {
    const shown = rows.get(row.id);
    if (!shown) return row;
    for (const [n, cell] of [...row.cells].entries()) {
      const old = shown.cells[n];
      if (old.innerHTML !== cell.innerHTML && !inUse(old)) old.replaceWith(cell.cloneNode(true));
    }
    return shown;
  });
  // A row in use stays, even if others have pushed it off the page.
  next.push(...[...old.rows].filter((row) => !next.includes(row) && inUse(row)));
  const same = next.length === old.rows.length && next.every((row, n) => row === old.rows[n]);
  if (same) return;
  const focused = document.activeElement;
  old.replaceChildren(...next);
  if (old.contains(focused)) focused.focus({ preventScroll: true }); // which moving it has lost
}

// What surrounds the rows changes with them: a list that outgrows its page has a further one. It is
// replaced only if the service sends something else, or screen readers would repeat it.
const AROUND = [".alarms", ".tabs", ".pages"];
const sent = new Map();
function replaceAround(live, fresh) {
  for (const part of AROUND) {
    const next = fresh.querySelector(part);
    const shown = live.querySelector(part);
    if (sent.get(part) === next.outerHTML || holdsFocus(shown)) continue;
    sent.set(part, next.outerHTML);
    shown.replaceWith(next);
  }
}

// How many items are selected, and the button that selects all of the page, or none.
function showSelected() {
  const [count, all] = [document.getElementById("selected"), document.getElementById("select-all")];
  if (!count) return; // nothing is listed, or this account does not review
  const selected = document.querySelectorAll("input[name=job]:checked").length;
  count.textContent = selected;
  count.hidden = !selected;
  all.hidden = false;
}
addEventListener("change", showSelected);
addEventListener("click", (event) => {
  if (event.target.id !== "select-all") return;
  const boxes = [...document.querySelectorAll("input[name=job]")];
  const some = boxes.some((box) => !box.checked);
  for (const box of boxes) box.checked = some;
  showSelected();
});
showSelected();

async function refresh() {
  const live = document.getElementById("live");
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) location.reload(); // to sign in again
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    const [old, body] = [live.querySelector("tbody"), fresh.querySelector("tbody")];
    if (old && body) {
      replaceAround(live, fresh);
      replaceRows(old, body);
      live.dataset.waiting = fresh.dataset.waiting;
    } else if (!holdsFocus(live)) {
      sent.clear(); // it is about what was there before
      live.replaceWith(fresh);
    }
    showSelected();
    localise(document.getElementById("live"));
  } catch { /* offline: try again at the next interval */ }
}

function schedule() {
  const waiting = Number(document.getElementById("live").dataset.waiting);
  setTimeout(async () => { await refresh(); schedule(); }, waiting ? BUSY_MS : IDLE_MS);
}
schedule();

addEventListener("keydown", (event) => {
  const key = keyOf(event);
  if (key === "/") {
    event.preventDefault();
    document.getElementById("q").focus();
  }
  const links = [...document.querySelectorAll(".queue .name a")];
  const at = links.indexOf(document.activeElement);
  if (key === "x" && at >= 0) {
    const box = links[at].closest("tr").querySelector("input[name=job]");
    if (box) box.checked = !box.checked;
    showSelected();
  }
  const bulk = document.getElementById("bulk");
  if (key === "b" && bulk && document.querySelector("input[name=job]:checked")) bulk.requestSubmit();
  if (key !== "j" && key !== "k") return;
  const next = links[Math.max(0, at + (key === "j" ? 1 : -1))];
  if (next) next.focus();
});

// The order of the list, for the keys j and k on the page of an item.
function remember() {
  const ids = [...document.querySelectorAll(".queue tbody tr")].map((row) => row.id.replace("job-", ""));
  if (ids.length) sessionStorage.setItem("queue-order", JSON.stringify(ids));
}
addEventListener("pagehide", remember);
