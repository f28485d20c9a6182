// The table of files that are not sent yet. What is wrong with a cell is told by the service, so that
// the rules are those of the API.
import { ask, lost, signedOut } from "./api.js";
import { COLUMNS, InvalidTable, completeTime, isTime, namesOf, readTable, split } from "./delimited.js";
import { announce } from "./submitted.js";

const CHECKED_AT_ONCE = 50;
const CHECK_AFTER_MS = 400;
const NAMED = 10; // numbers of rows with errors
const ENVELOPE = 65536; // bytes of a request beside its file
const OTHER = /\.(docx?|hwpx?|odt|pdf|rtf|xlsx?|pptx?|zip|html?)$/i;
const CELLS = COLUMNS.slice(1);
export const FIELDS = [...CELLS, "priority", "frames"];

const page = document.getElementById("submit");
const words = page.dataset;
const body = document.querySelector("#batch tbody");
const template = document.getElementById("row").content.firstElementChild;
const summary = document.getElementById("summary");
const problemBox = document.getElementById("problems");
const question = document.getElementById("heading");
const columnOf = namesOf([...document.querySelectorAll("#batch th[data-names]")].flatMap((head) => head.dataset.names
  .split("|").map((name) => [head.dataset.column, name])));
const common = Object.fromEntries(FIELDS.map((name) => [name, document.getElementById(name)]));
export let rows = [];
let marks = 0;
let edited = new Set(); // rows that are checked soon
let unmatched = []; // lines of tables whose files are not chosen yet
let problems = []; // what is wrong with tables; nothing is sent until it is solved or dismissed

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
export const cellOf = (row, name) => row.tr.querySelector(`[name=${name}]`);
const own = (row, name) => cellOf(row, name).value.trim();
export const editable = (row) => row.state === "draft" || row.state === "failed";
const size = (bytes) => bytes < 1024 ? `${bytes} B` : bytes < 2 ** 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;

// An empty cell takes the value that all rows share. Times get the reader's zone.
export function fieldsOf(row) {
  const values = FIELDS.map((name) => [name, own(row, name) || common[name].value.trim()]);
  const given = values.filter(([, value]) => value);
  return Object.fromEntries(given.map(([name, value]) => [name, name === "captured_at" ? completeTime(value) : value]));
}

// Gives each row the values that all shared, and empties these: the next files may be another victim's.
export function settle() {
  for (const name of CELLS) {
    for (const row of rows) cellOf(row, name).value = own(row, name) || common[name].value.trim();
    common[name].value = "";
  }
  document.getElementById("filled").textContent = "";
}

// Rows

function add(file, path, after) {
  const tr = template.cloneNode(true);
  const row = { file, path, tr, state: "draft", waits: 0, wrong: false };
  tr.querySelector("bdi").textContent = path;
  tr.querySelector(".size").textContent = size(file.size);
  for (const control of tr.querySelectorAll("[aria-label]")) {
    control.setAttribute("aria-label", `${control.getAttribute("aria-label")}: ${path}`);
  }
  if (after) {
    after.tr.after(tr);
    rows.splice(rows.indexOf(after) + 1, 0, row);
  } else {
    body.append(tr);
    rows.push(row);
  }
  tr.row = row;
  return row;
}

export function remove(row) {
  rows = rows.filter((other) => other !== row);
  row.tr.remove();
  summarise();
}

export function enter(row, state, text = "") {
  row.state = state;
  for (const control of row.tr.querySelectorAll("input, select")) control.disabled = !editable(row);
  row.tr.dataset.state = state;
  row.tr.querySelector(".now").textContent = text;
  row.tr.querySelector("progress").hidden = state !== "sending";
  row.tr.querySelector(".again").hidden = state !== "failed";
  row.tr.querySelector(".stop").hidden = editable(row);
  row.tr.querySelector(".remove").hidden = !editable(row);
}

// Returns how many rows these are, and their numbers, as texts mention them.
export function rowsNamed(some) {
  const numbers = some.map((row) => rows.indexOf(row) + 1).sort((a, b) => a - b);
  return { count: some.length, rows: numbers.slice(0, NAMED).join(", ") + (numbers.length > NAMED ? ", …" : "") };
}

export function summarise() {
  const left = rows.filter(editable);
  document.getElementById("batch").hidden = !rows.length;
  document.getElementById("count").textContent = rows.length;
  const wrong = rows.filter((row) => row.wrong);
  const bytes = size(rows.reduce((sum, row) => sum + row.file.size, 0));
  const caseless = left.filter((row) => !fieldsOf(row).case_reference).length;
  const said = wrong.length ? fill(words.invalid, rowsNamed(wrong)) : fill(words.summary, { count: rows.length, bytes });
  summary.textContent = caseless ? `${said} · ${fill(words.caseless, { count: caseless })}` : said;
  summary.classList.toggle("bad", wrong.length > 0);
  document.getElementById("send").disabled = !left.length;
  for (const name of FIELDS) for (const row of rows) {
    cellOf(row, name).placeholder = common[name].value.trim() || (name === "frames" ? common.frames.placeholder : "");
  }
}

// What is wrong

// Says beside the button why something is not sent.
export function object(text) {
  summary.textContent = text;
  summary.classList.add("bad");
  announce(text);
}

function mark(control, place, text) {
  place.textContent = text;
  place.hidden = !text;
  if (!control) return;
  control.ariaInvalid = text ? "true" : null;
  if (text) control.setAttribute("aria-describedby", (place.id ||= `mark-${marks += 1}`));
  else control.removeAttribute("aria-describedby");
}

export function show(row, errors) {
  const same = rows.slice(0, rows.indexOf(row)).findIndex((other) => other.path === row.path
    && other.file.size === row.file.size && JSON.stringify(fieldsOf(other)) === JSON.stringify(fieldsOf(row)));
  const ofFile = !row.file.size ? words.empty : OTHER.test(row.file.name) ? words.other
    : row.file.size > words.most - ENVELOPE ? words.large
      : same >= 0 ? fill(words.repeats, { row: same + 1 }) : "";
  mark(null, row.tr.querySelector(".of-file"), ofFile);
  for (const name of FIELDS) {
    const found = errors.find((error) => error.field === name);
    const isCommon = found && !own(row, name) && common[name].value.trim();
    mark(cellOf(row, name), cellOf(row, name).nextElementSibling, found && !isCommon ? found.detail : "");
    if (isCommon) mark(common[name], common[name].nextElementSibling, found.detail);
    if (found && !isCommon && ["priority", "frames"].includes(name)) row.tr.querySelector("details").open = true;
  }
  row.wrong = Boolean(ofFile) || errors.length > 0;
}

// Returns the rows that cannot be sent as they are.
export async function check(some) {
  for (const row of some) edited.delete(row);
  for (let at = 0; at < some.length; at += CHECKED_AT_ONCE) {
    const part = some.slice(at, at + CHECKED_AT_ONCE);
    const sent = part.map(fieldsOf);
    const answer = await ask("POST", "/submit/check", JSON.stringify(sent), { "Content-Type": "application/json" });
    if (!answer) throw new Error(lost);
    document.getElementById("signed-out").hidden = !answer.redirected;
    if (answer.redirected) throw new Error(signedOut);
    if (!answer.ok) throw new Error(`${words.failed} (${answer.status})`);
    const found = (await answer.json()).rows;
    part.forEach((row, n) => {
      // Unless it was edited in the meantime, and will be checked again.
      if (JSON.stringify(fieldsOf(row)) === JSON.stringify(sent[n])) show(row, found[n]);
    });
  }
  summarise();
  return some.filter((row) => row.wrong);
}

// Checks one row that was edited, or all of them, once nothing was edited for a moment.
let timer = 0;
export function checkSoon(row) {
  summarise();
  for (const other of row ? [row] : rows) edited.add(other);
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const some = rows.filter((other) => edited.has(other) && editable(other));
    edited = new Set();
    if (!row) for (const name of FIELDS) mark(common[name], common[name].nextElementSibling, "");
    try { await check(some); } catch { /* said when the rows are sent */ }
  }, CHECK_AFTER_MS);
}

function showProblems() {
  const lines = [
    ...problems,
    ...unmatched.map(({ line, cells }) => fill(words.pFile, { line, name: cells.file })),
  ];
  problemBox.querySelector("ul").replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  problemBox.hidden = !lines.length;
}

// Tables

// Returns the rows of a file that a table names: the path below the chosen folder, or the end of it
// if only one file has it.
function matching(name) {
  const plain = (path) => path.normalize("NFC").replaceAll("\\", "/").replace(/^\.\//, "");
  const wanted = plain(name);
  const open = rows.filter(editable);
  const exact = open.filter((row) => plain(row.path) === wanted);
  if (exact.length) return exact;
  const ends = open.filter((row) => plain(row.path).endsWith(`/${wanted}`) || wanted.endsWith(`/${plain(row.path)}`));
  return new Set(ends.map((row) => row.path)).size === 1 ? ends : [];
}

function put(row, cells) {
  for (const [name, value] of Object.entries(cells)) {
    if (value && name !== "file") cellOf(row, name).value = name === "captured_at" ? completeTime(value) : value;
  }
}

// A file with several URLs has a line for each, and gets a row for each.
function putByName(lines) {
  const used = new Map();
  let filled = 0;
  for (const { line, cells } of lines) {
    const found = cells.file ? matching(cells.file) : [];
    if (!cells.file) problems.push(fill(words.pNoFile, { line }));
    else if (!found.length) {
      const known = unmatched.some((other) => JSON.stringify(other.cells) === JSON.stringify(cells));
      if (!known) unmatched.push({ line, cells });
    }
    else {
      const count = used.get(found[0].path) || 0;
      used.set(found[0].path, count + 1);
      const last = found.at(-1);
      put(found[count] || add(last.file, last.path, last), cells);
      filled += 1;
    }
  }
  return filled;
}

// Reports an invalid table instead of using it, with the name of its file, if it has one. Returns null
// if it is not clear what its first line is.
function attempt(use, file = "") {
  const hadTime = rows.filter((row) => isTime(own(row, "note")));
  let filled = 0;
  try {
    filled = use();
    if (filled === null) return null;
    const times = rows.filter((row) => isTime(own(row, "note")) && !hadTime.includes(row));
    if (times.length) problems.push(fill(words.pTime, rowsNamed(times)));
  } catch (error) {
    if (!(error instanceof InvalidTable)) throw error;
    const kind = error.kind[0].toUpperCase() + error.kind.slice(1);
    const text = `${fill(words[`p${kind}`], error.values)} ${words.pUnused}`;
    problems.push(file ? `${file}: ${text}` : text);
  }
  showProblems();
  checkSoon();
  const told = fill(words.filled, { count: filled });
  announce(told);
  document.getElementById("filled").textContent = told;
  return filled;
}

function putInOrder(open, lines) {
  if (lines.length > open.length) throw new InvalidTable("rows", { lines: lines.length, files: open.length });
  lines.forEach((cells, n) => put(open[n], cells));
  return lines.length;
}

export async function useTable(read, file = "") {
  let first = "";
  const use = () => {
    const table = readTable(read(), columnOf, (name) => matching(name).length > 0, Boolean(file), first);
    if (!table) return null;
    if (table.columns.includes("file")) return putByName(table.lines);
    return putInOrder(rows.filter(editable), table.lines.map(({ cells }) => cells));
  };
  if (attempt(use, file) !== null) return;
  document.getElementById("first-line").textContent = split(read())[0].cells.join(" · ");
  question.returnValue = "";
  question.showModal();
  await new Promise((done) => { question.addEventListener("close", done, { once: true }); });
  first = question.returnValue;
  if (first) attempt(use, file);
}

// Cells that are pasted into a cell fill those to the right and below, as in a spreadsheet.
function useCells(text, control) {
  const open = rows.slice(rows.indexOf(rowAt(control))).filter(editable);
  const names = CELLS.slice(CELLS.indexOf(control.name));
  const lines = text.includes("\t") ? split(text, true) : text.split("\n").map((cell) => ({ cells: [cell.trim()] }));
  attempt(() => {
    const wide = lines.findIndex(({ cells }) => cells.length > names.length);
    if (wide >= 0) throw new InvalidTable("cells", { line: wide + 1, cells: lines[wide].cells.length, columns: names.length });
    return putInOrder(open, lines.map(({ cells }) => Object.fromEntries(cells.map((cell, n) => [names[n], cell]))));
  });
}

// Uses pasted text if it is a table, and returns whether it was. One cell is just text.
export function paste(pasted, control) {
  const text = pasted.replace(/\r\n?/g, "\n").replace(/\n+$/, "");
  if (!rows.length || !/[\t\n]/.test(text)) return false;
  const names = text.split("\n", 1)[0].split(/[\t,;]/);
  if (control && CELLS.includes(control.name) && !names.some((name) => columnOf(name))) useCells(text, control);
  else useTable(() => text);
  return true;
}

// New files may be those that a table named before.
export function addAll(files) {
  const collator = new Intl.Collator(undefined, { numeric: true });
  for (const { file, path } of files.sort((a, b) => collator.compare(a.path, b.path))) add(file, path);
  const lines = unmatched;
  unmatched = [];
  putByName(lines);
  showProblems();
  checkSoon();
}

export const blocked = () => !problemBox.hidden;
export function dismiss() {
  problems = [];
  unmatched = [];
  showProblems();
}

export const rowAt = (element) => element.closest("tr").row;
