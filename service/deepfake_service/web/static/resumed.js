// Sends a large file by tus 1.0.0 (https://tus.io/protocols/resumable-upload): a broken connection or a reloaded page
// costs nothing that has arrived. This browser keeps the address of the upload under a digest of the file, and neither
// its name nor its case.
import { session } from "./submitted.js";

export const RESUMED_FROM = 32 * 2 ** 20;
const TRIES = 20; // without anything having arrived
const LONGEST_WAIT_MS = 30000;
const SAMPLE = 65536;
const PREFIX = "upload-";

for (const key of Object.keys(localStorage).filter((name) => name.startsWith(PREFIX))) {
  if (!(Date.parse(localStorage.getItem(key).split(" ").slice(1).join(" ")) > Date.now())) localStorage.removeItem(key);
}

// Over plain HTTP there are no digests: the upload survives a broken connection, and not a reloaded page.
async function keyOf(file) {
  if (!crypto.subtle) return null;
  const parts = [`${file.size} ${file.lastModified} `, file.slice(0, SAMPLE), file.slice(-SAMPLE)];
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return PREFIX + [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Resolves with the answered request, or with null if the connection broke.
function ask(signal, method, address, headers = {}, body = null, progress = null) {
  return new Promise((done, stopped) => {
    const request = new XMLHttpRequest();
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open(method, address);
    const all = { "Tus-Resumable": "1.0.0", "X-CSRF-Token": session.token, ...headers };
    for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
    if (progress) request.upload.addEventListener("progress", ({ loaded }) => progress(loaded));
    request.addEventListener("load", () => done(request));
    request.addEventListener("error", () => done(null));
    request.addEventListener("abort", () => stopped(new DOMException("", "AbortError")));
    request.send(body);
  });
}

// Sends what the service lacks of row.file and then the fields. Returns the request that was answered last, which is
// about the job unless something went wrong, or null if the connection stayed broken. Rejects with AbortError if
// row.request was aborted.
export async function sendResumed(row, fields, progress) {
  const { file } = row;
  const stop = new AbortController();
  const { signal } = stop;
  row.request = stop;
  const key = await keyOf(file);
  let address = key && (localStorage.getItem(key) || "").split(" ")[0];
  let offset = address ? null : 0; // null: to be asked
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (tries) await new Promise((done) => { setTimeout(done, Math.min(1000 * 2 ** (tries - 1), LONGEST_WAIT_MS)); });
    signal.throwIfAborted();
    if (!address) {
      const begun = await ask(signal, "POST", "/v1/uploads", { "Upload-Length": file.size });
      if (!begun) continue;
      if (begun.status !== 201) return begun;
      address = begun.getResponseHeader("Location");
      offset = 0;
      if (key) localStorage.setItem(key, `${address} ${begun.getResponseHeader("Upload-Expires")}`);
    }
    if (offset === null) {
      const known = await ask(signal, "HEAD", address);
      if (!known) continue;
      if ([404, 410].includes(known.status)) { // expired, or of another account
        address = null;
        continue;
      }
      if (known.status !== 200) return known;
      const arrived = Number(known.getResponseHeader("Upload-Offset"));
      if (arrived > (row.arrived || 0)) tries = 0;
      offset = row.arrived = arrived;
    }
    progress(offset);
    const from = offset;
    let last = null;
    if (offset < file.size) {
      const headers = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": from };
      last = await ask(signal, "PATCH", address, headers, file.slice(from), (loaded) => progress(from + loaded));
      offset = null;
      if (last && ![204, 404, 409, 410].includes(last.status)) return last;
      if (!last || last.status !== 204) continue;
    }
    const json = { "Content-Type": "application/json" };
    const job = await ask(signal, "POST", `${address}/job`, json, JSON.stringify({ ...fields, file_name: file.name }));
    offset = null;
    if (!job || job.status === 410) continue;
    if (key && [200, 202].includes(job.status)) localStorage.removeItem(key);
    return job;
  }
  return null;
}
