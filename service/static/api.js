// Asks the service. A picture is a File, or the address of one on the web.

export class Refused extends Error {
  // retryAfter: the seconds after which the service says that it may be asked again.
  constructor(status, sentence, retryAfter) {
    super(sentence);
    [this.status, this.retryAfter] = [status, retryAfter];
  }
}

export const authorized = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

async function post(path, form, key, signal) {
  let response;
  try {
    response = await fetch(path, { method: "POST", body: form, headers: authorized(key), signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Refused(0, "The service could not be reached. Try again in a moment.");
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Refused(response.status, `The answer could not be read (status ${response.status}). Try again in a moment.`);
  }
  if (!response.ok) throw new Refused(response.status, sentenceOf(response.status, body, key), Number(response.headers.get("Retry-After")));
  return body;
}

function sentenceOf(status, problem, key) {
  if (status === 401) return key ? "The service does not know this key." : "This service needs a key: type it, and ask again.";
  return problem.errors?.length ? problem.errors.map((each) => each.detail).join(" ") : problem.detail;
}

function formOf(picture, fields) {
  const form = new FormData();
  if (picture instanceof File) form.append("image", picture, picture.name);
  else form.append("image_url", picture);
  for (const [name, value] of fields) form.append(name, value);
  return form;
}

export function ask(picture, question, key, signal) {
  return post("v1/gaze", formOf(picture, fieldsOf(question)), key, signal);
}

// seen: whether the answer is to bring what the model saw as well.
export function explain(picture, phrases, fit, seen, key, signal) {
  const fields = phrases.map((phrase) => ["phrases", phrase]);
  if (fit) fields.push(["fit", fit]);
  if (seen) fields.push(["overlay", "true"]);
  return post("v1/explain", formOf(picture, fields), key, signal);
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
