// The question in the page's address, without the picture, so that it can be kept and sent to others.

const CHOICES = ["fit", "rank_by"];
const TICKS = ["doubt", "stability"];
export const MAX_TOP_K = 100;

export function questionOf(form) {
  const lines = form.querySelector("#phrases").value.split("\n").map((line) => line.trim());
  return {
    lists: [...form.querySelectorAll("input[name=lists]:checked")].map((box) => box.value),
    phrases: [...new Set(lines.filter(Boolean))],
    top_k: Number(form.querySelector("#top_k").value),
    ...Object.fromEntries(CHOICES.map((name) => [name, form.querySelector(`#${name}`).value])),
    ...Object.fromEntries(TICKS.map((name) => [name, form.querySelector(`#${name}`).checked])),
  };
}

export const isCount = (top_k) => Number.isInteger(top_k) && top_k >= 1 && top_k <= MAX_TOP_K;

export function keep(question) {
  const kept = new URLSearchParams();
  kept.set("lists", question.lists.join(","));
  for (const phrase of question.phrases) kept.append("phrase", phrase);
  for (const name of ["top_k", ...CHOICES, ...TICKS]) kept.set(name, question[name]);
  history.replaceState(null, "", `#${kept}`);
}

// What the address does not say stays as it is; what it says and the page does not have counts for nothing.
export function restore(form) {
  const kept = new URLSearchParams(location.hash.slice(1));
  if (kept.has("lists")) {
    const lists = kept.get("lists").split(",");
    for (const box of form.querySelectorAll("input[name=lists]")) box.checked = lists.includes(box.value);
  }
  if (kept.has("lists") || kept.has("phrase")) form.querySelector("#phrases").value = kept.getAll("phrase").join("\n");
  if (isCount(Number(kept.get("top_k")))) form.querySelector("#top_k").value = kept.get("top_k");
  for (const name of CHOICES) {
    const choice = form.querySelector(`#${name}`);
    if ([...choice.options].some((option) => option.value === kept.get(name))) choice.value = kept.get(name);
  }
  for (const name of TICKS) if (kept.has(name)) form.querySelector(`#${name}`).checked = kept.get(name) === "true";
}
