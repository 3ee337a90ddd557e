// Which phrase of a picture's answer is pointed at: that one's heat map shows. A press keeps it, Escape lets go.

const DELAY_MS = 150;

export class Pointing {
  #figure;
  #pointed = null;
  #focused = null;
  #kept = null;
  #shown = null;
  #waiting;

  constructor(figure) {
    this.#figure = figure;
    figure.hider.addEventListener("click", () => this.letGo());
  }

  // item: an element that may be pointed at, with a button that may be focused and pressed.
  attach(item, button, prediction) {
    const phrase = { item, button, prediction };
    // Not when it enters: a phrase that scrolls under a pointer that rests is not pointed at.
    item.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") this.#set(() => (this.#pointed = phrase));
    });
    button.addEventListener("focus", () => this.#set(() => ([this.#focused, this.#pointed] = [phrase, null])));
    button.addEventListener("blur", () => this.#set(() => (this.#focused = null)));
    button.addEventListener("click", () => {
      if (this.#kept === phrase) this.letGo();
      else this.#set(() => (this.#kept = this.#pointed = phrase), 0);
    });
  }

  // The pointer may leave a phrase for the picture, to look at the map there; it goes once the pointer leaves both.
  left() {
    this.#set(() => (this.#pointed = null));
  }

  letGo() {
    this.#set(() => (this.#kept = this.#pointed = this.#focused = null));
  }

  #set(change, delay = DELAY_MS) {
    const before = this.#kept;
    change();
    before?.button.setAttribute("aria-pressed", "false");
    this.#kept?.button.setAttribute("aria-pressed", "true");
    const wanted = this.#pointed || this.#focused || this.#kept;
    if (wanted === this.#shown) return;
    this.#shown?.item.classList.remove("pointed");
    this.#shown = wanted;
    clearTimeout(this.#waiting);
    if (!wanted) return this.#figure.hideHeat();
    wanted.item.classList.add("pointed");
    this.#waiting = setTimeout(() => this.#show(wanted), delay);
  }

  async #show(wanted) {
    const { label, phrase } = wanted.prediction;
    // What is known already comes before this; for what is not, the map of another phrase must not stay.
    const slow = setTimeout(() => this.#shown === wanted && this.#figure.hideHeat(`“${label}”: looking where …`));
    try {
      const found = await this.#figure.asked.heatOf(phrase, () => this.#shown === wanted);
      if (this.#shown === wanted) this.#figure.showHeat(label, found);
    } catch (error) {
      if (this.#shown === wanted) this.#figure.hideHeat(error.message);
    } finally {
      clearTimeout(slow);
    }
  }
}
