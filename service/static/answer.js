// Shows answers: a table for each list, for one picture or for two side by side.

const number = (value, digits) => value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });

function element(name, attributes = {}, ...content) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...content.filter((part) => part !== undefined && part !== ""));
  return made;
}

export const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${number(share * 100, 1)} %`);

export function times(lift) {
  if (lift >= 1e4) return "over 10,000 ×";
  if (lift < 0.01) return "under 0.01 ×";
  return `${lift >= 100 ? Math.round(lift).toLocaleString() : number(lift, lift >= 10 ? 0 : 2)} ×`;
}

const titleOf = (list) => document.querySelector(`#lists input[value="${CSS.escape(list)}"]`)?.parentElement.querySelector(".title").textContent || "Your own phrases";

export function showAnswers(container, asked, point) {
  const lists = [...new Set(asked.flatMap(({ answer }) => (answer ? Object.keys(answer.results[0].lists) : [])))];
  container.replaceChildren(
    ...lists.map((list) =>
      element(
        "section",
        { className: "list" },
        element("h2", {}, titleOf(list)),
        element("div", { className: "beside" }, ...asked.filter(({ answer }) => answer).map(({ picture, answer }) => listOf(picture, list, answer, asked.length > 1, point))),
      ),
    ),
  );
}

function listOf(picture, list, answer, named, point) {
  const result = answer.results[0];
  const ranked = result.lists[list];
  const doubted = ranked.predictions.some((each) => each.lift !== undefined || each.stability);
  const caption = `${named ? `${picture.name}: ` : ""}${ranked.predictions.length} of ${ranked.count.toLocaleString()} phrases`;
  const heads = ["", "Phrase", "Probability", "Similarity", ...(doubted ? ["Doubt"] : [])];
  const table = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => (head ? element("th", { scope: "col" }, head) : element("td"))))),
    element("tbody", {}, ...ranked.predictions.map((each) => row(each, ranked, doubted, () => point(picture, ranked, each)))),
  );
  if (!ranked.predictions.length) table.tBodies[0].append(element("tr", {}, element("td", { colSpan: heads.length }, "No phrase is that probable.")));
  return element("div", { className: "ranked" }, ...verdicts(ranked), table);
}

function verdicts(ranked) {
  const said = [];
  if (ranked.none_of_these?.verdict) said.push("Probably none of these: no phrase of this list fits the picture much better than it fits pictures that show nothing.");
  if (ranked.stability?.edges_matter) said.push(`The edges matter: with all of the picture in view, “${ranked.stability.views.pad.label}” comes first.`);
  if (ranked.certainty && ranked.certainty.effective_count >= 2) {
    said.push(`As uncertain as ${number(ranked.certainty.effective_count, 1)} equally probable phrases.`);
  }
  return said.map((text) => element("p", { className: "note" }, text));
}

function row(prediction, ranked, doubted, point) {
  const button = element("button", { type: "button", className: "phrase" }, prediction.label);
  button.setAttribute("aria-pressed", "false");
  const cells = [
    element("td", { className: "rank" }, String(prediction.rank)),
    element("th", { scope: "row" }, button, ...authority(prediction)),
    element("td", { className: "bar" }, meter(prediction.probability), element("span", {}, percent(prediction.probability))),
    element("td", { className: "number" }, number(prediction.similarity, 3)),
  ];
  if (doubted) cells.push(element("td", { className: "doubt" }, ...doubts(prediction, ranked)));
  const made = element("tr", {}, ...cells);
  point().attach(made, button);
  return made;
}

function meter(probability) {
  const bar = element("span", { className: "meter" });
  bar.setAttribute("aria-hidden", "true");
  bar.style.setProperty("--share", probability);
  return bar;
}

function authority(prediction) {
  if (!prediction.uri || !/^https?:/.test(prediction.uri)) return [];
  const link = element("a", { href: prediction.uri, rel: "noreferrer", target: "_blank", className: "authority" }, "authority");
  link.setAttribute("aria-label", `Authority record of ${prediction.label}, in a new tab`);
  return [" ", link];
}

function doubts(prediction, ranked) {
  const said = [];
  const tied = ranked.predictions.filter((each) => each.near_tie_group === prediction.near_tie_group).length > 1;
  if (prediction.near_tie_group !== undefined && tied) said.push(`near tie ${prediction.near_tie_group}`);
  if (prediction.lift !== undefined) said.push(`lift ${times(prediction.lift)}`);
  if (prediction.stability) {
    const { rank } = prediction.stability.pictures;
    said.push(rank.lowest === rank.highest ? `always rank ${rank.lowest}` : `rank ${rank.lowest} to ${rank.highest}`);
  }
  return said.map((text) => element("span", { className: "tag" }, text));
}
