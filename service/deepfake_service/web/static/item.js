// Scripted parts of an item's page: the slider of the overlay, the video player, and the cursor on the
// timeline that follows playback.
const heat = document.getElementById("heat");
if (heat) {
  heat.closest(".scripted").hidden = false;
  heat.addEventListener("input", () => {
    for (const image of document.querySelectorAll(".heat")) image.style.opacity = heat.value / 100;
  });
}

const player = document.getElementById("player");
if (player) {
  const video = player.querySelector("video");
  const clear = document.getElementById("clear");
  const timeline = document.getElementById("timeline");
  const cursor = timeline.querySelector(".cursor");
  player.addEventListener("toggle", () => {
    if (player.open && !video.src) video.src = player.dataset.src;
    if (!player.open) video.pause();
  });
  clear.addEventListener("click", () => {
    const sharp = clear.getAttribute("aria-pressed") !== "true";
    clear.setAttribute("aria-pressed", String(sharp));
    video.classList.toggle("veiled", !sharp);
  });
  const follow = () => {
    if (!video.duration) return;
    cursor.hidden = false;
    const share = video.currentTime / video.duration;
    cursor.style.left = `${Number(timeline.dataset.left) + Number(timeline.dataset.span) * share}%`;
  };
  video.addEventListener("timeupdate", follow);
  video.addEventListener("seeked", follow);
  const go = (time) => {
    player.open = true;
    if (!video.src) video.src = player.dataset.src;
    const seek = () => { video.currentTime = time; };
    if (video.readyState) seek();
    else { video.addEventListener("loadedmetadata", seek, { once: true }); video.load(); }
  };
  for (const button of document.querySelectorAll(".seek")) {
    button.hidden = false;
    button.addEventListener("click", () => go(Number(button.dataset.time)));
  }
  timeline.addEventListener("click", (event) => {
    if (!video.duration) return;
    const box = timeline.getBoundingClientRect();
    const at = (100 * (event.clientX - box.left)) / box.width;
    const share = (at - Number(timeline.dataset.left)) / Number(timeline.dataset.span);
    if (share >= 0 && share <= 1) go(share * video.duration);
  });
}

// Saves the reason of a review in this tab while it is being written, in case the session expires, and
// removes it once the page shows it among the reviews.
const reason = document.getElementById("reason");
if (reason) {
  const storageKey = `reason ${location.pathname}`;
  const saved = (sessionStorage.getItem(storageKey) || "").trim();
  if (saved && document.getElementById("main").innerText.includes(saved)) sessionStorage.removeItem(storageKey);
  else if (saved && !reason.value) reason.value = saved;
  reason.addEventListener("input", () => sessionStorage.setItem(storageKey, reason.value));
}
