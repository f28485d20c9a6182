// Uploads files one at a time and shows the progress of each. Two jobs are followed by server-sent
// events, because browsers open at most six connections to a site; the others are polled together.
const form = document.getElementById("submit");
const words = form.dataset;
const input = document.getElementById("files");
const drop = document.getElementById("drop");
const list = document.getElementById("uploads");
const csrf = document.querySelector("meta[name=csrf]").content;
const FIELDS = ["case_reference", "source_url", "platform", "account", "note"];
const POLL_INTERVAL_MS = 3000;
const MAX_EVENT_STREAMS = 2;
const FINAL_STATES = ["succeeded", "failed", "cancelled", "expired"];
const waiting = [];
const followed = new Map();
let listening = 0;
let busy = false;

function announce(text) {
  document.getElementById("said").textContent = text;
}

function row(file) {
  const item = document.createElement("li");
  const name = document.createElement("bdi");
  name.textContent = file.name.slice(0, 120);
  const actions = document.createElement("span");
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  const state = document.createElement("span");
  state.className = "hint";
  const cancel = document.createElement("button");
  cancel.type = "button";
  cancel.className = "plain";
  cancel.textContent = words.cancel;
  cancel.setAttribute("aria-label", `${words.cancel}: ${file.name.slice(0, 120)}`);
  bar.setAttribute("aria-label", file.name.slice(0, 120));
  actions.append(cancel);
  item.append(name, actions, bar, state);
  list.prepend(item);
  return { item, actions, bar, state, cancel };
}

function add(files) {
  for (const file of files) {
    const shown = row(file);
    if (file.size > Number(words.most)) {
      shown.state.textContent = words.large;
      shown.cancel.remove();
      continue;
    }
    shown.state.textContent = words.queued;
    const entry = { file, shown, fields: {} };
    for (const name of FIELDS) {
      const value = form.elements[name].value.trim();
      if (value) entry.fields[name] = value;
    }
    shown.cancel.addEventListener("click", () => {
      const at = waiting.indexOf(entry);
      if (at >= 0) waiting.splice(at, 1);
      if (entry.request) entry.request.abort();
      shown.state.textContent = words.cancelled;
      shown.cancel.remove();
    });
    waiting.push(entry);
  }
  next();
}

function next() {
  const entry = busy ? undefined : waiting.shift();
  if (!entry) return;
  busy = true;
  const done = () => { busy = false; next(); };
  const body = new FormData();
  for (const [name, value] of Object.entries(entry.fields)) body.append(name, value);
  body.append("file", entry.file);
  const request = new XMLHttpRequest();
  entry.request = request;
  request.open("POST", "/v1/videos");
  request.setRequestHeader("X-CSRF-Token", csrf);
  request.upload.addEventListener("progress", (event) => {
    entry.shown.bar.value = event.loaded / event.total;
    entry.shown.state.textContent = `${words.uploading} ${Math.round((100 * event.loaded) / event.total)}%`;
  });
  request.addEventListener("load", () => {
    let response = {};
    try { response = JSON.parse(request.responseText); } catch { /* a proxy's error page */ }
    if (request.status === 200 || request.status === 202) {
      entry.shown.known = request.status === 200;
      follow(entry, response);
    }
    else {
      const invalid = (response.errors || []).map((e) => `${e.field}: ${e.detail}`).join("; ");
      entry.shown.state.textContent = `${words.failed}: ${invalid || response.detail || request.status}`;
      entry.shown.cancel.remove();
    }
    done();
  });
  request.addEventListener("error", () => { entry.shown.state.textContent = words.lost; done(); });
  request.addEventListener("abort", done);
  request.send(body);
}

function follow(entry, job) {
  const { shown, file } = entry;
  const name = file.name.slice(0, 120);
  const link = document.createElement("a");
  link.href = `/items/${job.id}`;
  link.textContent = words.open;
  link.setAttribute("aria-label", `${words.open}: ${name}`);
  const cancel = document.createElement("button");
  cancel.type = "button";
  cancel.className = "plain";
  cancel.textContent = words.cancel;
  cancel.setAttribute("aria-label", `${words.cancel}: ${name}`);
  cancel.addEventListener("click", async () => {
    const headers = { "X-CSRF-Token": csrf };
    const response = await fetch(`/v1/jobs/${job.id}`, { method: "DELETE", headers });
    if (response.ok) end(job.id, "cancelled");
    else shown.state.textContent = words.failed;
  });
  shown.actions.replaceChildren(link, " ", cancel);
  followed.set(job.id, { shown, name, link, events: null });
  update(job);
  listen();
}

// Updates the row of a job.
function update(job) {
  const entry = followed.get(job.id);
  if (!entry) return;
  if (FINAL_STATES.includes(job.state)) {
    end(job.id, job.state, job.verdict);
    return;
  }
  const stages = { overview: words.overview, dense: words.dense, evidence: words.evidence };
  const { done, total, stage } = job.progress;
  if (total) {
    entry.shown.bar.max = total;
    entry.shown.bar.value = done;
  }
  const counted = total ? ` ${done} / ${total}` : "";
  entry.shown.state.textContent = (stages[stage] || words.queued) + counted;
}

function end(id, state, verdict) {
  const entry = followed.get(id);
  if (!entry) return;
  followed.delete(id);
  if (entry.events) {
    entry.events.close();
    listening -= 1;
  }
  const { shown, name, link } = entry;
  shown.bar.value = shown.bar.max;
  const succeeded = words[`verdict_${verdict}`] || words.done;
  shown.state.textContent = { succeeded, cancelled: words.cancelled }[state] || words.failed;
  if (state === "succeeded" && verdict) shown.state.className = `verdict ${verdict}`;
  // Already submitted: the occurrence was added to the existing item.
  if (shown.known) shown.state.textContent += ` · ${words.known}`;
  shown.item.dataset.state = state;
  shown.actions.replaceChildren(...(state === "cancelled" ? [] : [link]));
  announce(`${name}: ${shown.state.textContent}`);
  listen();
}

function listen() {
  for (const [id, entry] of followed) {
    if (listening >= MAX_EVENT_STREAMS) return;
    if (entry.events) continue;
    listening += 1;
    entry.events = new EventSource(`/v1/jobs/${id}/events`);
    entry.events.addEventListener("job", (event) => update(JSON.parse(event.data)));
    entry.events.addEventListener("gone", () => end(id, "cancelled"));
  }
}

setInterval(async () => {
  if (followed.size <= listening) return;
  try {
    const response = await fetch("/v1/jobs?limit=200");
    if (response.ok) for (const job of (await response.json()).jobs) update(job);
  } catch { /* offline: try again at the next interval */ }
}, POLL_INTERVAL_MS);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!input.files.length) input.focus();
  add(input.files);
  input.value = "";
});
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
// Dropped files wait for the button, as chosen files do.
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
});
// Otherwise the browser would open a file that is dropped outside the box.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
addEventListener("beforeunload", (event) => {
  if (busy || waiting.length) event.preventDefault();
});
