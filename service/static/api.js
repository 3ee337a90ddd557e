// Asks the service. A picture is a File, or the address of one on the web.

export class Refused extends Error {
  constructor(status, problem) {
    super([problem.detail, ...(problem.errors || []).map((each) => each.detail)].filter(Boolean).join(" "));
    this.status = status;
  }
}

async function post(path, form, key, signal) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response, body;
  try {
    response = await fetch(path, { method: "POST", body: form, headers, signal });
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "The service could not be reached. Try again." });
  }
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

function formOf(picture) {
  const form = new FormData();
  if (picture instanceof File) form.append("image", picture, picture.name);
  else form.append("image_url", picture);
  return form;
}

export function ask(picture, question, key, signal) {
  const form = formOf(picture);
  for (const [name, value] of fieldsOf(question)) form.append(name, value);
  return post("v1/gaze", form, key, signal);
}

export function explain(picture, phrases, fit, key, signal) {
  const form = formOf(picture);
  for (const phrase of phrases) form.append("phrases", phrase);
  if (fit) form.append("fit", fit);
  form.append("overlay", "true");
  return post("v1/explain", form, key, signal);
}

// The fields of a question beside its picture, in the order in which the form and curl send them.
export function fieldsOf(question) {
  const fields = [];
  if (question.lists.length) fields.push(["lists", question.lists.join(",")]);
  for (const phrase of question.phrases) fields.push(["phrases", phrase]);
  fields.push(["top_k", String(question.top_k)]);
  if (question.fit) fields.push(["fit", question.fit]);
  if (question.rank_by !== "probability") fields.push(["rank_by", question.rank_by]);
  const included = [...(question.doubt ? ["certainty", "lift", "none_of_these"] : []), ...(question.stability ? ["stability"] : [])];
  if (included.length) fields.push(["include", included.join(",")]);
  return fields;
}
