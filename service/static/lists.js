// The lists to choose from: how many are ticked, and those alone that are looked for.

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
