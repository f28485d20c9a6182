// The medium of an item at its own pixels: zoom, pan, frame by frame, boxes over faces, marked places. Where the
// browser cannot show it, frames that the service decodes stand in; once the file is gone, the evidence's pictures.
import { svg } from "./elements.js";

const element = document.getElementById("viewer");
const plane = element?.querySelector(".plane");
const media = plane?.querySelector("video, img");
const over = plane?.querySelector("svg");
let video = media instanceof HTMLVideoElement ? media : null;
const pictures = JSON.parse(element?.dataset.pictures || "[]");
const DURATION_S = Number(element?.dataset.duration || 0);
const [WIDTH, HEIGHT, FRAME_S] = ["width", "height", "frame"].map((name) => Number(element?.dataset[name] || 0));
const MOST = 8; // screen pixels of a pixel of the file
const ROOM = 1.6; // of the longer side of a rectangle that is looked at
const NEAR_S = 0.15;
const faces = JSON.parse(element?.dataset.faces || "[]"); // [time, person, box, whether its value is high]
const listeners = { time: [], rest: [], mark: [] };
const REST_MS = 400; // without another moment, after which what is decoded for it is worth asking for
let resting;
const tell = (name, value) => { for (const listener of listeners[name]) listener(value); };
const control = (id) => document.getElementById(id);

// -- zoom and pan: the compositor moves the plane, nothing is drawn again --
let [scale, x, y] = [1, 0, 0];
let room = [1, 1]; // kept, as asking for it while zooming would lay the page out each time
const fitting = () => Math.min(room[0] / WIDTH, room[1] / HEIGHT, 1);
function place() {
  // The middle of the window always shows a part of the medium.
  const within = (at, size, middle) => Math.min(middle, Math.max(middle - size, at));
  [x, y] = [within(x, WIDTH * scale, room[0] / 2), within(y, HEIGHT * scale, room[1] / 2)];
  plane.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  plane.style.setProperty("--scale", scale); // outlines and numbers keep their size on the screen
  plane.classList.toggle("pixels", scale >= 2);
  element.classList.toggle("zoomed", scale > fitting());
  control("zoom").textContent = `${Math.round(scale * 100)}%`;
}
function zoom(factor, at = [room[0] / 2, room[1] / 2]) {
  const next = Math.min(MOST, Math.max(fitting(), scale * factor));
  [x, y] = [at[0] - ((at[0] - x) * next) / scale, at[1] - ((at[1] - y) * next) / scale];
  scale = next;
  if (next === fitting()) reset();
  else place();
}
function reset() {
  scale = fitting();
  [x, y] = [(room[0] - WIDTH * scale) / 2, (room[1] - HEIGHT * scale) / 2];
  place();
}
function look([left, top, right, bottom]) {
  scale = Math.min(MOST, Math.max(fitting(), Math.min(...room) / (Math.max(right - left, bottom - top) * ROOM)));
  [x, y] = [room[0] / 2 - ((left + right) / 2) * scale, room[1] / 2 - ((top + bottom) / 2) * scale];
  place();
}
const inFile = (event) => {
  const box = element.getBoundingClientRect();
  return [(event.clientX - box.x - x) / scale, (event.clientY - box.y - y) / scale];
};
const inside = (value, most) => Math.round(Math.min(most, Math.max(0, value)) * 10) / 10;

// -- time --
let [standIn, moment, loading] = [null, 0, false];
const time = () => (video ? Math.min(video.currentTime, DURATION_S) : moment); // sound may last longer
// One frame at a time is asked for: while one is decoded, later wishes replace each other.
function load() {
  if (loading) return;
  loading = true;
  const asked = moment;
  const loaded = () => { loading = false; if (asked !== moment) load(); };
  standIn.onload = standIn.onerror = loaded;
  standIn.src = `${element.dataset.frames}?at=${asked + 1e-4}`;
}
function showPicture(n) {
  const picture = pictures[(n + pictures.length) % pictures.length];
  [moment, media.src] = [pictures.indexOf(picture), element.dataset.source.replace("{n}", picture.number)];
  control("at").textContent = `${moment + 1} / ${pictures.length} · ${element.dataset.seconds.replace("{s}", picture.time_s.toFixed(2))}`;
}
function go(at, face) {
  if (face) look(face);
  if (standIn) {
    moment = Math.max(0, Math.min(frameAt(at + FRAME_S / 2), DURATION_S - FRAME_S));
    load();
    told();
  }
  if (!video) return;
  video.pause();
  // The middle of a frame: at its edge, a browser may show the one before.
  const seek = () => { video.currentTime = Math.max(0, Math.min(at + FRAME_S / 2, video.duration || at)); };
  if (video.readyState) seek();
  else video.addEventListener("loadedmetadata", seek, { once: true });
}
const frameAt = (at) => (FRAME_S ? Math.floor(at / FRAME_S + 1e-6) * FRAME_S : 0);
function step(frames) {
  if (pictures.length) showPicture(moment + frames);
  else if (FRAME_S) go(frameAt(time()) + frames * FRAME_S);
}
function play() { if (video?.paused) video.play().catch(() => {}); else video?.pause(); }

// The box of each person is that of the examined frame that is nearest in time.
function boxes() {
  const shown = new Map();
  for (const [at, person, box, high] of faces) {
    const far = FRAME_S ? Math.abs(at - time()) : 0;
    if (far <= NEAR_S && (!FRAME_S || far <= (shown.get(person)?.far ?? NEAR_S))) shown.set(FRAME_S ? person : box, { far, person, box, high });
  }
  over.replaceChildren(...[...shown.values()].map(({ person, box: [left, top, right, bottom], high }) => {
    const group = svg("g", { class: high ? "high" : "mid" });
    group.append(svg("rect", { x: left, y: top, width: right - left, height: bottom - top }), svg("text", { x: Math.max(left, 0), y: Math.max(top, 0), dy: top > 0 ? "-.3em" : "1em" }, person));
    return group;
  }), ...(marked ? [marked] : []));
}

// What follows the moment: slider, time, boxes, and other scripts.
function told() {
  marked = null;
  const seek = control("seek");
  if (seek) {
    if (document.activeElement !== seek) seek.value = time();
    control("at").textContent = `${time().toFixed(2)} / ${DURATION_S.toFixed(2)}`;
  }
  boxes();
  tell("time", time());
  clearTimeout(resting);
  resting = setTimeout(() => tell("rest", time()), REST_MS);
}
function standInForIt() {
  if (standIn || pictures.length) return;
  standIn = Object.assign(new Image(), { className: "veiled", alt: media.ariaLabel || media.alt });
  [standIn.style.width, standIn.style.height] = [`${WIDTH}px`, `${HEIGHT}px`];
  media.replaceWith(standIn);
  video = null;
  for (const id of ["play", "slow"]) control(id)?.remove();
  control("unplayable").hidden = false;
  go(0);
}

// -- marks --
let [marking, marked, from] = [false, null, null];
function startMark() {
  if (pictures.length) return; // their pixels are not those of the file
  marking = true;
  video?.pause();
  element.classList.add("marking");
}
function drawMark([left, top], [right, bottom]) {
  const rect = [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)];
  marked = svg("rect", { class: "mark", x: rect[0], y: rect[1], width: rect[2] - rect[0], height: rect[3] - rect[1] });
  boxes();
  return rect.map((value, n) => inside(value, n % 2 ? HEIGHT : WIDTH));
}

export const viewer = {
  element, kind: FRAME_S ? "video" : "picture", time, go, look, step, play, zoom, reset, startMark,
  on(name, listener) { listeners[name].push(listener); },
};

if (element) {
  over.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  for (const sized of [plane, media]) [sized.style.width, sized.style.height] = [`${WIDTH}px`, `${HEIGHT}px`];
  element.style.setProperty("--ratio", WIDTH / HEIGHT);
  new ResizeObserver(() => {
    const isWhole = scale === fitting() || room[0] === 1;
    room = [element.clientWidth, element.clientHeight];
    if (isWhole || scale < fitting()) reset();
    else place();
  }).observe(element);
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = element.getBoundingClientRect();
    zoom(1.5 ** (event.deltaY / -100), [event.clientX - box.x, event.clientY - box.y]);
  }, { passive: false });
  element.addEventListener("dblclick", reset);
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    document.activeElement.blur(); // its keys are for the viewer now
    element.setPointerCapture(event.pointerId);
    from = marking ? inFile(event) : [event.clientX - x, event.clientY - y];
  });
  element.addEventListener("pointermove", (event) => {
    if (!from) return;
    if (marking) drawMark(from, inFile(event));
    else { [x, y] = [event.clientX - from[0], event.clientY - from[1]]; place(); }
  });
  element.addEventListener("pointerup", (event) => {
    if (!from) return;
    if (marking) {
      const rect = drawMark(from, inFile(event));
      marking = false;
      element.classList.remove("marking");
      if (rect[2] > rect[0] && rect[3] > rect[1]) tell("mark", { time_s: FRAME_S ? frameAt(time()) : null, rect });
    }
    from = null;
  });
  const press = (id, act) => control(id)?.addEventListener("click", act);
  press("closer", () => zoom(1.5));
  press("farther", () => zoom(1 / 1.5));
  press("fit", reset);
  press("mark", startMark);
  press("play", play);
  press("back", () => step(-1));
  press("forth", () => step(1));
  press("slow", () => {
    const on = control("slow").getAttribute("aria-pressed") !== "true";
    control("slow").setAttribute("aria-pressed", String(on));
    video.playbackRate = on ? 0.25 : 1;
  });
  const seek = control("seek");
  seek?.addEventListener("input", () => go(Number(seek.value)));
  seek?.addEventListener("change", () => seek.blur());
  if (video) video.controls = false;
  for (const kind of ["loadedmetadata", "timeupdate", "seeked"]) media.addEventListener(kind, told);
  media.addEventListener("error", standInForIt);
  if (video?.error || (!video && media.complete && !media.naturalWidth)) standInForIt(); // failed before this ran
  if (pictures.length) showPicture(0);
  else told();
  for (const button of document.querySelectorAll(".seek")) {
    button.hidden = !FRAME_S;
    button.addEventListener("click", () => { go(Number(button.dataset.time)); element.scrollIntoView({ block: "nearest" }); });
  }
}
