// Two pictures side by side, aligned by their faces: zoom and pan move both, one key switches, or shows the difference.
import { ask } from "./api.js";
import { facesAround, frameAt } from "./frames.js";
import { keyOf } from "./keys.js";
import { viewer } from "./viewer.js";

const mount = document.getElementById("side");
const FACES = 2.5; // widths of a face that are seen at first

// Of a job or a medium, by its address, with the centre and width of its face. An original has it where it is beside.
async function pictureOf(place, time, beside) {
  const told = (problem) => { if (problem) mount.querySelector(".problem").textContent = problem; };
  const [image, faces] = await Promise.all([frameAt(place, time, told), place.includes("/media/") ? [] : facesAround(place, time)]);
  const same = faces.filter((face) => face.time_s === faces[0].time_s).map((face) => face.box);
  const [[left, top, right, bottom] = []] = same.sort((a, b) => (b[2] - b[0]) - (a[2] - a[0]));
  if (!image) return null;
  const times = image.width / beside?.image.width;
  const alike = Math.abs(image.height - beside?.image.height * times) < 9;
  const face = right ? [(left + right) / 2, (top + bottom) / 2, right - left] : alike ? beside.face.map((n) => n * times)
    : [image.width / 2, image.height / 2, image.width / 4];
  return { image, face };
}

if (mount) {
  const [own, other] = mount.querySelectorAll("canvas");
  const [source, offset, switches, subtracts] = mount.querySelectorAll("select, input, button");
  const shown = { own: null, other: null, swapped: false, difference: false };
  let [zoom, x, y] = [1, 0, 0]; // x and y in widths of a face

  const put = (context, picture) => {
    const [cx, cy, width] = picture.face;
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

  async function load() {
    mount.querySelector(".problem").textContent = "";
    shown.own = await pictureOf(mount.dataset.place, viewer.time());
    if (source.value) shown.other = await pictureOf(source.value, Math.max(0, viewer.time() + Number(offset.value)), shown.other ?? shown.own);
    draw();
  }
  async function listItems() {
    const answer = await ask("GET", `/v1/cases/${mount.dataset.case}`);
    if (!answer?.ok) return;
    for (const job of (await answer.json()).jobs) {
      const place = `/v1/jobs/${job.id}`;
      if (place === mount.dataset.place || !job.media_kept || job.state !== "succeeded") continue;
      source.append(new Option(`${job.id.slice(-6)} · ${new Date(job.created_at).toLocaleString(document.documentElement.lang)}`, place));
    }
  }
  source.addEventListener("change", () => { shown.other = null; load(); });
  offset.addEventListener("change", load);
  switches.addEventListener("click", () => { shown.swapped = !shown.swapped; draw(); });
  subtracts.addEventListener("click", () => { shown.difference = !shown.difference; draw(); });
  let from = null;
  for (const canvas of [own, other]) {
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const nearer = event.deltaY + event.deltaX < 0; // with Shift, browsers scroll sideways
      if (event.shiftKey && shown.other) shown.other.face[2] *= nearer ? 0.98 : 1.02;
      else zoom = Math.min(16, Math.max(0.25, zoom * 1.5 ** (event.deltaY / -100)));
      draw();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); from = [event.clientX, event.clientY]; });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const width = canvas.clientWidth / FACES / zoom; // of a face on the screen
      const [right, down] = [(from[0] - event.clientX) / width, (from[1] - event.clientY) / width];
      const face = event.shiftKey && shown.other?.face;
      if (face) [face[0], face[1]] = [face[0] + right * face[2], face[1] + down * face[2]];
      else [x, y] = [x + right, y + down];
      from = [event.clientX, event.clientY];
      draw();
    });
    canvas.addEventListener("pointerup", () => { from = null; });
  }
  addEventListener("keydown", (event) => {
    if (mount.checkVisibility()) ({ b: switches, d: subtracts })[keyOf(event)]?.click();
  });
  viewer.on("rest", () => { if (mount.checkVisibility() && shown.own) load(); });
  new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    listItems();
    load();
  }).observe(mount);
}
