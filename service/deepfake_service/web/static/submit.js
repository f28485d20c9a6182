// Choosing files and tables, and sending the rows: a few at once, each with its progress.
import { ask, explain, lost, refusal, renew, transfer } from "./api.js";
import { onChosen } from "./chosen.js";
import { completeTime, decode } from "./delimited.js";
import {
  FIELDS, addAll, blocked, cellOf, check, checkSoon, dismiss, editable, enter, fieldsOf, fill, object, paste, remove, rowAt,
  rows, rowsNamed, settle, show, summarise, useTable,
} from "./sheet.js";
import { RESUMED_FROM, sendResumed } from "./resumed.js";
import { announce, keep } from "./submitted.js";
import { nameZones } from "./times.js";

const AT_ONCE = 3;
const MAX_WAITS = 20;
const LONGEST_WAIT_S = 60;
const OF_POST = ["source_url", "platform", "account", "note", "captured_at"];
const MANIFEST = /\.(csv|tsv|txt)$/i;
const words = document.getElementById("submit").dataset;
const body = document.querySelector("#batch tbody");
const drop = document.getElementById("drop");
let pausedUntil = 0;

nameZones(document);

// Choosing

// Hidden files are left out, as by "deepfake submit DIR".
const isHidden = (path) => path.split("/").some((part) => part.startsWith("."));

async function take(files) {
  const shown = files.filter(({ path }) => !isHidden(path));
  const tables = shown.filter(({ path }) => MANIFEST.test(path));
  addAll(shown.filter(({ path }) => !MANIFEST.test(path)));
  for (const { file, path } of tables) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    await useTable(() => decode(bytes), path);
  }
  if (rows.length) document.getElementById("batch-title").scrollIntoView({ block: "nearest" });
}

async function walk(entry, path, found) {
  if (entry.isFile) {
    found.push({ file: await new Promise((done, failed) => entry.file(done, failed)), path });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // it returns a hundred entries at most
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return;
    for (const inner of some) await walk(inner, path ? `${path}/${inner.name}` : inner.name, found);
  }
}

// Paths are those below the folder, if one is dropped.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const folders = entries.filter((entry) => entry.isDirectory).length;
  const found = [];
  for (const entry of entries) await walk(entry, entry.isDirectory && folders === 1 ? "" : entry.name, found);
  return take(found);
}

for (const id of ["files", "folder"]) {
  onChosen(document.getElementById(id), (input) => {
    const files = [...input.files].map((file) => ({
      file, path: file.webkitRelativePath ? file.webkitRelativePath.split("/").slice(1).join("/") : file.name,
    }));
    input.value = "";
    take(files);
  });
}
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
// Anywhere on the page: the browser would otherwise open what is dropped beside the box.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); dropped(event.dataTransfer); });

addEventListener("paste", (event) => {
  const control = event.target.closest?.("input, textarea:not(#paste), select");
  if (control && !body.contains(control)) return;
  const files = [...event.clipboardData.files].map((file) => ({ file, path: file.name }));
  if (!control && files.length) take(files);
  else if (!paste(event.clipboardData.getData("text/plain"), control)) return;
  event.preventDefault();
});
document.getElementById("discard").addEventListener("click", () => {
  dismiss();
  document.getElementById(rows.length ? "batch-title" : "files").focus();
});

// Editing

body.addEventListener("change", (event) => {
  if (event.target.name === "screenshot") event.target.nextElementSibling.textContent = event.target.files[0]?.name || "";
  if (event.target.name === "captured_at") event.target.value = completeTime(event.target.value);
  checkSoon(rowAt(event.target));
});
for (const name of FIELDS) {
  const control = document.getElementById(name);
  control.addEventListener("change", () => {
    if (name === "captured_at") control.value = completeTime(control.value);
    checkSoon();
  });
}
body.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const row = rowAt(button);
  if (button.matches(".again")) send([row]);
  else if (button.matches(".stop")) {
    row.request?.abort();
    enter(row, "draft");
    summarise();
    cellOf(row, "case_reference").focus();
    next();
  } else {
    const at = rows.indexOf(row);
    remove(row);
    const near = rows[Math.min(at, rows.length - 1)];
    if (near) near.tr.querySelector(".remove:not([hidden]), .stop:not([hidden])").focus();
    else document.getElementById("files").focus();
  }
});

// Sending

async function send(some) {
  if (blocked()) {
    document.getElementById("problems").focus();
    object(words.blocked);
    return;
  }
  let bad;
  try { bad = await check(some); } catch (error) {
    object(error.message);
    return;
  }
  // A file that cannot be sent does not keep the others.
  const sent = some.filter((row) => editable(row) && !bad.includes(row));
  if (bad.length) {
    object(fill(sent.length ? words.others : words.wrong, rowsNamed(bad)));
    const first = document.querySelector("#batch [aria-invalid=true]") || bad[0].tr.querySelector(".remove");
    first.focus();
    // Not behind the bar with the button, which covers the lower edge of the window.
    (first.closest("tr") || first).scrollIntoView({ block: "center" });
  }
  if (!sent.length) return;
  settle();
  for (const row of sent) enter(row, "waiting", words.queued);
  if (bad.length) checkSoon();
  else summarise();
  next();
}

function next() {
  if (Date.now() < pausedUntil) return;
  for (let free = AT_ONCE - rows.filter((row) => row.state === "sending").length; free > 0; free -= 1) {
    const row = rows.find((other) => other.state === "waiting");
    if (!row) return;
    upload(row);
  }
}

// By tus if the file is large, or in one request.
function transferred(row, shown) {
  row.request = new AbortController();
  const { file, request: { signal } } = row;
  const fields = fieldsOf(row);
  if (file.size >= RESUMED_FROM) return sendResumed(signal, file, fields, (arrived) => shown(arrived, file.size));
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file, file.name);
  return transfer(signal, "POST", "/v1/videos", {}, form, shown);
}

async function upload(row) {
  enter(row, "sending", words.uploading);
  const bar = row.tr.querySelector("progress");
  try {
    const request = await transferred(row, (loaded, total) => {
      bar.max = total || 1;
      bar.value = loaded;
      row.tr.querySelector(".now").textContent = `${words.uploading} ${Math.round((100 * loaded) / (total || 1))}%`;
    });
    if (request) await answered(row, request);
    else fail(row, lost);
  } catch (error) {
    if (error.name !== "AbortError") fail(row, lost);
  }
  next();
}

async function answered(row, request) {
  let answer = {};
  try { answer = JSON.parse(request.responseText); } catch { /* a proxy's error page */ }
  const { status } = request;
  if (answer.id && (status === 200 || status === 202)) {
    keep(answer.id, status === 202);
    const wrong = await attach(row, answer);
    if (wrong) fail(row, wrong);
    else remove(row);
    return;
  }
  const seconds = Number(request.getResponseHeader("Retry-After"));
  // Nobody deletes anything, or calls an operator, for a page that says that the service is busy.
  const isFull = /:disk_full$/.test(answer.type);
  if (seconds > 0 && row.waits < MAX_WAITS && !isFull) {
    const wait = Math.min(seconds, LONGEST_WAIT_S) * 1000;
    row.waits += 1;
    pausedUntil = Math.max(pausedUntil, Date.now() + wait);
    setTimeout(next, wait + 50);
    enter(row, "waiting", fill(words.busy, { seconds }));
    return;
  }
  if ([401, 403].includes(status) && !row.renewed) {
    row.renewed = true;
    if (await renew()) {
      enter(row, "waiting", words.queued);
      return;
    }
  }
  fail(row, explain(answer, status));
  if (status === 422) show(row, (answer.errors || []).filter(({ field }) => FIELDS.includes(field)));
}

// The post was recorded with the file, and gets its screenshot. Returns what went wrong.
async function attach(row, { case_id: id, media_id: medium }) {
  const [screenshot] = cellOf(row, "screenshot").files;
  if (!screenshot) return "";
  const form = new FormData();
  form.append("media_id", medium);
  for (const [name, value] of Object.entries(fieldsOf(row))) if (OF_POST.includes(name)) form.append(name, value);
  form.append("screenshot", screenshot);
  const answer = await ask("POST", `/v1/cases/${id}/occurrences`, form);
  return answer?.ok ? "" : refusal(answer);
}

function fail(row, text) {
  row.renewed = false;
  enter(row, "failed", `${words.failed}: ${text}`);
  summarise();
  announce(`${row.path}: ${words.failed}: ${text}`);
}

const sendButton = document.getElementById("send");
sendButton.addEventListener("click", () => send(rows.filter(editable)));
addEventListener("keydown", (event) => {
  const asks = event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.target.closest("dialog");
  if (!asks || !rows.length) return;
  event.preventDefault();
  sendButton.click();
});
addEventListener("beforeunload", (event) => { if (rows.length) event.preventDefault(); });
