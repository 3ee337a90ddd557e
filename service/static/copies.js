// The answer and the question as text, to take elsewhere.

import { fieldsOf } from "./api.js";

const COLUMNS = ["picture", "list", "rank", "label", "phrase", "probability", "similarity", "lift", "near_tie_group", "uri"];

export function asJson(answers) {
  return JSON.stringify(answers.length === 1 ? answers[0] : answers, null, 2);
}

// RFC 4180. A spreadsheet takes what begins with such a character for a formula: an apostrophe keeps it a text.
function cell(value) {
  if (value === undefined || value === null) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r\n＝＋－＠]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function asCsv(asked) {
  const lines = [COLUMNS];
  for (const { name, image, lists } of asked) {
    for (const [list, ranked] of Object.entries(lists)) {
      for (const each of ranked.predictions) {
        const row = { ...each, picture: image.name || name, list };
        lines.push(COLUMNS.map((column) => row[column]));
      }
    }
  }
  return lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// For a shell in the folder of the pictures; a key is taken from its variable GAZE_KEY.
export function asCurl(pictures, question, keyed, address) {
  return pictures
    .map((picture) => {
      const image = picture instanceof File ? ["-F", quoted(`image=@"${picture.name.replaceAll(/["\\]/g, "\\$&")}"`)] : ["--form-string", quoted(`image_url=${picture}`)];
      const fields = fieldsOf(question).flatMap(([name, value]) => ["--form-string", quoted(`${name}=${value}`)]);
      const key = keyed ? ["-H", '"Authorization: Bearer $GAZE_KEY"'] : [];
      return ["curl", ...key, ...image, ...fields, quoted(new URL("v1/gaze", address).href)].join(" ");
    })
    .join("\n");
}

// Browsers have a clipboard for pages of https and of this machine alone; others can still say what a copy is to be.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const fill = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  document.addEventListener("copy", fill, { once: true });
  if (!document.execCommand("copy")) throw new Error("not copied");
}
