// How much faces change from frame to frame: lines over time, and the moments that stand out.
import { ask, refusal } from "./api.js";
import { around } from "./contact.js";
import { make, svg } from "./elements.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("changes");
const [WIDTH, HEIGHT] = [1000, 160];
const LINES = ["around", "edge", "inside"]; // the last one is drawn over the others

const text = (key, values = {}) => Object.entries(values).reduce((said, [name, value]) => said.replace(`{${name}}`, value), mount.dataset[key]);

function go(time, person) {
  viewer.go(time);
  around(time, person).then((face) => face && viewer.go(face.time_s, face.box));
  document.querySelector("[role=tab]").click(); // the faces
}

function draw(people) {
  const until = Math.max(...people.flatMap(({ times }) => times), 0.1);
  mount.querySelector(".of-people").replaceChildren(...people.map((person) => {
    const most = Math.max(...LINES.flatMap((name) => person[name]), 1);
    const at = (n) => (person.times[n] / until) * WIDTH;
    const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "changes-plot" });
    for (const name of LINES) {
      const points = person[name].map((value, n) => `${at(n).toFixed(1)},${(HEIGHT * (1 - value / most)).toFixed(1)}`);
      plot.append(svg("polyline", { points: points.join(" "), class: name }));
    }
    plot.addEventListener("click", (event) => {
      const box = plot.getBoundingClientRect();
      go(((event.clientX - box.x) / box.width) * until, person.person);
    });
    const peaks = make("ul", "", "peaks");
    peaks.append(...[...person.peaks].sort((a, b) => a.time_s - b.time_s).map((peak) => {
      const [item, button] = [make("li"), make("button", text(peak.region, { s: peak.time_s.toFixed(2) }), "plain")];
      button.addEventListener("click", () => go(peak.time_s, person.person));
      item.append(button);
      return item;
    }));
    const [part, motion] = [make("section"), make("button", text("motion"), "second")];
    motion.addEventListener("click", () => {
      const picture = Object.assign(new Image(), { className: "face", alt: text("motion") });
      picture.src = `${mount.dataset.place}/motion.webp?person=${person.person}&from_s=${viewer.time()}`;
      part.querySelector("img")?.remove();
      part.append(picture);
    });
    if (!person.peaks.length) peaks.append(make("li", text("none")));
    part.append(make("h3", text("person", { n: person.person })), plot, peaks, motion);
    return part;
  }));
}

// Asks part by part, so that the first seconds can be looked at while the rest is measured.
async function measure() {
  const [now, problem] = mount.querySelectorAll("[role=status]");
  const people = new Map();
  for (let from = 0; from !== null;) {
    now.textContent = text("measuring", { s: from.toFixed(0) });
    const answer = await ask("GET", `${mount.dataset.place}/changes?from_s=${from}`);
    if (!answer?.ok) { [now.textContent, problem.textContent] = ["", await refusal(answer)]; return; }
    const part = await answer.json();
    for (const person of part.people) {
      const known = people.get(person.person);
      if (known) for (const [name, values] of Object.entries(person)) { if (Array.isArray(values)) known[name].push(...values); }
      else people.set(person.person, person);
    }
    draw([...people.values()]);
    from = part.next_s;
  }
  now.textContent = people.size ? "" : text("nobody");
}

if (mount) {
  const button = mount.querySelector("button.measure");
  button.addEventListener("click", () => { button.hidden = true; measure(); });
}
