// Views of the frame that the viewer shows, and magnified places of its faces.
import { facesAround, frameAt } from "./frames.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("views");
const PLACE = 192; // pixels of the screen
// Left, top, right, bottom in sides of the face's box, from its corner. Boxes reach from the brow's upper edge to the chin.
const PLACES = {
  hairline: [0.1, -0.45, 0.9, 0.2], left_eye: [0.08, 0.2, 0.5, 0.52], right_eye: [0.5, 0.2, 0.92, 0.52],
  mouth: [0.2, 0.6, 0.8, 1], left_ear: [-0.35, 0.2, 0.15, 0.8], right_ear: [0.85, 0.2, 1.35, 0.8], neck: [-0.1, 0.85, 1.1, 1.5],
};

const frame = (view) => frameAt(mount.dataset.place, viewer.time(), (problem) => { mount.querySelector(".problem").textContent = problem; }, view);

function draw(canvas, picture, [left, top, width, height], times) {
  canvas.width = Math.max(1, Math.round(width * times));
  canvas.height = Math.max(1, Math.round(height * times));
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = times < 1;
  context.drawImage(picture, -left * times, -top * times, picture.width * times, picture.height * times);
}

async function show(view) {
  const picture = await frame(view);
  if (!picture) return;
  const canvas = mount.querySelector("canvas.view");
  draw(canvas, picture, [0, 0, picture.width, picture.height], 1);
  canvas.hidden = false;
}

// The places of each face that was examined in this frame, or next to it in time.
async function places() {
  const [faces, picture] = await Promise.all([facesAround(mount.dataset.place, viewer.time()), frame()]);
  if (!faces.length || !picture) return;
  const nearest = new Map();
  for (const { person, box } of faces) if (!nearest.has(person)) nearest.set(person, box);
  mount.querySelector(".places").replaceChildren(...[...nearest].flatMap(([person, box]) => {
    const [width, height] = [box[2] - box[0], box[3] - box[1]];
    return Object.entries(PLACES).map(([name, [left, top, right, bottom]]) => {
      const item = document.createElement("li");
      const canvas = Object.assign(document.createElement("canvas"), { className: "face" });
      const [w, h] = [(right - left) * width, (bottom - top) * height];
      draw(canvas, picture, [box[0] + left * width, box[1] + top * height, w, h], Math.max(1, Math.floor(PLACE / Math.max(w, h))));
      const label = Object.assign(document.createElement("span"), { className: "hint", textContent: `${mount.dataset.person} ${person} · ${mount.dataset[name]}` });
      item.append(canvas, label);
      return item;
    });
  }));
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
  viewer.on("rest", () => { if (chosen && mount.checkVisibility()) show(chosen); });
  mount.querySelector("button.cut").addEventListener("click", places);
}
