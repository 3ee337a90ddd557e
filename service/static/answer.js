// Shows what was answered: each list as bars, for one picture or for two side by side.

import { doubtsOf, number, percent, terms, verdictsOf } from "./doubt.js";
import { element } from "./element.js";

const titleOf = (list) => document.querySelector(`#lists input[value="${CSS.escape(list)}"]`)?.parentElement.querySelector(".title").textContent || "Your own phrases";

// asked: what was answered; attach(asked, item, button, prediction): makes a phrase light up its heat map.
export function listsOf(asked, rankedBy, attach) {
  const names = [...new Set(asked.flatMap((each) => Object.keys(each.lists)))];
  return names.map((name) => {
    const title = titleOf(name);
    const rankings = asked.map((each) => ranking(each, title, each.lists[name], asked.length > 1, rankedBy, attach));
    return element(
      "section",
      { className: "list" },
      element("h3", {}, title),
      element("div", { className: "beside" }, ...rankings),
      meanings(asked.map((each) => each.lists[name])),
    );
  });
}

function ranking(asked, title, ranked, named, rankedBy, attach) {
  const told = ranked.predictions.length;
  const count = told < ranked.count ? `${told} of ${ranked.count.toLocaleString("en")} phrases` : told === 1 ? "1 phrase" : `all ${told} phrases`;
  const items = element("ol", {}, ...ranked.predictions.map((each) => item(each, ranked, rankedBy, (made, button) => attach(asked, made, button, each))));
  items.setAttribute("role", "list");
  items.setAttribute("aria-label", named ? `${title}, ${asked.name}` : title);
  return element(
    "div",
    { className: "ranking" },
    element(
      "p",
      { className: "heads" },
      element("span", {}, `${named ? `${asked.name}: ` : ""}${count}${rankedBy === "lift" ? ", by lift" : ""}`),
      element("span", {}, "probability"),
    ),
    ...verdictsOf(ranked, rankedBy).map((text) => element("p", { className: "note" }, text)),
    items,
  );
}

function item(prediction, ranked, rankedBy, attach) {
  const button = element("button", { type: "button", className: "phrase" }, prediction.label);
  button.setAttribute("aria-pressed", "false");
  const share = element("span");
  share.style.setProperty("--share", prediction.probability);
  const bar = element("div", { className: "bar" }, share);
  bar.setAttribute("aria-hidden", "true");
  const said = [`similarity ${number(prediction.similarity, 3)}`, ...doubtsOf(prediction, ranked, rankedBy)];
  const made = element(
    "li",
    {},
    element(
      "div",
      { className: "said" },
      element("span", { className: "rank" }, String(prediction.rank)),
      element("span", { className: "term" }, button, authority(prediction)),
      element("span", { className: "percent" }, percent(prediction.probability), element("span", { className: "unseen" }, " probability")),
    ),
    bar,
    element("p", { className: "doubts" }, ...said.flatMap((text) => [element("span", {}, text), " "])),
  );
  attach(made, button);
  return made;
}

function authority(prediction) {
  if (!/^https?:/.test(prediction.uri || "")) return "";
  const link = element("a", { href: prediction.uri, rel: "noreferrer", target: "_blank", className: "authority" }, "authority");
  link.append(element("span", { className: "unseen" }, ` record of ${prediction.label}, in a new tab`));
  return link;
}

function meanings(rankings) {
  const list = element("dl", {}, ...terms(rankings).flatMap(([term, meaning]) => [element("dt", {}, term), element("dd", {}, meaning)]));
  return element("details", {}, element("summary", {}, "What these numbers say"), list);
}
