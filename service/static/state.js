// The question in the page's address, without the picture, so that it can be kept and sent to others.

const CHOICES = ["fit", "rank_by"];
const TICKS = ["doubt", "stability"];

export function questionOf(form) {
  return {
    lists: [...form.querySelectorAll("input[name=lists]:checked")].map((box) => box.value),
    phrases: form.querySelector("#phrases").value.split("\n").map((line) => line.trim()).filter(Boolean),
    top_k: Number(form.querySelector("#top_k").value) || 5,
    ...Object.fromEntries(CHOICES.map((name) => [name, form.querySelector(`#${name}`).value])),
    ...Object.fromEntries(TICKS.map((name) => [name, form.querySelector(`#${name}`).checked])),
  };
}

export function keep(question) {
  const kept = new URLSearchParams();
  kept.set("lists", question.lists.join(","));
  for (const phrase of question.phrases) kept.append("phrase", phrase);
  for (const name of ["top_k", ...CHOICES, ...TICKS]) kept.set(name, question[name]);
  history.replaceState(null, "", `#${kept}`);
}

export function restore(form) {
  const kept = new URLSearchParams(location.hash.slice(1));
  if (!kept.has("lists")) return;
  const lists = kept.get("lists").split(",");
  for (const box of form.querySelectorAll("input[name=lists]")) box.checked = lists.includes(box.value);
  form.querySelector("#phrases").value = kept.getAll("phrase").join("\n");
  const top_k = Number(kept.get("top_k"));
  if (Number.isInteger(top_k) && top_k >= 1 && top_k <= 100) form.querySelector("#top_k").value = top_k;
  for (const name of CHOICES) {
    const choice = form.querySelector(`#${name}`);
    if ([...choice.options].some((option) => option.value === kept.get(name))) choice.value = kept.get(name);
  }
  for (const name of TICKS) if (kept.has(name)) form.querySelector(`#${name}`).checked = kept.get(name) === "true";
}
