// A picture that was asked about, what was answered, and where in it the phrases of the answer are.

import { explain } from "./api.js";

const AT_ONCE = 16;

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

  // Asked for when first needed, for several phrases at once, and kept.
  async heatOf(phrase) {
    const phrases = this.phrases;
    const first = Math.floor(phrases.indexOf(phrase) / AT_ONCE) * AT_ONCE;
    const together = phrases.slice(first, first + AT_ONCE);
    const kept = `${first} ${this.asSeen}`;
    if (!this.#explained.has(kept)) {
      this.#explained.set(kept, explain(this.picture, together, this.#question.fit, this.asSeen, this.#key, this.#signal));
    }
    try {
      const explained = await this.#explained.get(kept);
      return { ...explained, map: explained.maps[together.indexOf(phrase)] };
    } catch (error) {
      this.#explained.delete(kept);
      throw error;
    }
  }
}
