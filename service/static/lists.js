// The lists to choose from: how many are ticked, and those alone that are looked for.

import { element } from "./element.js";

const fold = (text) => text.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();

export function sayTicked(lists) {
  const boxes = [...lists.querySelectorAll("input[name=lists]")];
  lists.querySelector("#ticked").textContent = `${boxes.filter((box) => box.checked).length} of ${boxes.length} ticked`;
}

export function search(lists) {
  const words = fold(lists.querySelector("#find").value).split(/\s+/).filter(Boolean);
  let found = 0;
  for (const item of lists.querySelectorAll("li")) {
    const about = fold(`${item.querySelector("input").value} ${item.textContent}`);
    item.hidden = !words.every((word) => about.includes(word));
    found += !item.hidden;
  }
  lists.querySelector("#found").textContent = words.length ? `${found} found` : "";
}

export const areShown = (lists) => lists.querySelector("li") !== null;

// summaries: as the service has them; the first is ticked, as on a page that comes with its lists.
export function show(lists, summaries) {
  const items = summaries.map(({ name, title, count, description }, place) => {
    const box = element("input", { type: "checkbox", name: "lists", value: name, checked: place === 0 });
    const number = element("span", { className: "count" }, count.toLocaleString("en"));
    const about = element("span", { className: "about" }, description);
    const words = element("span", {}, element("span", { className: "title" }, title), " ", number, " ", about);
    return element("li", {}, element("label", { className: "tick" }, box, words));
  });
  lists.querySelector("ul").replaceChildren(...items);
  lists.querySelector("#wanted").remove();
}
