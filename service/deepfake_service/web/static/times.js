// Times as the clock on the wall has them: pages state them in UTC, for readers without scripts.
const zone = new Intl.DateTimeFormat(document.documentElement.lang, { timeZoneName: "short" });
const two = (number) => String(number).padStart(2, "0");
for (const place of document.querySelectorAll("time[datetime]")) {
  const at = new Date(place.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  const name = zone.formatToParts(at).find((part) => part.type === "timeZoneName").value;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  place.title = place.textContent;
  place.textContent = `${day} ${two(at.getHours())}:${two(at.getMinutes())} ${name}`;
}

// A time that is asked for is then one of this zone, too; the form says by how much UTC is ahead.
for (const input of document.querySelectorAll("input[type=datetime-local]")) {
  const label = document.querySelector(`label[for=${input.id}]`);
  if (label.dataset.local) label.textContent = label.dataset.local;
  input.form.addEventListener("submit", () => {
    input.form.elements.offset.value = new Date(input.value || Date.now()).getTimezoneOffset();
  });
}
