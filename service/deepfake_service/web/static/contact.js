// The contact sheet: every examined face in order of time, every frame around a moment, and one face large.
import { ask, refusal } from "./api.js";
import { frameAt } from "./frames.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("contact");
const LARGE = 448; // pixels of the screen
const AROUND = 2.2; // of the longer side of a face, shown large

const make = (name, text = "", kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });
const tell = (...texts) => texts.forEach((text, n) => { mount.querySelectorAll("[role=status]")[n].textContent = text; });
const said = (time, person) => `${mount.dataset.seconds.replace("{s}", time.toFixed(2))} · ${mount.dataset.person} ${person}`;

async function bitmap(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/webp" }));
}

// Draws a face at the file's own pixels, enlarged by whole numbers and not smoothed.
async function enlarge(figure, { time_s: time, person, box }) {
  const caption = figure.querySelector("figcaption");
  const frame = await frameAt(mount.dataset.place, time, (problem) => { caption.textContent = problem; });
  if (!frame) return;
  const side = Math.max(box[2] - box[0], box[3] - box[1]) * AROUND;
  const [left, top] = [(box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2].map(Math.round);
  const canvas = figure.querySelector("canvas");
  const times = Math.max(1, Math.floor(LARGE / side));
  canvas.width = canvas.height = Math.round(side) * times;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(frame, -left * times, -top * times, frame.width * times, frame.height * times);
  canvas.hidden = false;
  caption.textContent = `${said(time, person)} · ${times * 100}%`;
}

// Fills a list with faces. Arrow keys go from one to the next; the one in focus is large.
async function fill(list, faces, chosen) {
  const cells = await Promise.all(faces.map(async (face) => {
    const picture = await bitmap(face.picture);
    const canvas = Object.assign(make("canvas", "", "face"), { width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    const button = make("button", "", "cell");
    button.type = "button";
    button.setAttribute("aria-label", said(face.time_s, face.person));
    button.append(canvas, make("span", said(face.time_s, face.person), "hint"));
    button.addEventListener("click", () => { button.focus(); chosen(face); });
    const item = make("li");
    item.append(button);
    return item;
  }));
  list.replaceChildren(...cells);
  list.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step && event.target.closest("li")?.[step < 0 ? "previousElementSibling" : "nextElementSibling"];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    next.firstChild.click();
  };
}

async function load(query) {
  tell(mount.dataset.waiting, "");
  const answer = await ask("GET", `${mount.dataset.place}/sheet${query}`);
  if (!answer?.ok) { tell("", await refusal(answer)); return []; }
  const { faces, omitted } = await answer.json();
  tell(omitted ? mount.dataset.omitted.replace("{n}", omitted) : "", "");
  return faces;
}

// Shows the frames around a moment, and the face nearest to it large.
export async function around(time, person) {
  const [figure, list] = [mount.querySelector("figure"), mount.querySelector(".around")];
  const faces = await load(`?around=${time}`);
  const own = person ? faces.filter((face) => face.person === person) : faces;
  const show = (face) => { viewer.go(face.time_s); enlarge(figure, face); };
  await fill(list, own, show);
  mount.querySelector(".around-title").hidden = !own.length;
  const [nearest] = [...own].sort((a, b) => Math.abs(a.time_s - time) - Math.abs(b.time_s - time));
  if (nearest) enlarge(figure, nearest);
}

async function open() {
  const faces = await load("");
  const people = [...new Set(faces.map((face) => face.person))];
  const select = mount.querySelector("select");
  select.append(...people.map((person) => new Option(`${mount.dataset.person} ${person}`, person)));
  select.closest("p").hidden = people.length < 2;
  const chosen = (face) => {
    if (viewer.kind === "video") { viewer.go(face.time_s); around(face.time_s, face.person); }
    enlarge(mount.querySelector("figure"), face);
  };
  const show = () => fill(mount.querySelector(".sheet-of-faces"),
    faces.filter((face) => !select.value || face.person === Number(select.value)), chosen);
  select.addEventListener("change", show);
  await show();
}

// Nothing is decoded until someone looks.
if (mount) {
  const seen = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    seen.disconnect();
    open();
  });
  seen.observe(mount);
}
