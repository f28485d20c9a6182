// Passes on the files that a person chooses, and those chosen before this script ran, which browsers
// keep without an event.
export function onChosen(input, take) {
  const pass = (isEarly) => { if (input.files.length) take(input, isEarly); };
  input.addEventListener("change", () => pass(false));
  pass(true);
}
