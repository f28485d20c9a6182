// The files that were sent. This tab remembers the ids of their jobs and whether it created them,
// and nothing else: names, cases and verdicts are read from the service each time.
import { ask, refusal } from "./api.js";

const KEY = "submitted";
const INTERVAL_MS = 2000;
const AT_ONCE = 100;
const REMEMBERED = 1000;
const section = document.getElementById("sent");
const list = document.getElementById("uploads");
const dialog = document.getElementById("cancelling");
const words = document.getElementById("submit").dataset;
// By id, whether this tab created the job. Otherwise it existed, and is not cancelled from here.
let jobs = read();
const leaving = new Set(); // ids of jobs that are being cancelled

export function announce(text) {
  document.getElementById("said").textContent = text;
}

function read() {
  try { return JSON.parse(sessionStorage.getItem(KEY)) || {}; } catch { return {}; }
}

function write() {
  jobs = Object.fromEntries(Object.entries(jobs).slice(-REMEMBERED));
  sessionStorage.setItem(KEY, JSON.stringify(jobs));
  const rows = [...list.children];
  const ended = rows.filter((row) => !("waits" in row.dataset)).length;
  section.hidden = !rows.length;
  document.getElementById("tally").textContent = `${ended} / ${rows.length}`;
  document.getElementById("clear").hidden = !ended;
}

export function keep(id, created) {
  jobs[id] = jobs[id] || created;
  write();
  return refresh([id]);
}

// Replaces the parts that differ, so that the focus stays where it is.
function replace(old, fresh) {
  for (const part of [".name", ".acts", ".state"]) {
    const [before, after] = [old.querySelector(part), fresh.querySelector(part)];
    if (before.innerHTML !== after.innerHTML) before.replaceWith(after);
  }
  const ended = "waits" in old.dataset && !("waits" in fresh.dataset);
  if (ended) delete old.dataset.waits;
  old.dataset.state = fresh.dataset.state;
  if (ended) announce(`${old.dataset.name}: ${old.querySelector(".state").textContent.trim()}`);
}

async function refresh(ids) {
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const some = ids.slice(at, at + AT_ONCE);
    const query = new URLSearchParams(some.map((id) => ["job", id]));
    for (const id of some) if (!jobs[id]) query.append("known", id);
    try {
      const answer = await fetch(`/submit/jobs?${query}`);
      document.getElementById("signed-out").hidden = !answer.redirected;
      if (!answer.ok || answer.redirected) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of some) {
        if (!(id in jobs) || leaving.has(id)) continue; // cancelled in the meantime
        const [old, row] = [document.getElementById(`job-${id}`), fresh.getElementById(`job-${id}`)];
        if (old && row) replace(old, row);
        else if (row) list.append(row);
        else { // deleted, or submitted by another account in this tab
          delete jobs[id];
          old?.remove();
        }
      }
    } catch { return; /* offline: try again at the next interval */ }
  }
  write();
}

async function poll() {
  const waiting = [...list.querySelectorAll("[data-waits]")].map((row) => row.id.slice("job-".length));
  if (waiting.length) await refresh(waiting);
  setTimeout(poll, waiting.length > AT_ONCE ? 3 * INTERVAL_MS : INTERVAL_MS);
}

async function cancel(row) {
  const id = row.id.slice("job-".length);
  leaving.add(id);
  const answer = await ask("DELETE", `/v1/jobs/${id}`);
  const isGone = answer?.ok || answer?.status === 404;
  const text = isGone ? words.cancelled : await refusal(answer);
  if (isGone) {
    delete jobs[id];
    delete row.dataset.waits;
    row.dataset.state = "cancelled";
    row.querySelector(".acts").replaceChildren();
    const name = document.createElement("bdi");
    name.textContent = row.dataset.name;
    row.querySelector(".name").replaceChildren(name);
  }
  leaving.delete(id);
  const said = document.createElement("span");
  said.className = "hint";
  said.textContent = text;
  row.querySelector(".state").replaceChildren(said);
  row.tabIndex = -1;
  row.focus();
  announce(`${row.dataset.name}: ${text}`);
  write();
}

let asked = null; // the row that the question is about
list.addEventListener("click", (event) => {
  const button = event.target.closest(".cancel");
  if (!button) return;
  asked = button.closest("li");
  document.getElementById("cancelled-name").textContent = asked.dataset.name;
  dialog.returnValue = "";
  dialog.showModal();
});
// One listener for all questions: the event may come after the next question has been opened.
dialog.addEventListener("close", () => {
  if (dialog.open || dialog.returnValue !== "yes") return;
  if ("waits" in asked.dataset) cancel(asked);
  else announce(words.ended); // while the question was open
});
document.getElementById("clear").addEventListener("click", () => {
  for (const row of [...list.children]) {
    if ("waits" in row.dataset) continue;
    delete jobs[row.id.slice("job-".length)];
    row.remove();
  }
  write();
  document.querySelector("h1").focus();
});
refresh(Object.keys(jobs)).then(poll);
