// The page: a question about one picture or two, its answer, and where in the picture a phrase is.

import { Refused, ask, explain } from "./api.js";
import { showAnswers } from "./answer.js";
import { asCsv, asCurl, asJson } from "./copies.js";
import { inWords } from "./heat.js";
import { Picture, pasted } from "./pictures.js";
import { keep, questionOf, restore } from "./state.js";

const MAX_EXPLAINED = 16;
const POINTING_MS = 150;

const find = (selector) => document.querySelector(selector);
const [form, status, problem, answer, key] = ["#question", "#status", "#problem", "#answer", "#key"].map(find);
const pictures = [new Picture("Picture", changed)];
let shown = { asked: [], question: null, key: "" };
let asking = new AbortController();
let pinned = null;

function changed(picture) {
  asking.abort();
  if (shown.asked.some((each) => each.picture === picture)) forget();
}

function forget() {
  shown = { asked: [], question: null, key: "" };
  pinned = null;
  answer.hidden = true;
}

function compare(wanted) {
  const button = find("#compare");
  button.setAttribute("aria-pressed", String(wanted));
  button.textContent = wanted ? "Ask about one picture only" : "Compare with a second picture";
  if (wanted) {
    pictures.push(new Picture("Second picture", changed));
    find("#pictures").append(pictures[1].element);
    pictures[1].chooser.focus();
  } else {
    const [, second] = pictures.splice(0, 2, pictures[0]);
    second.reset();
    second.element.remove();
    changed(second);
  }
}

async function submitted(event) {
  event.preventDefault();
  const question = questionOf(form);
  const lacking = pictures.find((picture) => !picture.content);
  if (lacking) return refuse(`${lacking.name}: drop, paste, choose or link one first.`, lacking.chooser);
  if (!question.lists.length && !question.phrases.length) return refuse("Tick a list, or type phrases of your own.", find("#lists input"));
  keep(question);
  asking.abort();
  asking = new AbortController();
  forget();
  problem.textContent = "";
  status.textContent = "Looking …";
  const { signal } = asking;
  const answers = await Promise.allSettled(pictures.map((picture) => ask(picture.content, question, key.value, signal)));
  if (signal.aborted) return;
  status.textContent = "";
  const refused = answers.map((each, index) => [each.reason, pictures[index]]).filter(([reason]) => reason);
  if (refused.length) {
    refuse(refused.map(([reason, picture]) => (pictures.length > 1 ? `${picture.name}: ` : "") + sentence(reason)).join(" "));
    if (refused.some(([reason]) => reason.status === 401)) askForKey();
  }
  const asked = answers.map((each, index) => ({ picture: pictures[index], content: pictures[index].content, answer: each.value, explained: new Map() }));
  shown = { asked: asked.filter((each) => each.answer), question, key: key.value };
  if (shown.asked.length) present();
}

function sentence(reason) {
  if (reason instanceof Refused) return reason.message;
  return "The answer could not be read. Try again.";
}

function refuse(text, element) {
  problem.textContent = text;
  element?.focus();
}

function askForKey() {
  find("#key-field").hidden = false;
  key.focus();
}

function present() {
  const warnings = [...new Set(shown.asked.flatMap((each) => each.answer.warnings))];
  find("#warnings").replaceChildren(...warnings.map((warning) => Object.assign(document.createElement("li"), { textContent: warning })));
  answer.hidden = false;
  showAnswers(find("#results"), shown.asked, pointing);
  status.textContent = "Answered. Point at a phrase, or go to it with the keyboard, to see where in the picture it is.";
  answer.focus({ preventScroll: false });
}

// What happens when a row of an answer is pointed at, or its phrase is focused: its heat map shows; a press keeps it.
function pointing(picture, ranked, prediction) {
  const asked = shown.asked.find((each) => each.picture === picture);
  return {
    attach(row, button) {
      let waiting;
      const show = () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => heat(asked, ranked, prediction, row), POINTING_MS);
      };
      const hide = () => {
        clearTimeout(waiting);
        row.classList.remove("pointed");
        if (pinned && pinned.asked === asked) heat(asked, pinned.ranked, pinned.prediction, pinned.row);
        else picture.hideHeat();
      };
      row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show());
      row.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !row.contains(document.activeElement) && hide());
      button.addEventListener("focus", show);
      button.addEventListener("blur", hide);
      button.addEventListener("click", () => {
        const unpin = pinned?.row === row;
        pinned?.row.querySelector(".phrase").setAttribute("aria-pressed", "false");
        pinned = unpin ? null : { asked, ranked, prediction, row };
        button.setAttribute("aria-pressed", String(!unpin));
        show();
      });
    },
  };
}

async function heat(asked, ranked, prediction, row) {
  document.querySelectorAll("tr.pointed").forEach((each) => each.classList.remove("pointed"));
  row.classList.add("pointed");
  const from = Math.floor((prediction.rank - 1) / MAX_EXPLAINED) * MAX_EXPLAINED;
  const phrases = ranked.predictions.slice(from, from + MAX_EXPLAINED).map((each) => each.phrase);
  const named = phrases.join("\n");
  if (!asked.explained.has(named)) {
    status.textContent = "Looking where …";
    asked.explained.set(named, explain(asked.content, phrases, shown.question.fit, shown.key));
  }
  try {
    const explained = await asked.explained.get(named);
    if (!row.classList.contains("pointed") || !row.isConnected) return;
    const map = explained.maps[phrases.indexOf(prediction.phrase)];
    asked.picture.showHeat(map, explained);
    status.textContent = inWords({ ...map, label: prediction.label });
  } catch (reason) {
    asked.explained.delete(named);
    status.textContent = sentence(reason);
  }
}

async function copied(kind) {
  const answers = shown.asked.map((each) => each.answer);
  const texts = {
    json: () => asJson(answers),
    csv: () => asCsv(answers),
    curl: () => asCurl(shown.asked.map((each) => each.content), shown.question, document.baseURI),
  };
  try {
    await navigator.clipboard.writeText(texts[kind]());
    find("#copied").textContent = "Copied.";
  } catch {
    find("#copied").textContent = "The browser did not let this page copy.";
  }
}

function filter() {
  const wanted = find("#find").value.trim().toLowerCase();
  let found = 0;
  for (const item of document.querySelectorAll("#lists li")) {
    const box = item.querySelector("input");
    const fits = !wanted || `${box.value} ${box.dataset.about}`.toLowerCase().includes(wanted);
    item.hidden = !fits;
    found += fits;
  }
  find("#found").textContent = wanted ? `${found} found` : "";
}

async function sayWhoAnswers() {
  try {
    const response = await fetch("v1/model", { headers: key.value ? { Authorization: `Bearer ${key.value}` } : {} });
    if (response.ok) find("#demo").hidden = !(await response.json()).demo;
  } catch {
    // The answer says it as well.
  }
}

find("#pictures").append(pictures[0].element);
find("#compare").addEventListener("click", () => compare(pictures.length === 1));
find("#find").addEventListener("input", filter);
form.addEventListener("submit", submitted);
document.addEventListener("paste", (event) => {
  const file = pasted(event);
  if (file) (pictures.find((picture) => !picture.content) || pictures.at(-1)).useFile(file);
});
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copied(button.dataset.copy));
restore(form);
sayWhoAnswers();
