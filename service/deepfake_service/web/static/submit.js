// Uploads files one after the other, with a bar each, and follows their examination.
const form = document.getElementById("submit");
const words = form.dataset;
const input = document.getElementById("files");
const drop = document.getElementById("drop");
const list = document.getElementById("uploads");
const csrf = document.querySelector("meta[name=csrf]").content;
const SIGHTING = ["case_reference", "source_url", "platform", "account"];
const waiting = [];
let busy = false;

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
    for (const name of SIGHTING) {
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
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* answered by a proxy */ }
    if (request.status === 200 || request.status === 202) follow(entry, answer);
    else {
      const wrong = (answer.errors || []).map((e) => `${e.field}: ${e.detail}`).join("; ");
      entry.shown.state.textContent = `${words.failed}: ${wrong || answer.detail || request.status}`;
      entry.shown.cancel.remove();
    }
    done();
  });
  request.addEventListener("error", () => { entry.shown.state.textContent = words.lost; done(); });
  request.addEventListener("abort", done);
  request.send(body);
}

function follow(entry, job) {
  const { shown } = entry;
  const link = document.createElement("a");
  link.href = `/items/${job.id}`;
  link.textContent = words.open;
  link.setAttribute("aria-label", `${words.open}: ${entry.file.name.slice(0, 120)}`);
  shown.actions.replaceChildren(link);
  const stages = { overview: words.overview, dense: words.dense, evidence: words.evidence };
  const events = new EventSource(`/v1/jobs/${job.id}/events`);
  events.addEventListener("job", (event) => {
    const now = JSON.parse(event.data);
    if (now.progress.total) {
      shown.bar.max = now.progress.total;
      shown.bar.value = now.progress.done;
    }
    const counted = now.progress.total ? ` ${now.progress.done} / ${now.progress.total}` : "";
    shown.state.textContent = (stages[now.progress.stage] || words.queued) + counted;
    if (!["queued", "running"].includes(now.state)) {
      events.close();
      shown.bar.value = shown.bar.max;
      shown.state.textContent = now.state === "succeeded" ? words.done : words.failed;
      shown.item.dataset.state = now.state;
    }
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  add(input.files);
  input.value = "";
});
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
