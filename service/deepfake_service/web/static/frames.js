// Frames of a job or a medium at the file's own pixels, and the faces around a moment, as the service decodes them.
import { ask, refusal } from "./api.js";

// Resolves with the picture of the frame at a moment, or of a view of it; with null if it was refused, which `told` is told.
export async function frameAt(place, time, told, view = "") {
  // A little later: the moment of a frame, rounded, may lie before it.
  const answer = await ask("GET", `${place}/frame.png?at=${time + 1e-4}${view && `&view=${view}`}`);
  told(answer?.ok ? "" : await refusal(answer));
  return answer?.ok ? createImageBitmap(await answer.blob()) : null;
}

// Left, top, right, bottom in sides of the face's box, from its corner. Boxes reach from the brow's upper edge to the chin.
export const PLACES = {
  left_eye: [0.08, 0.2, 0.5, 0.52], right_eye: [0.5, 0.2, 0.92, 0.52], mouth: [0.2, 0.6, 0.8, 1],
  left_ear: [-0.35, 0.2, 0.15, 0.8], right_ear: [0.85, 0.2, 1.35, 0.8], neck: [-0.1, 0.85, 1.1, 1.5], hairline: [0.1, -0.45, 0.9, 0.2],
};
// Left, top, width and height of a place of a face.
export function placeOf([x, y, toX, toY], [left, top, right, bottom]) {
  const [width, height] = [toX - x, toY - y];
  return [x + left * width, y + top * height, (right - left) * width, (bottom - top) * height];
}

export const nearest = (faces, time) => [...faces].sort((a, b) => Math.abs(a.time_s - time) - Math.abs(b.time_s - time));

// Resolves with the faces around a moment, nearest in time first; with none if they were refused.
export async function facesAround(place, time) {
  const answer = await ask("GET", `${place}/sheet?around=${time}`);
  return nearest(answer?.ok ? (await answer.json()).faces : [], time);
}
