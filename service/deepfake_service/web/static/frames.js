// Frames of a job or a medium at the file's own pixels, and the faces around a moment, as the service decodes them.
import { ask, refusal } from "./api.js";

// Resolves with the picture of the frame at a moment, or of a view of it; with null if it was refused, which `told` is told.
export async function frameAt(place, time, told, view = "") {
  // A little later: the moment of a frame, rounded, may lie before it.
  const answer = await ask("GET", `${place}/frame.png?at=${time + 1e-4}${view && `&view=${view}`}`);
  told(answer?.ok ? "" : await refusal(answer));
  return answer?.ok ? createImageBitmap(await answer.blob()) : null;
}

// Resolves with the faces around a moment, nearest in time first; with none if they were refused.
export async function facesAround(place, time) {
  const answer = await ask("GET", `${place}/sheet?around=${time}`);
  const faces = answer?.ok ? (await answer.json()).faces : [];
  return faces.sort((a, b) => Math.abs(a.time_s - time) - Math.abs(b.time_s - time));
}
