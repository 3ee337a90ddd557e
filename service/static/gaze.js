"use strict";

const form = document.getElementById("question");
const picture = document.getElementById("image");
const preview = document.getElementById("preview");
const status = document.getElementById("status");
const answer = document.getElementById("answer");
const key = document.getElementById("key");

function element(name, text, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  if (text !== undefined) made.textContent = text;
  return made;
}

function percent(probability) {
  return `${(probability * 100).toFixed(1)} %`;
}

function bar(prediction) {
  const row = element("div", undefined, { className: "bar" });
  const label = prediction.uri
    ? element("a", prediction.phrase, { href: prediction.uri, rel: "noreferrer" })
    : element("span", prediction.phrase);
  const meter = element("meter", undefined, { min: 0, max: 1, value: prediction.probability });
  meter.setAttribute("aria-hidden", "true");
  row.append(label, meter, element("output", percent(prediction.probability)));
  return row;
}

function show(body) {
  for (const warning of body.warnings) answer.append(element("p", warning, { className: "warning" }));
  for (const [name, list] of Object.entries(body.results[0].lists)) {
    const title = document.querySelector(`input[value="${name}"]`)?.parentElement.firstElementChild.nextSibling.textContent;
    answer.append(element("h2", `${(title || "Your own phrases").trim()} (of ${list.count.toLocaleString()})`));
    answer.append(...list.predictions.map(bar));
  }
  answer.append(element("p", `Answered by ${body.model.id}. Relative to each list; never the chance that a phrase is true.`));
}

picture.addEventListener("change", () => {
  URL.revokeObjectURL(preview.src);
  preview.hidden = picture.files.length === 0;
  if (!preview.hidden) preview.src = URL.createObjectURL(picture.files[0]);
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = new FormData();
  question.append("image", picture.files[0]);
  const lists = [...form.querySelectorAll("input[name=lists]:checked")].map((box) => box.value);
  if (lists.length) question.append("lists", lists.join(","));
  for (const phrase of document.getElementById("phrases").value.split("\n")) {
    if (phrase.trim()) question.append("phrases", phrase.trim());
  }
  answer.replaceChildren();
  status.textContent = "Looking …";
  try {
    const headers = key.value ? { Authorization: `Bearer ${key.value}` } : {};
    const response = await fetch("v1/gaze", { method: "POST", body: question, headers });
    const body = await response.json();
    if (response.status === 401) document.getElementById("key-field").hidden = false;
    status.textContent = response.ok ? "" : [body.detail, ...(body.errors || []).map((e) => e.detail)].join(" ");
    if (response.ok) show(body);
  } catch {
    status.textContent = "The service could not be reached. Try again.";
  }
});
