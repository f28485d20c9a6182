// Sends a large file by tus 1.0.0 (https://tus.io/protocols/resumable-upload): a broken connection or a reloaded page
// costs nothing that has arrived. This browser keeps the address of the upload under a digest of the file, and neither
// its name nor its case.
import { transfer } from "./api.js";

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

// Sends what the service lacks of a file and then the fields. Returns the request that was answered last, which is
// about the job unless something went wrong, or null if the connection stayed broken. Rejects with AbortError if
// `signal` says so.
export async function sendResumed(signal, file, fields, progress) {
  const send = (method, address, headers, body, told) => transfer(signal, method, address, { "Tus-Resumable": "1.0.0", ...headers }, body, told);
  const key = await keyOf(file);
  let address = key && (localStorage.getItem(key) || "").split(" ")[0];
  let offset = address ? null : 0; // null: to be asked
  let most = 0;
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (tries) await new Promise((done) => { setTimeout(done, Math.min(1000 * 2 ** (tries - 1), LONGEST_WAIT_MS)); });
    signal.throwIfAborted();
    if (!address) {
      const begun = await send("POST", "/v1/uploads", { "Upload-Length": file.size });
      if (!begun) continue;
      if (begun.status !== 201) return begun;
      address = begun.getResponseHeader("Location");
      offset = 0;
      if (key) localStorage.setItem(key, `${address} ${begun.getResponseHeader("Upload-Expires")}`);
    }
    if (offset === null) {
      const known = await send("HEAD", address);
      if (!known) continue;
      if ([404, 410].includes(known.status)) { // expired, or of another account
        address = null;
        continue;
      }
      if (known.status !== 200) return known;
      offset = Number(known.getResponseHeader("Upload-Offset"));
      if (offset > most) [tries, most] = [0, offset];
    }
    progress(offset);
    const from = offset;
    offset = null;
    if (from < file.size) {
      const headers = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": from };
      const part = await send("PATCH", address, headers, file.slice(from), (loaded) => progress(from + loaded));
      if (!part || [404, 409, 410].includes(part.status)) continue;
      if (part.status !== 204) return part;
    }
    const json = { "Content-Type": "application/json" };
    const job = await send("POST", `${address}/job`, json, JSON.stringify({ ...fields, file_name: file.name }));
    if (job?.status === 410) address = null; // also if it became a job of another case before
    if (!job || job.status === 410) continue;
    if (key && [200, 202].includes(job.status)) localStorage.removeItem(key);
    return job;
  }
  return null;
}
