// Reads tables: CSV files (RFC 4180) and cells that were copied in a spreadsheet. Their columns are
// the file and the fields of the API.
export const COLUMNS = ["file", "case_reference", "source_url", "platform", "account", "note", "captured_at"];

// What is wrong with a table; `kind` says which text describes it, and `values` what it mentions.
export class InvalidTable extends Error {
  constructor(kind, values = {}) {
    super(kind);
    Object.assign(this, { kind, values });
  }
}

// Excel saves "CSV UTF-8" with a byte order mark, "Unicode Text" as UTF-16, and its plain CSV in
// Korea as CP949, which the Encoding Standard calls euc-kr.
export function decode(bytes) {
  const utf16 = bytes[0] === 0xff && bytes[1] === 0xfe;
  for (const encoding of utf16 ? ["utf-16le"] : ["utf-8", "euc-kr"]) {
    try {
      return new TextDecoder(encoding, { fatal: true }).decode(bytes);
    } catch { /* try the next one */ }
  }
  throw new InvalidTable("encoding");
}

// Returns the lines that are not empty, or all, each with its number and its cells.
export function split(text, blank = false) {
  const all = text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
  const first = all.split("\n", 1)[0];
  const count = (mark) => first.split(mark).length;
  const tabs = first.includes("\t");
  const mark = tabs ? "\t" : count(";") > count(",") ? ";" : ",";
  const quoted = new RegExp(`"((?:[^"]|"")*)"(?=[${mark}\n]|$)`, "y");
  const plain = new RegExp(`[^${mark}\n]*`, "y");
  const lines = [];
  let [cells, line, at] = [[], 1, 0];
  while (at <= all.length) {
    quoted.lastIndex = plain.lastIndex = at;
    const whole = quoted.exec(all);
    // A spreadsheet copies a cell that begins with a quotation mark as it is.
    if (!whole && all[at] === '"' && !tabs) throw new InvalidTable("quote", { line });
    const found = whole || plain.exec(all);
    cells.push(whole ? whole[1].replaceAll('""', '"') : found[0]);
    line += found[0].split("\n").length - 1;
    at += found[0].length;
    if (all[at] !== mark) {
      if (blank || cells.some((cell) => cell.trim())) lines.push({ line, cells: cells.map((cell) => cell.trim()) });
      cells = [];
      line += 1;
    }
    at += 1;
  }
  return lines;
}

// Returns the columns of a table and its lines, each with its number and its cells by column, or null
// if its first line names neither a column nor a file, and nobody said what it is (`first`). Without
// names, the columns are COLUMNS, or those after the file if no line names one. A text file has to.
export function readTable(text, columnOf, isFile, isText = false, first = "") {
  const lines = split(text);
  if (!lines.length) throw new InvalidTable("empty");
  const hasFile = isFile(lines[0].cells[0]);
  const named = hasFile ? [] : lines[0].cells.map(columnOf);
  let columns = COLUMNS;
  if (first === "names" || named.some(Boolean)) {
    for (const [n, name] of lines.shift().cells.entries()) {
      const values = { column: n + 1, name: name.slice(0, 40) };
      if (!named[n]) throw new InvalidTable("unknown", values);
      if (named.indexOf(named[n]) < n) throw new InvalidTable("twice", values);
    }
    if (!lines.length) throw new InvalidTable("empty");
    columns = named;
  } else if (!hasFile) {
    const hasFiles = lines.some(({ cells }) => isFile(cells[0]));
    if (isText && !hasFiles) throw new InvalidTable("header");
    if (!first) return null;
    if (!hasFiles) columns = COLUMNS.slice(1);
  }
  const wide = lines.find(({ cells }) => cells.length > columns.length);
  if (wide) throw new InvalidTable("cells", { line: wide.line, cells: wide.cells.length, columns: columns.length });
  return {
    columns,
    lines: lines.map(({ line, cells }) => ({ line, cells: Object.fromEntries(cells.map((cell, n) => [columns[n], cell])) })),
  };
}

// Returns what gives the column that a cell names by a heading, `[column, heading]`, or a word of it.
export function namesOf(headings) {
  const plain = (text) => text.normalize("NFC").toLowerCase().replace(/[\s_()]/g, "");
  const known = new Map(COLUMNS.map((column) => [plain(column), column]));
  for (const [column, heading] of headings) {
    for (const name of [heading, ...heading.split(/[\s()]+/)]) if (plain(name).length > 1) known.set(plain(name), column);
  }
  // The page's heading of times has a zone in brackets.
  return (cell) => known.get(plain(cell)) || known.get(plain(cell.replace(/\([^)]*\)$/, "")));
}

export const isTime = (text) => completeTime(text) !== text || /^\d{4}-\d\d-\d\dT/.test(text);

// Completes a time as people and spreadsheets write it with the reader's time zone. Other text, which
// may be a time in ISO 8601, is returned as it is.
export function completeTime(text) {
  const parts = /^(\d{4})[-./] ?(\d\d?)[-./] ?(\d\d?)\.?[ T]+(오전|오후|AM|PM)? ?(\d\d?):(\d\d)(?::(\d\d))? ?(AM|PM)?$/i.exec(text.trim());
  if (!parts) return text.trim();
  const [, year, month, day, before, hour, minute, second, after] = parts;
  const half = (before || after || "").toUpperCase();
  const hours = half ? (Number(hour) % 12) + (half === "PM" || half === "오후" ? 12 : 0) : Number(hour);
  const at = new Date(year, month - 1, day, hours, minute);
  const two = (number) => String(number).padStart(2, "0");
  const offset = -at.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  // Not from `at`, which would make 31 February a day in March: the service names it.
  return `${year}-${two(month)}-${two(day)} ${two(hours)}:${minute}${second ? `:${second}` : ""}${zone}`;
}
