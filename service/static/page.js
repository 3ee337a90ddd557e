// The page: a question about one picture or two, its answer, and where in the picture a phrase is.

import { listsOf } from "./answer.js";
import { Refused, ask, authorized } from "./api.js";
import { Asked } from "./asked.js";
import { asCsv, asCurl, asJson, copy } from "./copies.js";
import { element } from "./element.js";
import { Figure } from "./figure.js";
import { areShown, sayTicked, search, show } from "./lists.js";
import { Picture, receive } from "./pictures.js";
import { Pointing } from "./pointing.js";
import { MAX_TOP_K, isCount, keep, questionOf, restore } from "./state.js";

const find = (selector) => document.querySelector(selector);
const [form, lists, status, problem, key, answer] = ["#question", "#lists", "#status", "#problem", "#key", "#answer"].map(find);
const pictures = [new Picture("Picture", changed)];
let asking = new AbortController();
let asked = [];
let pointings = [];
let copies = {};

// Whatever is under way about another question ends, and its answer goes.
function forget() {
  asking.abort();
  asking = new AbortController();
  pointings.forEach((each) => each.letGo());
  [asked, pointings] = [[], []];
  answer.hidden = true;
  status.textContent = problem.textContent = "";
}

function changed(picture) {
  if (pictures.includes(picture)) forget();
}

function compare() {
  const wanted = pictures.length === 1;
  if (wanted) pictures.push(new Picture("Second picture", changed));
  else pictures.pop().useLink("");
  pictures[0].rename(wanted ? "First picture" : "Picture");
  find("#pictures").replaceChildren(...pictures.map((each) => each.element));
  find("#compare").textContent = wanted ? "Ask about one picture only" : "Compare with a second picture";
  forget();
  if (wanted) pictures[1].chooser.focus();
}

function lacking(question) {
  const empty = pictures.find((each) => !each.content);
  if (empty) return `${empty.name}: drop, paste, choose or link one first.`;
  if (!question.lists.length && !question.phrases.length) return "Tick a list, or type phrases of your own.";
  if (!isCount(question.top_k)) return `How to ask: of each list, 1 to ${MAX_TOP_K} phrases can be shown.`;
  return "";
}

async function submitted(event) {
  event.preventDefault();
  forget();
  const question = questionOf(form);
  problem.textContent = lacking(question);
  if (problem.textContent) return;
  status.textContent = "Looking …";
  const { signal } = asking;
  const sent = pictures.map((each) => ({ name: each.name, content: each.content }));
  const answers = await Promise.allSettled(sent.map((each) => ask(each.content, question, key.value, signal)));
  if (signal.aborted) return;
  status.textContent = "";
  asked = sent.flatMap(({ name, content }, place) => {
    const { value } = answers[place];
    return value ? [new Asked(name, content, value, question, key.value, signal)] : [];
  });
  if (asked.length) present(question);
  sayRefused(sent.flatMap(({ name }, place) => (answers[place].reason ? [{ name, reason: answers[place].reason }] : [])));
}

function sayRefused(refused) {
  for (const { reason } of refused) if (!(reason instanceof Refused)) throw reason;
  const sentences = refused.map(({ name, reason }) => (pictures.length > 1 ? `${name}: ${reason.message}` : reason.message));
  problem.textContent = [...new Set(sentences)].join(" ");
  if (refused.some(({ reason }) => reason.status === 401)) askForKey();
}

function askForKey() {
  find("#key-field").hidden = false;
  key.focus();
}

function present(question) {
  const answers = asked.map((each) => each.answer);
  const warnings = new Set(answers.flatMap((each) => each.warnings));
  const figures = asked.map((each) => new Figure(each, pictures.length > 1));
  pointings = figures.map((figure) => new Pointing(figure));
  const attach = (each, ...phrase) => pointings[asked.indexOf(each)].attach(...phrase);
  find("#warnings").replaceChildren(...[...warnings].map((warning) => element("li", {}, warning)));
  find("#figures").replaceChildren(...figures.map((figure) => figure.element));
  find("#results").replaceChildren(...listsOf(asked, question.rank_by, attach));
  find("#shown").className = asked.length > 1 ? "two" : "one";
  find("#copied").textContent = "";
  const keyed = Boolean(key.value);
  copies = {
    json: () => asJson(answers),
    csv: () => asCsv(asked),
    curl: () => asCurl(asked.map((each) => each.picture), question, keyed, document.baseURI),
  };
  answer.hidden = false;
  answer.scrollIntoView();
  find("#answer-title").focus({ preventScroll: true });
}

async function copied(button) {
  find("#copied").textContent = ""; // so that the same word is said again
  try {
    await copy(copies[button.dataset.copy]());
    find("#copied").textContent = "Copied.";
  } catch {
    find("#copied").textContent = "The browser did not let this page copy.";
  }
}

async function sayWhoAnswers() {
  const response = await fetch("v1/model", { headers: authorized(key.value) });
  if (response.ok) find("#demo").hidden = !(await response.json()).demo;
  else if (response.status === 401) find("#key-field").hidden = false;
}

// Where a key is needed, the page comes without them.
async function nameLists() {
  if (areShown(lists) || !key.value) return;
  const response = await fetch("v1/lists", { headers: authorized(key.value) });
  if (!response.ok || areShown(lists)) return;
  show(lists, (await response.json()).lists);
  restored();
}

function restored() {
  restore(form);
  sayTicked(lists);
}

find("#pictures").append(pictures[0].element);
receive(pictures);
form.addEventListener("submit", submitted);
form.addEventListener("change", () => {
  sayTicked(lists);
  if (areShown(lists)) keep(questionOf(form)); // else those in the address would be forgotten
});
key.addEventListener("change", () => [sayWhoAnswers, nameLists].forEach((each) => each().catch(() => {})));
find("#find").addEventListener("input", () => search(lists));
find("#find").addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault()); // which would ask
find("#compare").addEventListener("click", compare);
find("#shown").addEventListener("pointerleave", (event) => event.pointerType === "mouse" && pointings.forEach((each) => each.left()));
document.addEventListener("keydown", (event) => event.key === "Escape" && pointings.forEach((each) => each.letGo()));
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copied(button));
window.addEventListener("hashchange", restored);
restored();
sayWhoAnswers().catch(() => {}); // The answer says it as well.
