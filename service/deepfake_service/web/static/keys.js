// Keys of the keyboard that pages act on, unless a person types text or a browser's own combination.

// Returns the letter or sign, that of a Korean letter's key in Latin; undefined if it is not for the page.
export function keyOf(event) {
  const typing = event.target.closest("input:not([type=checkbox], [type=radio]), select, textarea, dialog, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return undefined;
  return /^[\u3131-\u3163]$/.test(event.key) ? event.code.replace("Key", "").toLowerCase() : event.key;
}
