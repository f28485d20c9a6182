// Converts times to the reader's time zone. Pages contain UTC, for readers without scripts.
const zone = new Intl.DateTimeFormat(document.documentElement.lang, { timeZoneName: "short" });
// Browsers have no short name for this one.
export function zoneName(at) {
  if (zone.resolvedOptions().timeZone === "Asia/Seoul") return "KST";
  return zone.formatToParts(at).find((part) => part.type === "timeZoneName").value;
}
const two = (number) => String(number).padStart(2, "0");

function local(at, seconds = false) {
  const name = zoneName(at);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ""} ${name}`;
}

// Evidence states UTC: its date is left out if it is the local one.
function withUtc(at) {
  const text = local(at, true);
  if (!at.getTimezoneOffset()) return text;
  const [day, time] = at.toISOString().split(/[T.]/);
  return `${text} (${text.startsWith(day) ? "" : `${day} `}${time} UTC)`;
}

// An age stays an age; its title becomes the local time.
export function localise(root) {
  for (const place of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(place.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    place.dataset.local = "";
    if ("age" in place.dataset) place.title = local(at);
    else if ("utc" in place.dataset) place.textContent = withUtc(at);
    else [place.title, place.textContent] = [place.textContent, local(at, "seconds" in place.dataset)];
  }
}
localise(document);

// Times without a zone, as in a table or a form for the API, are in the reader's.
export function nameZones(root) {
  for (const place of root.querySelectorAll(".zone")) place.textContent = `(${zoneName(new Date())})`;
}

// Days entered in a form are the reader's, unless the address of the page names another zone.
for (const input of document.querySelectorAll("input[name=zone]")) {
  if (input.value) continue;
  input.value = zone.resolvedOptions().timeZone;
  document.getElementById("zone").textContent = zoneName(new Date());
}

// Times entered in a form are then in the reader's zone, too; the form sends the zone's offset.
for (const input of document.querySelectorAll("input[type=datetime-local]")) {
  const label = document.querySelector(`label[for=${input.id}]`);
  if (label.dataset.local) label.textContent = label.dataset.local;
  input.form.addEventListener("submit", () => {
    input.form.elements.offset.value = new Date(input.value || Date.now()).getTimezoneOffset();
  });
}
