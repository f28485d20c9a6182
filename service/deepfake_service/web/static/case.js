// Sends the form that notes an occurrence: with a file in it, it goes to the HTTP interface.
const form = document.getElementById("occurrence");
const problem = document.getElementById("occurrence-problem");
const csrf = document.querySelector("meta[name=csrf]").content;
form.hidden = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" ? value.trim() : value.size) body.append(name, value);
  }
  const button = form.querySelector("button");
  button.disabled = true;
  const options = { method: "POST", body, headers: { "X-CSRF-Token": csrf } };
  const answer = await fetch(form.action, options).catch(() => new Response("", { status: 503 }));
  button.disabled = false;
  if (answer.ok) location.reload();
  else {
    const told = await answer.json().catch(() => ({}));
    const wrong = (told.errors || []).map((e) => `${e.field}: ${e.detail}`).join("; ");
    problem.textContent = wrong || told.detail || String(answer.status);
    problem.hidden = false;
  }
});
