// A picture that was asked about, what was answered, and where in it the phrases of the answer are.

import { explain } from "./api.js";

const AT_ONCE = 16;
let last = Promise.resolve();

// The service explains little at once: this page asks for one explanation after the other.
function inTurn(work) {
  const done = last.then(work);
  last = done.catch(() => {});
  return done;
}

const pause = (seconds, signal) =>
  new Promise((done) => {
    setTimeout(done, 1000 * seconds);
    signal.addEventListener("abort", done, { once: true });
  });

export class Asked {
  #question;
  #key;
  #signal;
  #explained = new Map();

  // signal: aborted once nobody wants to know any longer.
  constructor(name, picture, answer, question, key, signal) {
    this.name = name;
    this.picture = picture;
    this.answer = answer;
    [this.#question, this.#key, this.#signal] = [question, key, signal];
    // What a browser cannot show is shown as the model saw it: linked pictures, and files of formats that it does not know.
    this.asSeen = !(picture instanceof File);
  }

  get image() {
    return this.answer.results[0].image;
  }

  get lists() {
    return this.answer.results[0].lists;
  }

  get phrases() {
    return [...new Set(Object.values(this.lists).flatMap((ranked) => ranked.predictions.map((each) => each.phrase)))];
  }

  // Asked for when first needed, for several phrases at once, and kept. wanted: says whether it still is.
  async heatOf(phrase, wanted = () => true) {
    const phrases = this.phrases;
    const first = Math.floor(phrases.indexOf(phrase) / AT_ONCE) * AT_ONCE;
    const together = phrases.slice(first, first + AT_ONCE);
    const kept = `${first} ${this.asSeen}`;
    if (!this.#explained.has(kept)) this.#explained.set(kept, this.#begin(together, () => this.#explained.delete(kept)));
    const { asking, explained } = this.#explained.get(kept);
    asking.push(wanted);
    const { maps, ...about } = await explained;
    return { ...about, map: maps[together.indexOf(phrase)] };
  }

  // Of what nobody wants any more once its turn comes, nothing is asked.
  #begin(phrases, failed) {
    const asking = [];
    const isWanted = () => asking.some((wanted) => wanted());
    const explained = inTurn(() => this.#explain(phrases, isWanted));
    explained.catch(failed);
    return { asking, explained };
  }

  async #explain(phrases, isWanted) {
    if (!isWanted()) throw new Error("This is not wanted any more.");
    const ask = () => explain(this.picture, phrases, this.#question.fit, this.asSeen, this.#key, this.#signal);
    const explained = await ask().catch(async (error) => {
      if (error.status !== 503) throw error;
      await pause(error.retryAfter || 1, this.#signal);
      if (!isWanted()) throw error;
      return ask();
    });
    if (explained.image.sha256 !== this.image.sha256) throw new Error("The picture at this address has changed; ask again.");
    return explained;
  }
}
