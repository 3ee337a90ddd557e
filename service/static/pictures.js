// A picture on the page: dropped, pasted, chosen or linked, with a heat map on it.

import { drawHeat } from "./heat.js";

const FILE = /^image\//;

export class Picture {
  constructor(name, changed) {
    this.element = document.getElementById("picture").content.firstElementChild.cloneNode(true);
    this.name = name;
    this.changed = changed;
    this.file = null;
    const find = (selector) => this.element.querySelector(selector);
    find("legend").textContent = name;
    [this.drop, this.frame, this.image, this.canvas] = [".drop", ".frame", "img", "canvas"].map(find);
    [this.chooser, this.clearer, this.link, this.hint] = ["input[type=file]", ".clear", "input[type=url]", ".hint"].map(find);
    this.link.addEventListener("input", () => this.useLink());
    this.chooser.addEventListener("change", () => this.chooser.files.length && this.useFile(this.chooser.files[0]));
    this.clearer.addEventListener("click", () => this.clear());
    for (const type of ["dragenter", "dragover"]) this.drop.addEventListener(type, (event) => this.dragged(event));
    this.drop.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    this.drop.addEventListener("drop", (event) => this.dropped(event));
  }

  // What is to be asked about: a File, an address, or null.
  get content() {
    return this.file || this.link.value.trim() || null;
  }

  useFile(file) {
    this.reset();
    this.file = file;
    this.link.value = "";
    this.show(URL.createObjectURL(file), `${this.name}: ${file.name || "a pasted picture"}`);
    this.changed(this);
  }

  useLink() {
    if (this.file || !this.frame.hidden) this.reset();
    this.clearer.hidden = !this.link.value;
    this.changed(this);
  }

  clear() {
    this.reset();
    this.link.value = "";
    this.changed(this);
    this.chooser.focus();
  }

  reset() {
    if (this.image.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
    this.file = null;
    this.chooser.value = "";
    this.image.removeAttribute("src");
    this.frame.hidden = this.clearer.hidden = true;
    this.hint.hidden = false;
    this.hideHeat();
  }

  show(source, description) {
    this.image.src = source;
    this.image.alt = description;
    this.frame.hidden = this.clearer.hidden = false;
    this.hint.hidden = true;
  }

  // A linked picture is not loaded from its host: what is shown is what the model saw of it.
  showHeat(map, answer) {
    let { region } = answer;
    let size = answer.image;
    if (!this.file) {
      this.show(answer.seen, `${this.name}, as the model saw it`);
      [region, size] = [{ left: 0, top: 0, width: 1, height: 1 }, { width: 1, height: 1 }];
    }
    Object.assign(this.canvas.style, {
      left: `${(100 * region.left) / size.width}%`,
      top: `${(100 * region.top) / size.height}%`,
      width: `${(100 * region.width) / size.width}%`,
      height: `${(100 * region.height) / size.height}%`,
    });
    drawHeat(this.canvas, map);
    this.frame.classList.add("hot");
  }

  hideHeat() {
    this.frame.classList.remove("hot");
  }

  dragged(event) {
    if (![...event.dataTransfer.items].some((item) => item.kind === "file")) return;
    event.preventDefault();
    this.drop.classList.add("over");
  }

  dropped(event) {
    event.preventDefault();
    this.drop.classList.remove("over");
    const file = [...event.dataTransfer.files].find((each) => FILE.test(each.type));
    if (file) this.useFile(file);
  }
}

export function pasted(event) {
  return [...(event.clipboardData?.files || [])].find((file) => FILE.test(file.type));
}
