// Shows the progress of a running job, and reloads the page when it ends.
const box = document.getElementById("follow");
const events = new EventSource(`/v1/jobs/${box.dataset.job}/events`);
let [asking, outdated] = [false, false];

// The service words the progress, as in lists. Bars that are there stay, and only move on.
function show(fresh) {
  const [old, bars] = [box.querySelectorAll("progress"), fresh.querySelectorAll("progress")];
  if (old.length === bars.length) {
    old.forEach((bar, n) => {
      for (const name of ["max", "value"]) {
        if (bars[n].hasAttribute(name)) bar.setAttribute(name, bars[n].getAttribute(name));
      }
    });
    box.querySelector(".stage").replaceWith(fresh.querySelector(".stage"));
  } else box.replaceChildren(...fresh.body.childNodes);
}

async function refresh() {
  outdated = asking;
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch(`/items/${box.dataset.job}/progress`);
    if (answer.ok && !answer.redirected) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch { /* offline: the next event asks again */ }
  asking = false;
  if (outdated) refresh();
}

events.addEventListener("job", (event) => {
  const job = JSON.parse(event.data);
  if (job.state !== "queued") document.getElementById("place")?.remove();
  if (["queued", "running"].includes(job.state)) {
    refresh();
    return;
  }
  events.close();
  location.reload();
});
events.addEventListener("gone", () => location.assign("/"));
events.addEventListener("signed_out", () => location.reload()); // which leads to the sign-in page
