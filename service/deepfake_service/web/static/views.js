// Views of the frame that the viewer shows, and magnified places of its faces.
import { draw, make } from "./elements.js";
import { PLACES, facesAround, frameAt, placeOf } from "./frames.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("views");
const PLACE = 192; // pixels of the screen
const frame = (view) => frameAt(mount.dataset.place, viewer.time(), (problem) => { mount.querySelector(".problem").textContent = problem; }, view);

async function show(view) {
  const picture = await frame(view);
  if (!picture) return;
  const canvas = mount.querySelector("canvas.view");
  draw(canvas, picture, [0, 0, picture.width, picture.height]);
  canvas.hidden = false;
}

// The places of each face that was examined in this frame, or next to it in time.
async function places() {
  const [faces, picture] = await Promise.all([facesAround(mount.dataset.place, viewer.time()), frame()]);
  if (!picture) return;
  const first = new Map();
  for (const { person, box } of faces) if (!first.has(person)) first.set(person, box);
  const cells = [...first].flatMap(([person, box]) => Object.entries(PLACES).map(([name, sides]) => {
    const [item, canvas, place] = [make("li"), make("canvas", "", "face"), placeOf(box, sides)];
    draw(canvas, picture, place, Math.max(1, Math.floor(PLACE / Math.max(place[2], place[3]))));
    item.append(canvas, make("span", `${mount.dataset.person} ${person} · ${mount.dataset[name]}`, "hint"));
    return item;
  }));
  mount.querySelector(".places").replaceChildren(...(cells.length ? cells : [make("li", mount.dataset.nobody)]));
}

if (mount) {
  let chosen = "";
  for (const radio of mount.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => {
      chosen = radio.value;
      for (const hint of mount.querySelectorAll("[data-of]")) hint.hidden = hint.dataset.of !== chosen;
      show(chosen);
    });
  }
  viewer.on("rest", () => {
    if (!mount.checkVisibility()) return;
    if (chosen) show(chosen);
    if (mount.querySelector(".places").firstChild) places();
  });
  mount.querySelector("button.cut").addEventListener("click", places);
}
