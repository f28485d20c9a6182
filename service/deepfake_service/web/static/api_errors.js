// Says why the HTTP API refused a form, in the language of the page as far as the page has the text.

// `response` is null if there was none. `form` has the texts (data-errors, data-lost) and the labels
// of its fields.
export async function refusal(response, form) {
  if (!response) return form.dataset.lost;
  const texts = JSON.parse(form.dataset.errors);
  const answer = await response.json().catch(() => ({}));
  const label = (field) => {
    const found = form.querySelector(`label[for="${CSS.escape(field)}"]`);
    return found ? `${found.textContent}: ` : "";
  };
  const invalid = (answer.errors || []).map((e) => label(e.field) + (texts[e.detail] ?? e.detail));
  const code = String(answer.type).split(":").pop();
  return invalid.join("; ") || texts[answer.detail] || texts[code] || answer.detail || String(response.status);
}
