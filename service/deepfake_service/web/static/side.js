// Two pictures side by side, aligned by their faces: zoom and pan move both, one key switches, or shows the difference.
// A picture that is opened from the disk stays in this page: it is neither sent nor stored nor examined.
import { ask } from "./api.js";
import { facesAround, frameAt } from "./frames.js";
import { keyOf } from "./keys.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("side");
const FACES = 2.5; // widths of a face that are seen at first

async function pictureOf(job, time) {
  const told = (problem) => { if (problem) mount.querySelector(".problem").textContent = problem; };
  const [image, faces] = await Promise.all([frameAt(job, time, told), facesAround(job, time)]);
  const same = faces.filter((face) => face.time_s === faces[0].time_s);
  const [largest] = same.sort((a, b) => (b.box[2] - b.box[0]) - (a.box[2] - a.box[0]));
  return image && { image, box: largest?.box };
}

// The centre of the face, and its width; of a picture without one, its own centre and a quarter of its width.
function frameOf({ image, box }) {
  if (!box) return [image.width / 2, image.height / 2, image.width / 4];
  return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0]];
}

if (mount) {
  const [own, other] = mount.querySelectorAll("canvas");
  const [source, file, offset] = ["select", "input[type=file]", "input[type=number]"].map((name) => mount.querySelector(name));
  const shown = { own: null, other: null, swapped: false, difference: false };
  let [zoom, x, y] = [1, 0, 0]; // x and y in widths of a face

  const put = (context, picture) => {
    const [cx, cy, width] = frameOf(picture);
    const scale = (context.canvas.width / (FACES * width)) * zoom;
    context.imageSmoothingEnabled = scale < 2;
    context.setTransform(scale, 0, 0, scale, context.canvas.width / 2 - (cx + x * width) * scale, context.canvas.height / 2 - (cy + y * width) * scale);
    context.drawImage(picture.image, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
  };
  const draw = () => {
    for (const [canvas, picture] of [[own, shown.swapped ? shown.other : shown.own], [other, shown.other]]) {
      const context = canvas.getContext("2d");
      context.globalCompositeOperation = "source-over";
      context.fillStyle = "#808080";
      context.fillRect(0, 0, canvas.width, canvas.height);
      if (picture) put(context, picture);
      if (canvas === own && shown.difference && shown.own && shown.other) {
        put(context, shown.own);
        context.globalCompositeOperation = "difference";
        put(context, shown.other);
      }
    }
  };
  const blink = () => { shown.swapped = !shown.swapped; draw(); };
  const subtract = () => { shown.difference = !shown.difference; draw(); };

  async function load() {
    mount.querySelector(".problem").textContent = "";
    shown.own = await pictureOf(mount.dataset.job, viewer.time());
    if (source.value) shown.other = await pictureOf(source.value, Math.max(0, viewer.time() + Number(offset.value)));
    draw();
  }
  async function listItems() {
    const answer = await ask("GET", `/v1/cases/${mount.dataset.case}`);
    if (!answer?.ok) return;
    for (const job of (await answer.json()).jobs) {
      if (job.id === mount.dataset.job || !job.media_kept || job.state !== "succeeded") continue;
      source.append(new Option(`${job.id.slice(-6)} · ${new Date(job.created_at).toLocaleString(document.documentElement.lang)}`, job.id));
    }
  }
  source.addEventListener("change", load);
  offset.addEventListener("change", load);
  file.addEventListener("change", async () => {
    source.value = "";
    // A picture that the browser cannot read leaves what was there.
    const image = await createImageBitmap(file.files[0]).catch(() => null);
    if (image) shown.other = { image };
    mount.querySelector(".problem").textContent = image ? "" : mount.dataset.unreadable;
    shown.own ??= await pictureOf(mount.dataset.job, viewer.time());
    draw();
  });
  mount.querySelector(".blink").addEventListener("click", blink);
  mount.querySelector(".difference").addEventListener("click", subtract);
  let from = null;
  for (const canvas of [own, other]) {
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom = Math.min(16, Math.max(0.25, zoom * (event.deltaY < 0 ? 1.25 : 0.8)));
      draw();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); from = [event.clientX, event.clientY]; });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const width = canvas.clientWidth / FACES / zoom; // of a face on the screen
      [x, y] = [x - (event.clientX - from[0]) / width, y - (event.clientY - from[1]) / width];
      from = [event.clientX, event.clientY];
      draw();
    });
    canvas.addEventListener("pointerup", () => { from = null; });
  }
  addEventListener("keydown", (event) => {
    if (!mount.checkVisibility()) return;
    if (keyOf(event) === "b") blink();
    if (keyOf(event) === "d") subtract();
  });
  viewer.on("rest", () => { if (mount.checkVisibility() && shown.own) load(); });
  new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    listItems();
    load();
  }).observe(mount);
}
