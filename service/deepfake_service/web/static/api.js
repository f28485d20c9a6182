// Asks the HTTP API, which says in the language of the page why it refuses something.
const meta = document.querySelector("meta[name=csrf]");
export const { lost, signedOut } = meta.dataset;
// The token belongs to the session: it changes when one signs in again in another tab.
let token = meta.content;
const headers = (more) => ({ "X-CSRF-Token": token, "Accept-Language": document.documentElement.lang, ...more });

export async function renew() {
  const answer = await fetch("/submit").catch(() => null);
  if (!answer?.ok || answer.redirected) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  token = fresh.querySelector("meta[name=csrf]").content;
  return true;
}

// Resolves with the answer, or with null if the connection broke.
export async function ask(method, address, body, more) {
  const send = () => fetch(address, { method, body, headers: headers(more) }).catch(() => null);
  const answer = await send();
  return [401, 403].includes(answer?.status) && await renew() ? send() : answer;
}

// Sends a body and tells its progress. Resolves with the answered request, or with null if the connection broke.
// Rejects with AbortError if `signal` says so.
export function transfer(signal, method, address, more = {}, body = null, progress = null) {
  return new Promise((done, stopped) => {
    const request = new XMLHttpRequest();
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open(method, address);
    for (const [name, value] of Object.entries(headers(more))) request.setRequestHeader(name, value);
    if (progress) request.upload.addEventListener("progress", ({ loaded, total }) => progress(loaded, total));
    request.addEventListener("load", () => done(request));
    request.addEventListener("error", () => done(null));
    request.addEventListener("abort", () => stopped(new DOMException("", "AbortError")));
    request.send(body);
  });
}

// Says why the API refused something. Fields are named by their labels.
export function explain(problem, status) {
  if (status === 401) return signedOut;
  const faults = (problem.errors || []).map(({ field, detail }) => {
    const label = document.querySelector(`label[for="${CSS.escape(field)}"]`);
    return label ? `${label.textContent.trim()}: ${detail}` : detail;
  });
  return faults.join("; ") || problem.detail || String(status);
}
export async function refusal(answer) {
  return answer ? explain(await answer.json().catch(() => ({})), answer.status) : lost;
}
