// Shows the progress of a running job, and reloads the page when it ends.
const box = document.getElementById("follow");
const bar = box.querySelector("progress");
const events = new EventSource(`/v1/jobs/${box.dataset.job}/events`);
events.addEventListener("job", (event) => {
  const job = JSON.parse(event.data);
  if (job.progress.total) {
    bar.max = job.progress.total;
    bar.value = job.progress.done;
    const stage = box.dataset[job.progress.stage] || "";
    document.getElementById("stage").textContent = `${stage} ${job.progress.done} / ${job.progress.total}`;
    document.getElementById("place")?.remove();
  }
  if (!["queued", "running"].includes(job.state)) {
    events.close();
    location.reload();
  }
});
events.addEventListener("gone", () => location.assign("/"));
events.addEventListener("signed_out", () => location.reload()); // which leads to the sign-in page
