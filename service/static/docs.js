// The documentation: a command for a shell for every call, and the call itself, tried from here.

import { authorized } from "./api.js";
import { copy, quoted } from "./copies.js";

const MAX_SHOWN = 20_000;
const HEADERS = ["Content-Type", "ETag", "Retry-After", "Server-Timing", "X-Request-ID"];
const key = document.querySelector("#key");

// The service may be under a path of its host: what is asked is beside this page.
const addressOf = (path) => new URL(`.${path}`, document.baseURI);

// A key is taken from the shell's variable GAZE_KEY.
function curl(address, ...options) {
  return ["curl", quoted(address), ...(key.value ? ["-H", '"Authorization: Bearer $GAZE_KEY"'] : []), ...options].join(" ");
}

// Of a header and of the query, what is left empty is not sent.
function callOf(form) {
  const fields = [...form.querySelectorAll("[data-in]")];
  const given = (place) => fields.filter((field) => field.dataset.in === place && field.value);
  const path = form.dataset.path.replaceAll(/{(\w+)}/g, (_, name) => encodeURIComponent(fields.find((field) => field.name === name).value));
  const address = addressOf(path);
  for (const { name, value } of given("query")) address.searchParams.append(name, value);
  const headers = Object.fromEntries(given("header").map(({ name, value }) => [name, value]));
  const sent = form.querySelector("textarea");
  if (!sent) return { method: form.dataset.method, address: address.href, headers };
  const { formField } = sent.dataset;
  headers["Content-Type"] = formField ? "application/x-www-form-urlencoded" : "application/json";
  const body = formField ? new URLSearchParams({ [formField]: sent.value }).toString() : sent.value;
  return { method: form.dataset.method, address: address.href, headers, body };
}

function commandOf(form) {
  const { address, headers, body } = callOf(form);
  const options = Object.entries(headers).flatMap(([name, value]) => ["-H", quoted(`${name}: ${value}`)]);
  if (body !== undefined) options.push("--data-raw", quoted(body));
  return curl(address, ...options);
}

function writeCommands() {
  for (const code of document.querySelectorAll(".command code")) {
    const { path, options } = code.dataset;
    code.textContent = path ? curl(addressOf(path).href, options) : commandOf(code.closest("form"));
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// Lists of numbers stay on one line. No string of JSON has a line's end in it.
const pretty = (value) => JSON.stringify(value, null, 2).replaceAll(/\[\n[-+.,\de\s]+\]/gi, (numbers) => numbers.replaceAll(/\s+/g, " "));

function sentenceOf(problem) {
  return [problem?.detail, ...(problem?.errors ?? []).map(({ pointer, detail }) => `${pointer}: ${detail}`)].filter(Boolean).join(" ");
}

// Only what is said is heard at once: a screen reader comes to the body when it is gone to.
function say(form, sentence, refused) {
  const outcome = form.querySelector(".outcome");
  outcome.textContent = sentence;
  outcome.classList.toggle("trouble", refused);
  form.querySelector(".body").hidden = true;
}

function show(form, response, text, milliseconds) {
  const value = /json\b/.test(response.headers.get("Content-Type")) ? parsed(text) : undefined;
  const whole = value === undefined ? text : pretty(value);
  const refused = response.status >= 400;
  const status = `Status ${response.status} in ${Math.round(milliseconds).toLocaleString("en")} ms.`;
  say(form, refused ? `${status} ${sentenceOf(value)}` : status, refused);
  const [body, about, code, cut] = [".body", ".body .about", ".body code", ".cut"].map((selector) => form.querySelector(selector));
  about.textContent = HEADERS.filter((name) => response.headers.has(name))
    .map((name) => `${name}: ${response.headers.get(name)}`)
    .join("\n");
  code.textContent = whole.slice(0, MAX_SHOWN);
  code.parentElement.hidden = !whole;
  cut.hidden = whole.length <= MAX_SHOWN;
  cut.textContent = `Only the first ${MAX_SHOWN.toLocaleString("en")} of ${whole.length.toLocaleString("en")} characters are shown.`;
  body.hidden = false;
}

async function attempt(form, signal) {
  const { address, ...call } = callOf(form);
  say(form, "Asking …", false);
  const start = performance.now();
  try {
    const response = await fetch(address, { ...call, headers: { ...call.headers, ...authorized(key.value) }, cache: "no-store", signal });
    const text = await response.text();
    show(form, response, text, performance.now() - start);
  } catch (error) {
    if (!signal.aborted) say(form, `No answer came: ${error.message}.`, true);
  }
}

for (const form of document.querySelectorAll(".trial")) {
  const [choice, text] = [form.querySelector("select"), form.querySelector("textarea")];
  let trying = new AbortController();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    trying.abort();
    trying = new AbortController();
    attempt(form, trying.signal);
  });
  choice?.addEventListener("change", () => {
    text.value = choice.value;
    writeCommands();
  });
}
for (const command of document.querySelectorAll(".command")) {
  const [button, status] = [command.querySelector("button"), command.querySelector("[role=status]")];
  button.addEventListener("click", async () => {
    try {
      await copy(command.querySelector("code").textContent);
      status.textContent = "Copied.";
    } catch {
      status.textContent = "The browser did not let this page copy.";
    }
  });
}
document.addEventListener("input", writeCommands);
writeCommands();
