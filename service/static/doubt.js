// Numbers for people, and in words how far to trust them.

export const number = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");

// Rounded, but never to none or all where it is not.
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share >= 0.9995) return "> 99.9 %";
  return `${number(share * 100, 1)} %`;
}

export function times(lift) {
  if (lift >= 10_000) return "over 10,000 ×";
  if (lift < 0.01) return "under 0.01 ×";
  return `${number(lift, lift >= 10 ? 0 : 2)} ×`;
}

// A group is a chain of neighbours, whose ends may be far apart.
const tiedWith = (prediction, { predictions, certainty }) =>
  predictions.filter(
    (each) =>
      each !== prediction &&
      each.near_tie_group === prediction.near_tie_group &&
      Math.abs(each.similarity - prediction.similarity) < certainty?.near_tie_similarity,
  );

// What to doubt of one phrase.
export function doubtsOf(prediction, ranked, rankedBy) {
  const said = [];
  if (prediction.lift !== undefined) said.push(`lift ${times(prediction.lift)}`);
  if (prediction.stability) {
    const { lowest, highest } = prediction.stability.pictures.rank;
    const ranks = lowest === highest ? `rank ${lowest} in all looks` : `rank ${lowest} to ${highest}`;
    said.push(rankedBy === "probability" ? ranks : `by probability: ${ranks}`);
  }
  const tied = tiedWith(prediction, ranked);
  if (tied.length === 1) said.push(`near tie with ${tied[0].label}`);
  if (tied.length > 1) said.push(`near tie with ${tied.length} others`);
  return said;
}

// What to doubt of a list as a whole.
export function verdictsOf(ranked, rankedBy) {
  const said = [];
  if (ranked.none_of_these?.verdict) {
    said.push("Probably none of these: no phrase fits this picture much better than it fits pictures that show nothing.");
  }
  if (ranked.stability?.edges_matter) {
    const first = rankedBy === "probability" ? "first" : "first by probability";
    said.push(`The edges matter: with all of the picture in view, “${ranked.stability.views.pad.label}” comes ${first}.`);
  }
  if (ranked.certainty && ranked.certainty.effective_count >= 2) {
    said.push(`Undecided: as open as between ${number(ranked.certainty.effective_count, 1)} phrases that are equally probable.`);
  }
  return said;
}

// The words that are used of these rankings of one list, with what they mean.
export function terms(rankings) {
  const uses = (test) => rankings.some((ranked) => ranked.predictions.some((each) => test(each, ranked)));
  const said = [
    ["Probability", "The phrase’s share within this list; all its phrases share 100 %. Never the chance that the phrase is true."],
    ["Similarity", "How near the model finds picture and phrase, −1 to 1, whatever else is on the list."],
  ];
  if (uses((each) => each.lift !== undefined)) {
    said.push(["Lift", "How many times as probable as for pictures that show nothing. Near 1 ×, the phrase does as well on any picture."]);
  }
  if (uses((each) => each.stability)) {
    said.push(["Rank 2 to 5", "The best and the worst rank by probability when the model looks nine times: at all of it, at its corners, mirrored, in grey, smaller."]);
  }
  if (uses((each, ranked) => tiedWith(each, ranked).length)) {
    const { near_tie_similarity } = rankings[0].certainty;
    said.push(["Near tie", `Phrases whose similarities differ by less than ${near_tie_similarity}; their order is not to be trusted.`]);
  }
  return said;
}
