// The contact sheet: every examined face in order of time, and every frame around one.
import { ask, refusal } from "./api.js";
import { draw, make } from "./elements.js";
import { PLACES, nearest, placeOf } from "./frames.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("contact");
const SHOWN = 1.6; // longer sides of a face that its picture has
const PARTS = [[0.08, 0.2, 0.92, 0.52], PLACES.mouth]; // both eyes, and the mouth
const WIDE = 200; // pixels of the screen for a face of which these are shown

const tell = (...texts) => texts.forEach((text, n) => { mount.querySelectorAll("[role=status]")[n].textContent = text; });
const said = (time, person) => `${mount.dataset.seconds.replace("{s}", time.toFixed(2))} · ${mount.dataset.person} ${person}`;

async function bitmap(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/webp" }));
}

// Shows a face large in the viewer.
function show({ time_s: time, box }) {
  viewer.go(time, box);
  viewer.element.scrollIntoView({ block: "nearest" });
}

// Eyes and mouth alone, equally large at each moment. A picture shows its face in the middle.
function parts(picture, { box }) {
  const [width, height] = [box[2] - box[0], box[3] - box[1]];
  const scale = picture.width / (Math.max(width, height) * SHOWN);
  const [left, top] = [(picture.width - width * scale) / 2, (picture.height - height * scale) / 2];
  const inPicture = [left, top, picture.width - left, picture.height - top];
  return PARTS.map((sides) => [placeOf(inPicture, sides), WIDE / (width * scale)]);
}

// Fills a list with faces. Arrow keys go from one to the next.
async function fill(list, faces, chosen) {
  const cells = await Promise.all(faces.map(async (face) => {
    const picture = await bitmap(face.picture);
    const [item, button] = [make("li"), make("button", "", "cell")];
    const shown = mount.querySelector("input").checked ? parts(picture, face) : [[[0, 0, picture.width, picture.height]]];
    for (const [place, times] of shown) {
      const canvas = make("canvas", "", "face");
      draw(canvas, picture, place, times);
      button.append(canvas);
    }
    button.append(make("span", said(face.time_s, face.person), "hint"));
    button.addEventListener("click", () => { button.focus({ preventScroll: true }); chosen(face); });
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

// Shows the frames around a moment, and resolves with the face nearest to it unless another moment was asked for.
let asked;
export async function around(time, person) {
  asked = time;
  const faces = await load(`?around=${time}`);
  if (asked !== time) return null;
  const own = person ? faces.filter((face) => face.person === person) : faces;
  await fill(mount.querySelector(".around"), own, show);
  mount.querySelector(".around-title").hidden = !own.length;
  return nearest(own, time)[0];
}

async function open() {
  const faces = await load("");
  const people = [...new Set(faces.map((face) => face.person))];
  const select = mount.querySelector("select");
  select.append(...people.map((person) => new Option(`${mount.dataset.person} ${person}`, person)));
  select.closest("p").hidden = people.length < 2;
  const chosen = (face) => {
    show(face);
    if (viewer.kind === "video") around(face.time_s, face.person);
  };
  const list = () => fill(mount.querySelector(".sheet-of-faces"),
    faces.filter((face) => !select.value || face.person === Number(select.value)), chosen);
  for (const choice of [select, mount.querySelector("input")]) choice.addEventListener("change", list);
  await list();
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
