// Elements that scripts make: of HTML, of SVG, and pictures on a canvas.
export const make = (name, text = "", kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });

export function svg(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Draws a rectangle (left, top, width, height) of a picture, enlarged and not smoothed.
export function draw(canvas, picture, [left, top, width, height], times = 1) {
  canvas.width = Math.max(1, Math.round(width * times));
  canvas.height = Math.max(1, Math.round(height * times));
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = times < 1;
  context.drawImage(picture, -left * times, -top * times, picture.width * times, picture.height * times);
}
