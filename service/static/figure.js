// A picture that was asked about, shown beside its answer, with a heat map laid on it.

import { drawHeat, inWords, placed } from "./heat.js";

const WHOLE = { left: 0, top: 0, width: 1, height: 1 };

export class Figure {
  constructor(asked, named) {
    this.asked = asked;
    this.element = document.getElementById("figure").content.firstElementChild.cloneNode(true);
    [this.frame, this.image, this.canvas] = [".frame", "img", "canvas"].map((selector) => this.element.querySelector(selector));
    [this.where, this.hider] = [".where", ".hide"].map((selector) => this.element.querySelector(selector));
    const { name, width, height } = asked.image;
    const called = `${named ? `${asked.name}: ` : ""}${name || "picture"}`;
    this.element.querySelector(".name").textContent = called;
    this.element.querySelector(".size").textContent = `${width} × ${height}`;
    this.image.alt = called;
    if (asked.asSeen) this.showAsSeen();
    else this.showFile(asked.picture);
  }

  showFile(file) {
    this.image.src = URL.createObjectURL(file);
    this.image.addEventListener("load", () => URL.revokeObjectURL(this.image.src), { once: true });
    this.image.addEventListener("error", () => this.showAsSeen(), { once: true });
  }

  async showAsSeen() {
    this.asked.asSeen = true;
    this.frame.hidden = true;
    this.say("Fetching what the model saw of it …");
    try {
      this.showSeen((await this.asked.heatOf(this.asked.phrases[0])).seen);
      this.say("Shown as the model saw it.");
    } catch (error) {
      this.say(error.message);
    }
  }

  showSeen(seen) {
    this.image.src = seen;
    this.image.alt += ", as the model saw it";
    this.frame.hidden = false;
  }

  say(text) {
    this.where.textContent = text;
  }

  showHeat(label, { map, region, image, seen }) {
    if (this.frame.hidden && seen) this.showSeen(seen);
    const at = this.asked.asSeen ? WHOLE : placed(region, image);
    for (const [side, share] of Object.entries(at)) this.canvas.style[side] = `${100 * share}%`;
    drawHeat(this.canvas, map.values);
    this.element.classList.add("hot");
    this.hider.hidden = false;
    this.say(inWords(label, map, at));
  }

  hideHeat(instead = "") {
    this.element.classList.remove("hot");
    if (document.activeElement === this.hider) this.element.focus();
    this.hider.hidden = true;
    this.say(instead);
  }
}
